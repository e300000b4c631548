import numpy as np
import pandas as pd
import pydicom
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.pictures.files import read_picture
from dpcxr_core.data.pictures.recipes import RECIPES
from dpcxr_core.data.policies import policy_named
from dpcxr_core.data.simulation.simulated import render, simulate_cohort
from dpcxr_core.data.simulation.uka_standin import HOSPITAL, MASTER_LIST, write_uka_standin
from dpcxr_core.data.sources.uka_cxr import STAND_IN, read_uka_cxr

FACTS = facts_of("uka_cxr")
SIZES = {"n_train": 60, "n_valid": 20, "n_test": 40}


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uka") / "standin"
    return folder, write_uka_standin(folder, **SIZES, seed=0, size=32)


@pytest.fixture(scope="module")
def truth(standin):
    return pd.read_csv(standin[0] / STAND_IN, dtype={"image_id": str})


def test_reader_takes_it_for_the_real_thing_but_for_one_count(standin):
    folder, master = standin
    official = read_uka_cxr(folder, FACTS)
    said = ("rows_in_csv", "images_whose_patient_id_is_an_admission", "images_of_the_synthetic_stand_in")
    assert {name: n for name, n in official.counts.items() if n} == dict.fromkeys(said, 120)
    assert official.unlisted == ()
    assert official.table["path"].notna().all()
    cohort = cohort_of(official, FACTS, policy_named(FACTS, None), SplitChoice(recipe="official")).cohort
    assert cohort["split"].value_counts().to_dict() == {"train": 60, "test": 40, "valid": 20}
    assert all(0 < cohort[finding].mean() < 1 for finding in FINDINGS)
    assert master["image_id"].is_unique


def test_grades_follow_the_known_severities(standin, truth):
    codes = read_uka_cxr(standin[0], FACTS).table
    severity = truth["severity_pleural_effusion"].to_numpy()
    by_grade = pd.Series(severity).groupby(codes["code_pleural_effusion"].to_numpy())
    lowest, highest = by_grade.min(), by_grade.max()
    assert highest["1"] == 0
    assert 0 < lowest["2"] <= highest["2"] < lowest["3"] <= highest["3"] < lowest["4"]


def test_question_marks_stand_where_the_hospitals_label_is_wrong(standin, truth):
    codes = read_uka_cxr(standin[0], FACTS).table
    simulation = simulate_cohort(HOSPITAL, *SIZES.values(), seed=0)
    wrong = (simulation.cohort["atelectasis"] != truth["true_atelectasis"]).to_numpy()
    assert wrong.any()
    assert ((codes["code_atelectasis"] == "5").to_numpy() == wrong).all()


def test_patients_are_admitted_more_than_once_so_a_split_by_admission_leaks(standin, truth):
    folder, master = standin
    admissions = master["subject_id"].groupby(truth["patient_id"]).nunique()
    assert admissions.max() > 1
    assert (truth["patient_id"].groupby(master["subject_id"]).nunique() == 1).all()
    official = read_uka_cxr(folder, FACTS)
    cohort = cohort_of(official, FACTS, policy_named(FACTS, None), SplitChoice(recipe="patients")).cohort
    n_splits = cohort["split"].groupby(truth["patient_id"].to_numpy()).nunique()
    assert n_splits.max() > 1


def test_ages_are_those_of_the_simulated_patients(standin, truth):
    ages = read_uka_cxr(standin[0], FACTS).table["age_years"]
    assert (ages - truth["true_age_years"]).between(0, 1.2).all()
    born = standin[1].groupby(truth["patient_id"].to_numpy())["birth_date"].nunique()
    assert (born == 1).all()


def test_pictures_are_the_simulated_ones_in_both_polarities(standin):
    folder, _ = standin
    paths = read_uka_cxr(folder, FACTS).table["path"]
    drawn = render(simulate_cohort(HOSPITAL, *SIZES.values(), seed=0), np.arange(4), 32)
    kinds = [pydicom.dcmread(folder / path).PhotometricInterpretation for path in paths[:4]]
    assert kinds == ["MONOCHROME2", "MONOCHROME1"] * 2
    for path, image in zip(paths[:4], drawn, strict=True):
        stored = RECIPES["corrected"].render(read_picture(folder / path), 32)
        assert np.corrcoef(stored.ravel(), image.ravel())[0, 1] > 0.99


def test_png_pictures_and_the_same_list_for_the_same_seed(standin, tmp_path):
    again = write_uka_standin(tmp_path / "png", **SIZES, seed=0, size=32, pictures="png")
    pd.testing.assert_frame_equal(again, standin[1])
    path = read_uka_cxr(tmp_path / "png", FACTS).table["path"].iloc[0]
    drawn = render(simulate_cohort(HOSPITAL, *SIZES.values(), seed=0), np.arange(1), 32)[0]
    assert np.array_equal(read_picture(tmp_path / "png" / path).stored, drawn)


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(UserError, match="is not empty"):
        write_uka_standin(tmp_path / "full", **SIZES, seed=0)
    with pytest.raises(UserError, match="'dicom' or 'png'; got 'jpeg'"):
        write_uka_standin(tmp_path / "new", **SIZES, seed=0, pictures="jpeg")
    with pytest.raises(UserError, match="at least one"):
        write_uka_standin(tmp_path / "new", n_train=0, n_valid=0, n_test=0, seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_folder_that_was_not_finished_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda *at, **named: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_uka_standin(tmp_path / "new", n_train=2, n_valid=0, n_test=0, seed=0, size=32)
    assert not (tmp_path / "new" / MASTER_LIST).exists()
    with pytest.raises(UserError, match="has no"):
        read_uka_cxr(tmp_path / "new", FACTS)
