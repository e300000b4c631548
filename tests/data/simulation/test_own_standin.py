import pandas as pd
import pytest
from PIL import Image

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.simulation.own_standin import MISTAKES, write_own_standin
from dpcxr_core.data.simulation.phantom import CAUSES
from dpcxr_core.data.simulation.simulated import simulate_cohort
from dpcxr_core.data.sources.own_hospital import answer_to_mistake, read_own
from dpcxr_core.data.sources.own_manifest import own_facts
from tests.data.conftest import prevalence_by_policy

N = 60


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return write_own_standin(tmp_path_factory.mktemp("export"), n_images=N, size=32, seed=3)


def test_export_reads_back_as_the_simulated_cohort_it_was_made_from(export):
    official = read_own(export.parent, own_facts(export))
    truth = simulate_cohort("sim-d", n_train=N, n_valid=0, n_test=0, seed=3).cohort
    table = official.table
    for column in ("sex", "view"):
        assert table[column].tolist() == truth[column].where(truth[column].notna(), None).tolist()
    assert (table["age_years"] - truth["age_years"]).abs().max() < 0.02
    assert table["age_years"].isna().tolist() == truth["age_years"].isna().tolist()
    assert table.groupby("patient_id").ngroups == truth["patient_id"].nunique()
    for finding in FINDINGS:
        there = table[f"code_{finding}"].isin(["positive", "uncertain"])
        assert there.tolist() == (truth[finding] == 1).tolist()


def test_one_picture_is_missing_and_one_is_in_no_row(export):
    official = read_own(export.parent, own_facts(export))
    assert official.table["path"].isna().tolist() == [False] * (N - 1) + [True]
    assert official.unlisted == ("Aufnahmen/Fehlbelichtung.png",)
    with Image.open(export.parent / official.table["path"].iloc[0]) as picture:
        assert picture.size == (32, 32)


def test_policies_differ_as_some_findings_are_only_suspected(export):
    facts = own_facts(export)
    prevalence = prevalence_by_policy(facts, read_own(export.parent, facts).table)
    assert (prevalence.loc["u_one", list(CAUSES)] >= prevalence.loc["u_zero", list(CAUSES)]).all()
    assert prevalence.loc["u_one", list(CAUSES)].sum() > prevalence.loc["u_zero", list(CAUSES)].sum()


def test_call_with_fewer_images_has_no_picture_of_an_earlier_one(tmp_path):
    write_own_standin(tmp_path, n_images=8, size=32, seed=3)
    fewer = write_own_standin(tmp_path, n_images=4, size=32, seed=3)
    assert len(list((fewer.parent / "Aufnahmen").iterdir())) == 4
    assert read_own(fewer.parent, own_facts(fewer)).unlisted == ("Aufnahmen/Fehlbelichtung.png",)


@pytest.mark.parametrize(("right", "wrong"), MISTAKES)
def test_mistakes_of_the_chapter_are_answered(export, right, wrong):
    assert answer_to_mistake(export, export.parent, right=right, wrong=wrong)


def test_same_seed_gives_the_same_files(export, tmp_path):
    again = write_own_standin(tmp_path, n_images=N, size=32, seed=3)
    for path in ("Untersuchungen.csv", "klinikum.yaml", "Aufnahmen/R10007.png"):
        assert (again.parent / path).read_bytes() == (export.parent / path).read_bytes()
    other = write_own_standin(tmp_path / "other", n_images=N, size=32, seed=4)
    assert (other.parent / "Untersuchungen.csv").read_bytes() != (export.parent / "Untersuchungen.csv").read_bytes()
    assert len(pd.read_csv(other.parent / "Untersuchungen.csv", sep=";", encoding="cp1252")) == N
