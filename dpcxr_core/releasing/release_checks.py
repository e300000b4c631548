"""What has to hold before the weights of a run may be given away with its certificate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dpcxr_core.collecting.certificate_checks import check_certificate
from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.data.store import file_sha256
from dpcxr_core.training.record import RunRecord, read_table
from dpcxr_core.training.weight_files import WEIGHTS_FILE

_NOT_PRIVATE = {
    "ablation": "its mechanism lacks Poisson draws, clipping or noise",
    "non_private": "it was trained without privacy",
    "public_only": "it was not trained on private images",
}


def check_releasable(folder: Path, record: RunRecord, images_need_protection: bool) -> None:
    """Nothing, if the run in ``folder`` may be released as differentially private.

    Args:
        folder: Of the run record.
        record: What it says.
        images_need_protection: Whether those trained on do.

    Raises:
        UserError: The run is not private; its certificate is not the one that its configuration gives, or has a delta
            that would allow publishing a unit; the ledger disagrees with it; a check of the engine failed; the weights
            are not those recorded; or the seed, which is recorded, gives away the noise on images that need protection.
        AccountantsDisagreeError: As ``certify``.
    """
    config, run_id = record.config, record.run_id
    if config.kind != "private":
        reason = _NOT_PRIVATE[config.kind]
        raise UserError(f"{run_id} cannot be released as a private model: {reason}, so there is no certificate")
    assert config.privacy is not None
    check_certificate(record)
    _check_delta(record)
    if images_need_protection and config.randomness != "secret":
        raise UserError(
            f"{run_id} was trained on images that need protection with randomness {config.randomness!r}: its seed is "
            "recorded, and whoever knows it can subtract the noise. Train again with randomness 'secret'"
        )
    if not record.selfcheck or not all(check["passed"] for check in record.selfcheck):
        raise UserError(f"the record of {run_id} names no passed self-check of the privacy engine; run it again")
    _check_ledger(folder, run_id, config.privacy)
    _check_weights(folder, record)


def check_trained_on(record: RunRecord, description: Mapping[str, Any]) -> None:
    """Nothing, if the run was trained on the images that ``ImageStore.description`` is of: the card describes them.

    Raises:
        UserError: The store has other images, or parts them otherwise.
    """
    trained_on, found = record.data["split_hash"], description["split_hash"]
    if trained_on != found:
        raise UserError(
            f"{record.run_id} was trained on images with split hash {trained_on}, and the store {record.data['store']} "
            f"found has {found}: they are not the same. Name the run folder of those images by --run-dir"
        )


def _check_delta(record: RunRecord) -> None:
    assert record.certificate is not None  # check_certificate refuses a private run without one
    delta, n_units = record.certificate["delta"], record.certificate["n_units"]
    if record.certificate["delta_times_units"] >= 1:
        raise UserError(
            f"{record.run_id} has a delta of {delta:g}, which is not below one over its {n_units} units: it would "
            f"allow publishing a unit outright. Train again with a delta below {1 / n_units:g}"
        )


def _check_ledger(folder: Path, run_id: str, privacy: PrivacySpecification) -> None:
    """The mechanism did what it was certified for: every step once, each with all of the noise."""
    ledger = read_table(folder, "ledger")
    if not np.array_equal(ledger["step"], np.arange(privacy.n_steps)):
        raise UserError(
            f"the ledger of {run_id} has {len(ledger)} rows, not one for each of the {privacy.n_steps} steps of its "
            "certificate; its record is damaged, run it again"
        )
    if not np.allclose(ledger["noise_std"], privacy.noise_std, rtol=1e-12, atol=0):
        raise UserError(
            f"the ledger of {run_id} has noise of {ledger['noise_std'].min():g} to {ledger['noise_std'].max():g}, its "
            f"certificate of {privacy.noise_std:g}; its record is damaged, run it again"
        )


def _check_weights(folder: Path, record: RunRecord) -> None:
    recorded, found = record.data.get("weights_sha256", "not stated"), file_sha256(folder / WEIGHTS_FILE)
    if found != recorded:
        raise UserError(
            f"the weights of {record.run_id} have SHA-256 {found[:12]}, its record says {recorded[:12]}: they are not "
            "those that were trained; run it again"
        )
