import shutil
from dataclasses import replace

import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.releasing.release_checks import check_releasable
from dpcxr_core.training.record import read_record


@pytest.fixture
def run(private_run, tmp_path):
    """A copy of a private run, to be tampered with."""
    return shutil.copytree(private_run, tmp_path / private_run.name)


def test_a_private_run_on_simulated_images_may_be_released(run):
    check_releasable(run, read_record(run), images_need_protection=False)


@pytest.mark.parametrize(("kind", "reason"), [("non_private", "without privacy"), ("public_only", "not trained on")])
def test_other_runs_have_no_certificate_to_go_with_them(tiny_study, kind, reason):
    folder = tiny_study.folders[[config.kind for config in tiny_study.configs].index(kind)]
    with pytest.raises(UserError, match=f"cannot be released as a private model: .*{reason}"):
        check_releasable(folder, read_record(folder), images_need_protection=False)


def test_an_ablation_promises_nothing(run):
    record = read_record(run)
    silent = replace(record.config.privacy, noise_multiplier=0.0)
    ablation = replace(record, config=replace(record.config, privacy=silent, target_epsilon=None))
    with pytest.raises(UserError, match="lacks Poisson draws, clipping or noise"):
        check_releasable(run, ablation, images_need_protection=False)


def test_a_certificate_that_was_changed_is_refused(run):
    record = read_record(run)
    certificate = {**record.certificate, "epsilon_pld": 0.1}
    with pytest.raises(UserError, match="epsilon_pld is 0.1, not"):
        check_releasable(run, replace(record, certificate=certificate), images_need_protection=False)


def test_a_recorded_seed_gives_away_the_noise_on_images_that_need_protection(run):
    with pytest.raises(UserError, match="whoever knows it can subtract the noise"):
        check_releasable(run, read_record(run), images_need_protection=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda ledger: ledger.head(3), "has 3 rows, not one for each of the 4 steps"),
        (lambda ledger: pd.concat([ledger.head(3), ledger.head(1)]), "has 4 rows, not one"),
        (lambda ledger: ledger.assign(noise_std=ledger["noise_std"].where(ledger["step"] != 2, 0.0)), "noise of 0 to"),
    ],
)
def test_a_ledger_that_disagrees_with_the_certificate_is_refused(run, change, reason):
    change(pd.read_parquet(run / "ledger.parquet")).to_parquet(run / "ledger.parquet")
    with pytest.raises(UserError, match=reason):
        check_releasable(run, read_record(run), images_need_protection=False)


def test_weights_that_changed_or_whose_checksum_is_not_known_are_refused(run):
    record = read_record(run)
    with pytest.raises(UserError, match="its record says not stated"):
        check_releasable(run, replace(record, data={}), images_need_protection=False)
    weights = bytearray((run / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (run / "weights.safetensors").write_bytes(bytes(weights))
    with pytest.raises(UserError, match="they are not those that were trained"):
        check_releasable(run, record, images_need_protection=False)


def test_a_run_whose_engine_was_not_checked_is_refused(run):
    record = read_record(run)
    failed = [{**record.selfcheck[0], "passed": False}, *record.selfcheck[1:]]
    for checks in ([], failed):
        with pytest.raises(UserError, match="no passed self-check"):
            check_releasable(run, replace(record, selfcheck=checks), images_need_protection=False)
