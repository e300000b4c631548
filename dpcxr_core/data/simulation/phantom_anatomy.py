"""Healthy anatomy of the didactic phantom: body outline, lungs, heart, bones and vessels, as path lengths.

Each function returns what a beam loses in one structure, ``(n, size, size)`` float32, in units in which a
whole chest is near 1. Image left is the patient's right. The shapes are drawn after the look of frontal
radiographs, not after measurements: they teach, and are no evidence about patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpcxr_core.data.simulation.draws import Draws
from dpcxr_core.data.simulation.plane import Plane, bump, fourth

Array = np.ndarray

N_ANATOMY_DRAWS = 80
"""Uniforms that describe one patient's build."""


@dataclass(frozen=True)
class Build:
    """One patient's build, and how they stand before the detector; each entry ``(n, 1, 1)`` in plane units.

    Attributes:
        cage: Half width of the rib cage at its widest.
        apex: Height of the lung tops.
        base: Height of the left dome of the diaphragm.
        collapse: Signed height by which a collapsed lung lifts its dome, negative for the patient's right.
        midline: Sideways shift of heart and mediastinum, by turning or by collapse.
        heart: Reach of the heart to the patient's left of the midline.
        stout: Soft tissue, 0 (lean) to 1.
        breast: Thickness of the breast shadow, 0 for none.
        ageing: Decades beyond 55 that the build shows, negative for the young.
        supine: 1 for an AP view, 0 for PA.
    """

    cage: Array
    apex: Array
    base: Array
    collapse: Array
    midline: Array
    heart: Array
    stout: Array
    breast: Array
    ageing: Array
    supine: Array


@dataclass(frozen=True)
class Lungs:
    """Depth of air, 0 to 1, without (``hull``) and with (``air``) the diaphragm's cut at the height ``dome``.

    Lungs are deepest in their middle and thin out towards chest wall and mediastinum.
    """

    hull: Array
    air: Array
    dome: Array


def lungs(plane: Plane, build: Build, patient: Draws) -> Lungs:
    """Both lung fields; the patient's right dome stands higher."""
    ax = np.abs(plane.x)
    widest = patient.normal(0.26, 0.06)
    slope = patient.normal(0.05, 0.03)
    fullness = patient.uniform(0.35, 0.75)  # 0 is an ellipse, 1 a barrel
    medial = patient.normal(0.09, 0.015)
    rise = np.clip((widest - plane.y) / (widest - build.apex), -0.6, 1)
    taper = rise * rise * (1 - fullness + fullness * np.abs(rise))
    lateral = build.cage * (np.sqrt(1 - taper) + 0.02) + slope * np.minimum(rise, 0)
    closing = fourth(np.maximum(rise, 0))
    edge = plane.inside(lateral - ax, 0.07) * (0.55 + 0.45 * plane.inside(lateral - 0.10 - ax, 0.24))
    hull = edge * plane.inside(ax - medial - 0.16 * closing, 0.09) * (0.7 + 0.3 * plane.inside(ax - 0.2, 0.24))
    right = np.clip(0.5 - plane.x / 0.2, 0, 1)  # the domes meet behind the heart
    lift = right * (np.maximum(-build.collapse, 0) + 0.05) + (1 - right) * np.maximum(build.collapse, 0)
    arch = patient.normal(1.9, 0.3) * np.where(ax < 0.36, np.float32(0.25), np.float32(1))
    dome = build.base - lift.astype(np.float32) + arch * (ax - 0.36) ** 2
    return Lungs(hull=hull, air=hull * plane.inside(dome - plane.y, 0.05), dome=dome)


def body(plane: Plane, build: Build, patient: Draws) -> Array:
    """Soft tissue of neck, shoulders, trunk and arms; thick in the middle, thin at the skin."""
    ax, y = np.abs(plane.x), plane.y
    neck = patient.normal(0.21, 0.02) + 0.05 * build.stout
    shoulder = build.apex + patient.normal(0.0, 0.05) - 0.04 * build.supine
    trunk = build.cage + 0.20 + 0.26 * build.stout
    girdle = np.maximum(build.cage + 0.38 + 0.08 * build.stout, trunk)
    width = neck + (girdle - neck) * plane.inside(y - shoulder, 0.42)
    width = width - (girdle - trunk) * plane.inside(y + 0.05, 0.7)
    torso = np.sqrt(np.maximum(1 - fourth(ax / width), 0))  # nearly as deep at the side as in the middle
    arms = np.zeros_like(torso)
    for side in (-1, 1):
        spread = patient.uniform(-0.05, 0.20) + 0.30 * (1 - build.supine)
        radius = patient.normal(0.13, 0.015) + 0.05 * build.stout
        along, across = plane.along(side * (girdle - 0.06), -0.55, np.pi / 2 - side * spread)
        arm = plane.inside(along + 0.05, 0.35) * plane.inside(1.9 - along, 0.2)
        flesh = 0.36 * np.sqrt(np.maximum(1 - (across / radius) ** 2, 0))
        arms = arms + arm * (flesh + 0.10 * plane.line(across, 0.3 * radius))
    depth = 0.56 + 0.10 * build.stout
    return np.maximum(depth * torso, arms) + 0.25 * np.minimum(depth * torso, arms)


def abdomen(plane: Plane, build: Build, air: Lungs, patient: Draws, image: Draws) -> Array:
    """What lies under the diaphragm, with the gas bubble of the stomach under the left dome."""
    below = plane.inside(plane.y - air.dome, 0.06) * plane.inside(build.cage + 0.05 - np.abs(plane.x), 0.2)
    deeper = np.clip(plane.y - build.base, 0, 0.7)
    gas_x, gas_drop = patient.uniform(0.22, 0.48), image.uniform(0.09, 0.16)
    width, height = image.uniform(0.05, 0.20), image.uniform(0.03, 0.11)
    gas = bump(fourth((plane.x - gas_x) / width) + ((plane.y - build.base - gas_drop) / height) ** 2)
    texture = 0.03 * image.field(5, plane.x.shape[-1])
    return below * (0.13 + 0.10 * deeper + texture - image.uniform(0.06, 0.22) * image.chance(0.45) * gas)


def heart(plane: Plane, build: Build, air: Lungs, patient: Draws) -> Array:
    """Silhouette of the heart, 0 to 1: the left ventricle's long slope to the apex, the right atrium's short bulge."""
    x = plane.x - build.midline
    waist, apex = patient.normal(-0.22, 0.03), build.base - patient.normal(0.05, 0.02)
    left = _bulge(plane.y, waist, apex)
    right = _bulge(plane.y, waist + 0.08, apex - 0.08)
    atrium = patient.normal(0.165, 0.012) + 0.35 * (build.heart - 0.38)
    border_left = 0.08 + (build.heart - 0.08) * left - x
    border_right = 0.08 + (atrium - 0.08) * right + x
    silhouette = plane.inside(border_left, 0.06) * plane.inside(border_right, 0.06)
    silhouette = silhouette * (0.78 + 0.22 * plane.inside(np.minimum(border_left, border_right) - 0.08, 0.3))
    return silhouette * plane.inside(plane.y - waist, 0.3) * plane.inside(air.dome + 0.15 - plane.y, 0.25)


def _bulge(y: Array, start: Array, widest: Array) -> Array:
    """0 at ``start``, 1 where widest, and back to 0 more than twice as fast below."""
    t = (y - start) / (widest - start) - 1
    t = np.where(t > 0, 1.6 * t, t)
    return np.maximum(1 - t * t, 0)


def mediastinum(plane: Plane, build: Build, patient: Draws) -> Array:
    """Great vessels and spine between the lungs, less the air of the trachea."""
    x, y = plane.x - build.midline, plane.y
    old = np.clip(build.ageing, 0, 3)
    knob = patient.uniform(0.02, 0.06) + 0.018 * old
    knob_y = patient.normal(-0.36, 0.03)
    left = 0.115 + knob * bump(((y - knob_y) / 0.12) ** 2) + 0.03 * bump(((y + 0.1) / 0.1) ** 2) + 0.02 * build.supine
    right = 0.10 + 0.03 * build.supine + 0.02 * plane.inside(y + 0.1, 0.4)
    column = plane.inside(left - x, 0.08) * plane.inside(x + right, 0.09) * plane.inside(y - build.apex + 0.1, 0.5)
    ring = ((x - 0.09 - 0.5 * knob) / (0.06 + 0.4 * knob)) ** 2 + ((y - knob_y) / 0.11) ** 2
    calcified = 0.025 * old * plane.line(ring - 1, 0.25) * plane.inside(x - 0.12, 0.1)
    trachea = plane.line(x + 0.01, 0.045) * plane.inside(-0.34 - y, 0.2)
    return 0.065 * column + calcified - 0.10 * trachea


def spine(plane: Plane, build: Build, patient: Draws) -> Array:
    """Vertebral bodies down the middle, whitest where the heart and abdomen lie over them."""
    x = plane.x - 0.4 * build.midline - patient.normal(0, 0.02) * np.sin(2 * plane.y)
    pitch, start = patient.normal(41, 3), patient.uniform(0, 6.3)
    discs = 1 - 0.22 * np.cos(pitch * plane.y + start)
    return (0.055 - 0.02 * plane.inside(plane.y - 0.3, 0.6)) * plane.inside(0.08 - np.abs(x), 0.06) * discs


def bones(plane: Plane, build: Build, patient: Draws) -> Array:
    """Ribs, back and front, collar bones and shoulder blades."""
    ax, y = np.abs(plane.x - 0.3 * build.midline), plane.y
    strength = patient.uniform(0.5, 1.2)
    ribs = _ribs(plane, ax, build, patient)
    collar_y = build.apex + patient.uniform(0.10, 0.22) - 0.06 * build.supine
    bend = collar_y - 0.26 * (ax - 0.1) + 0.05 * np.sin(7 * ax) + 0.03 * np.sign(plane.x) * patient.normal(0, 0.7)
    collar = 0.13 * plane.line(y - bend, 0.030) * plane.inside(ax - 0.08, 0.06) * plane.inside(0.78 - ax, 0.1)
    blade_x = build.cage + patient.uniform(-0.06, 0.10) - 0.06 * build.supine
    blade = ax - blade_x - 0.30 * (y + 0.35)
    shoulder = 0.07 * bump((blade / 0.09) ** 2 + fourth((y + 0.42) / 0.26))
    return strength * (ribs + collar) + shoulder


def _ribs(plane: Plane, ax: Array, build: Build, patient: Draws) -> Array:
    """Ribs: behind, arcs that sink outwards; in front, their fainter and steeper ends, seen only at the side.

    Each rib turns at the chest wall, so the front of it goes on from where its back left off.
    """
    y = plane.y
    rise = np.clip((0.3 - y) / (0.3 - build.apex), 0, 1)
    edge = build.cage * np.sqrt(1 - rise * rise * (0.4 + 0.6 * rise)) + 0.03
    cage = plane.inside(edge - ax, 0.06) * plane.inside(ax - 0.07, 0.08)
    pitch, growth = patient.uniform(0.135, 0.175), patient.uniform(0.15, 0.45)
    start, sink, dip = patient.uniform(0, 1), patient.uniform(0.25, 0.60), patient.uniform(0.35, 0.75)
    arc = 0.10 * ax + sink * ax * ax
    wall = 0.10 * build.cage + sink * build.cage * build.cage

    def bands(height: Array, half_width: float) -> Array:
        spread = 1 + growth * (height - build.apex)  # spacing grows downwards
        number = np.log(np.maximum(spread, 0.3)) / (growth * pitch) + start
        return plane.inside(half_width - np.abs(number - np.rint(number)) * pitch * spread, 0.045)

    back = bands(y - arc, 0.033) * plane.inside(0.22 - y, 0.7) * (0.75 + 0.6 * fourth(np.minimum(ax / edge, 1)))
    front = bands(y - wall - dip * (build.cage - ax), 0.030)
    front = (
        front * plane.inside(ax - 0.62 * build.cage, 0.4) * plane.inside(y + 0.45, 0.5) * plane.inside(0.45 - y, 0.4)
    )
    return cage * (0.085 * back + 0.030 * front)


def lung_vessels(plane: Plane, build: Build, air: Lungs, patient: Draws, image: Draws) -> Array:
    """Hila and the vessels that fan out from them."""
    size = plane.x.shape[-1]
    x = plane.x - build.midline
    dx = np.abs(x) - 0.17
    dy = plane.y + 0.02 + 0.03 * np.sign(x)
    far = np.sqrt(dx * dx + 1.2 * dy * dy)
    hila = patient.uniform(0.05, 0.12) * bump((dx / 0.08) ** 2 + (dy / 0.18) ** 2)
    angle = np.arctan2(dy, dx) + 0.35 * np.sign(x) + 2.2 * patient.field(5, size) * far
    tree = np.zeros_like(far)
    for branches, width, reach in ((2.1, 0.020, 0.42), (3.7, 0.012, 0.60)):
        turn = angle * branches + patient.uniform(0, 1)
        distance = (turn - np.rint(turn)) * far / branches
        tree += (
            plane.line(distance, width)
            * plane.inside(reach - far, 0.5)
            * plane.inside(far - 0.10, 0.2)
            * (width / 0.02)
        )
    fullness = image.uniform(0.04, 0.09) + 0.02 * build.supine
    broken = np.clip(0.5 + 0.6 * image.field(9, size), 0.1, 1.5)
    winding = bump((image.field(19, size) / 0.35) ** 2) - 0.25  # where a rough field crosses nought, lines wind
    lace = winding * plane.inside(0.32 - far, 0.4)
    return hila * air.hull + fullness * broken * (0.6 * tree + 0.8 * lace) * air.air


def breasts(plane: Plane, build: Build, patient: Draws) -> Array:
    """Breast shadows over the lower lungs: thickest below, with a lower border that one sees."""
    ax = np.abs(plane.x)
    x, y = patient.normal(0.46, 0.04), patient.uniform(0.10, 0.28) - 0.05 * build.supine
    width, height = patient.uniform(0.26, 0.38), patient.uniform(0.26, 0.38)
    shape = 1 - ((ax - x) / width) ** 2 - ((plane.y - y) / height) ** 2
    hang = np.clip(0.7 + 0.5 * (plane.y - y) / height, 0.1, 1.3)
    return build.breast * np.sqrt(np.maximum(shape, 0)) * hang * plane.inside(ax - 0.28, 0.4)
