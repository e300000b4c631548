"""One finding's scores at one hospital, on the data and on each resample of its patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.evaluation.groups import unmeasurable
from dpcxr_core.evaluation.resampling.patients import Resamples, image_weights, of_images
from dpcxr_core.evaluation.scored_images import ScoredImages


@dataclass(frozen=True, eq=False)
class ResampledScores:
    """The labelled images of one finding at one hospital, and the resamples of their patients.

    Two hospitals have other patients, so their resamples are drawn apart: row r here and row r there are independent,
    and a difference taken row by row is a draw of the difference.

    Attributes:
        y_true: ``(n_images,)`` of 1 and 0.
        y_score: ``(n_images,)`` in [0, 1].
        case_mix: ``(n_images,)`` of cells as ``case_mix_cells`` names them, and None.
        resamples: Of these images; 1 + n_resamples rows.
    """

    y_true: NDArray[np.float64]
    y_score: NDArray[np.float64]
    case_mix: NDArray[np.object_]
    resamples: Resamples

    @property
    def weights(self) -> NDArray[np.uint16]:
        """``(1 + n_resamples, n_images)``: how often each image enters each resample."""
        return image_weights(self.resamples)

    @property
    def too_few(self) -> str:
        """Why nothing can be measured here, or ""."""
        return unmeasurable(self.y_true, self.resamples.patient_of_image)

    def n_patients(self, label: int) -> int:
        """Patients with an image of this label, 1 or 0."""
        return np.unique(self.resamples.patient_of_image[self.y_true == label]).size

    def only(self, images: NDArray) -> ResampledScores:
        """Some of the images (``images``: positions or a mask), in the same resamples of patients."""
        return ResampledScores(
            self.y_true[images], self.y_score[images], self.case_mix[images], of_images(self.resamples, images)
        )


def resampled_scores(
    images: ScoredImages, finding: str, case_mix: NDArray[np.object_], resamples: Resamples
) -> ResampledScores:
    """The images of ``images`` that have a reference label of ``finding``.

    Args:
        images: One run's scores at one hospital.
        finding: One of ``images.findings``.
        case_mix: ``(n_images,)`` of cells, in the order of ``images``.
        resamples: Of the patients of ``images``, in the same order.
    """
    f = images.findings.index(finding)
    everything = ResampledScores(images.y_true[:, f], images.y_score[:, f], case_mix, resamples)
    return everything.only(~np.isnan(everything.y_true))
