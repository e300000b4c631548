"""The didactic phantom: a radiograph-like image of a described chest. It teaches; it is no evidence about patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpcxr_core.data.simulation import phantom_anatomy as anatomy
from dpcxr_core.data.simulation import phantom_findings as findings
from dpcxr_core.data.simulation.draws import Draws
from dpcxr_core.data.simulation.phantom_exposure import Acquisition, exposed, overprinted
from dpcxr_core.data.simulation.phantom_findings import HEART_GROWTH
from dpcxr_core.data.simulation.plane import Plane, posed, square_plane

Array = np.ndarray

N_IMAGE_DRAWS = 900
"""Uniforms that describe one exposure."""

CAUSES = ("atelectasis", "cardiomegaly", "pleural_effusion", "pneumonia")
"""Findings that are drawn, in the order of the columns of ``Chests.severity``."""


@dataclass(frozen=True)
class Chests:
    """What ``n`` images show.

    Attributes:
        patient_draws: ``(n, N_ANATOMY_DRAWS)`` uniforms in [0, 1); equal rows are one patient's.
        image_draws: ``(n, N_IMAGE_DRAWS)`` uniforms in [0, 1).
        severity: ``(n, 4)`` float, 0 (absent) to 1.1, columns in the order of ``CAUSES``.
        supine: ``(n,)`` float, 1 for AP and 0 for PA.
        female: ``(n,)`` float, how far the build is a woman's, 0 to 1.
        ageing: ``(n,)`` float, decades beyond 55 that the build shows.
    """

    patient_draws: Array
    image_draws: Array
    severity: Array
    supine: Array
    female: Array
    ageing: Array


def draw_radiographs(chests: Chests, acquisition: Acquisition, noise: Array) -> Array:
    """Radiograph-like images of ``chests``, ``(n, size, size)`` uint8.

    Args:
        chests: What to draw.
        acquisition: The hospital's way of taking radiographs.
        noise: ``(n, size, size)`` float32 standard normal, the detector's noise; its shape sets the size.
    """
    detector = square_plane(noise.shape[-1])
    patient, image = Draws(chests.patient_draws), Draws(chests.image_draws)
    severity = {cause: _column(chests.severity[:, k]) for k, cause in enumerate(CAUSES)}
    collapsed_side = image.side()
    build = _build(chests, severity, collapsed_side, patient, image)
    plane = _pose(detector, build.supine, acquisition.pose_spread, patient, image)
    length = _path_length(plane, build, severity, collapsed_side, acquisition.device_share, patient, image)
    grey = exposed(length, detector, build.supine, acquisition, image, noise)
    return (255 * overprinted(grey, detector, acquisition, image) + 0.5).astype(np.uint8)


def _column(values: Array) -> Array:
    return np.asarray(values, np.float32)[:, None, None]


def _build(
    chests: Chests, severity: dict[str, Array], collapsed_side: Array, patient: Draws, image: Draws
) -> anatomy.Build:
    """Build and stance: draws that know neither sex nor age nor findings, plus what these add."""
    supine, female, ageing = _column(chests.supine), _column(chests.female), _column(chests.ageing)
    cage = patient.normal(0.69, 0.04) - 0.02 * female
    collapse = severity["atelectasis"] * collapsed_side
    reach = patient.normal(0.36, 0.021) + 0.006 * ageing + HEART_GROWTH * severity["cardiomegaly"]
    breath = image.normal(0, 0.05) - 0.09 * supine
    return anatomy.Build(
        cage=cage,
        apex=patient.normal(-0.80, 0.04),
        base=patient.normal(0.41, 0.055) + breath,
        collapse=0.17 * collapse,
        midline=image.normal(0, 0.02) * (1 + supine) + 0.055 * collapse,
        heart=reach * (1 + 0.08 * supine - 0.4 * breath) * cage / 0.69,
        stout=np.clip(patient.normal(0.4, 0.32), 0, 1.1),
        breast=female * np.clip(patient.normal(0.19, 0.06), 0.05, 0.34),
        ageing=ageing,
        supine=supine,
    )


def _pose(detector: Plane, supine: Array, spread: float, patient: Draws, image: Draws) -> Plane:
    """Where the chest lies on the detector; lying patients are placed less carefully."""
    loose = spread * (1 + 0.5 * supine)
    return posed(
        detector,
        x=loose * image.normal(0, 0.045),
        y=loose * image.normal(0, 0.06) + 0.02,
        angle=loose * image.normal(0, 0.033),
        zoom=1.05 * np.exp(patient.normal(0, 0.06) + loose * image.normal(0, 0.055)),
    )


def _path_length(
    plane: Plane,
    build: anatomy.Build,
    severity: dict[str, Array],
    collapsed_side: Array,
    device_share: float,
    patient: Draws,
    image: Draws,
) -> Array:
    """What the beam loses: tissue, less the air of the lungs, plus whatever fills it."""
    air = anatomy.lungs(plane, build, patient)
    silhouette = anatomy.heart(plane, build, air, patient)
    filled = findings.consolidation(plane, air, severity["pneumonia"], image)
    fluid = findings.effusion(plane, build, air, severity["pleural_effusion"], image)
    band = findings.plates(plane, build, air, severity["atelectasis"], collapsed_side, image)
    aerated = air.air * (1 - 0.76 * silhouette) * (1 - 0.8 * filled) * (1 - 0.9 * fluid) * (1 - 0.85 * band)
    depth = image.normal(0.38, 0.03) - 0.06 * build.supine
    length = anatomy.body(plane, build, patient) - depth * aerated
    length += 0.07 * silhouette + 0.08 * fluid * air.hull
    length += anatomy.mediastinum(plane, build, patient) + anatomy.spine(plane, build, patient)
    length += anatomy.bones(plane, build, patient)
    length += anatomy.abdomen(plane, build, air, patient, image)
    hidden = (1 - 0.6 * fluid) * (1 - 0.7 * silhouette)
    length += hidden * anatomy.lung_vessels(plane, build, air, patient, image)
    length += anatomy.breasts(plane, build, patient) * (1 - 0.8 * plane.inside(plane.y - air.dome, 0.12))
    length += findings.lookalikes(plane, air, image)
    return length + findings.devices(plane, build, device_share, image)
