"""What the noise explorer starts from: the table of noise multipliers, networks with their speed, and choices."""

from __future__ import annotations

import json
from typing import Any

from dpcxr_core.accounting.noise_table import TABLE_FILE
from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters.speed_tables import OURS, SpeedResults, step_costs

# Weights and biases with five outputs.
N_PARAMETERS = {
    "convnext_mini": 164_805,
    "convnext_atto": 3_376_125,
    "convnext_femto": 4_834_709,
    "convnext_pico": 8_535_237,
    "convnext_nano": 14_955_765,
    "convnext_tiny": 27_823_973,
    "convnext_small": 49_458_533,
    "convnext_base": 87_571_589,
}
SMALLEST_BATCH, LARGEST_BATCH = 16, 16_384


def noise_payload(
    speed: SpeedResults,
    *,
    n_images: int,
    n_patients: int,
    privacy_unit: str,
    max_images_per_patient: int,
    expected_batch_size: int,
    n_steps: int,
    target_epsilon: float,
    delta: float,
) -> dict[str, Any]:
    """All that the explorer needs to answer without a kernel, as JSON values.

    Args:
        speed: What ``make bench`` measured; a private step of each network with noise is used.
        n_images: Images of the training set.
        n_patients: Patients of the training set.
        privacy_unit: "image" or "patient".
        max_images_per_patient: Most images of one patient in one step, where the unit is the patient.
        expected_batch_size: In privacy units.
        n_steps: Optimiser steps.
        target_epsilon: Limit on epsilon for the whole run.
        delta: Chance allowed for the guarantee to fail.

    Returns:
        ``table`` (as in ``TABLE_FILE``), ``networks``, ``batch_range``, ``speed_source`` and ``start``; choices that
        the table cannot answer start at its edge.

    Raises:
        UserError: There are no patients, more patients than images, or no network was measured.
    """
    if not 1 <= n_patients <= n_images:
        raise UserError(f"n_patients must be from 1 to the number of images, {n_images}; got {n_patients}")
    table = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
    ranges = {axis["name"]: (min(axis["nodes"]), max(axis["nodes"])) for axis in table["axes"]}
    n_units = n_images if privacy_unit == "image" else n_patients
    networks = _networks(speed)

    def within(name: str, value: float) -> float:
        low, high = ranges[name]
        return min(max(value, low), high)

    return {
        "table": table,
        "networks": networks,
        "batch_range": [SMALLEST_BATCH, LARGEST_BATCH],
        "speed_source": f"one thread of {speed.machine['processor']}, {speed.machine['date']}",
        "start": {
            "target_epsilon": within("target_epsilon", target_epsilon),
            "delta": within("delta", delta),
            "privacy_unit": privacy_unit,
            "n_images": n_images,
            "images_per_patient": round(n_images / n_patients, 2),
            "max_images_per_patient": max_images_per_patient,
            "expected_batch_size": min(max(expected_batch_size, SMALLEST_BATCH), LARGEST_BATCH),
            "passes": within("passes", n_steps * expected_batch_size / n_units),
            "network": 0,
            "images_per_second": networks[0]["images_per_second"],
        },
    }


def _networks(speed: SpeedResults) -> list[dict[str, Any]]:
    """Networks whose private step was measured, each with its number of parameters and images a second."""
    costs = step_costs(speed)
    measured = costs[(costs["method"] == OURS) & costs["seconds"].notna() & costs["architecture"].isin(N_PARAMETERS)]
    if measured.empty:
        raise UserError(f"the benchmark timed {OURS!r} for none of {', '.join(N_PARAMETERS)}; run make bench")
    return [
        {
            "label": f"{row['architecture']}, {row['size']} px",
            "n_parameters": N_PARAMETERS[row["architecture"]],
            "images_per_second": float(f"{row['batch'] / row['seconds']:.3g}"),
        }
        for row in measured.to_dict("records")
    ]
