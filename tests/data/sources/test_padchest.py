import csv
import gzip
import hashlib
import importlib.util
import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dpcxr_core.config import FINDINGS, SPLITS, UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_counts, cohort_of
from dpcxr_core.data.manifests import MANIFESTS, facts_of, terms_of
from dpcxr_core.data.policies import labels_by, policies_of, policy_named
from dpcxr_core.data.sources.padchest import _codes, _terms_of_texts, read_padchest
from dpcxr_core.data.splits import check_patient_disjoint, split_hash

FACTS = facts_of("padchest")
NAME = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
    "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,"
    "WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,LabelsLocalizationsBySentence,"
    "labelCUIS,LocalizationsCUIS"
)
USUAL = {
    "ImageDir": "0",
    "StudyDate_DICOM": "20140915",
    "PatientBirth": "1930.0",
    "PatientSex_DICOM": "M",
    "ViewPosition_DICOM": "nan",
    "Projection": "PA",
    "MethodProjection": "Manual review of DICOM fields",
    "Pediatric": "No",
    "BitsStored_DICOM": "12",
    "Report": "sin hallazgos , salvo placas.",
    "MethodLabel": "Physician",
    "Labels": "['normal']",
}
# One row a trap: what differs from USUAL.
ROWS = [
    {"PatientID": "1"},
    {"PatientID": "1", "StudyDate_DICOM": "20090101", "PatientSex_DICOM": "F", "Projection": "AP_horizontal"},
    {"PatientID": "2", "Labels": "['normal', ' pleural effusion']", "Projection": "AP"},
    {"PatientID": "2", "Labels": "['Pleural Effusion', 'COPD signs', '']", "MethodLabel": "RNN_model"},
    {"PatientID": "3", "Labels": "['empyema', 'laminar atelectasis']"},
    {"PatientID": "3", "Labels": "['abnormal foreign body', 'pericardial effusion']"},
    {"PatientID": "4", "Labels": "['atypical pneumonia', 'cardiomegaly']"},
    {"PatientID": "4", "Labels": "['unchanged']", "ViewPosition_DICOM": "PA"},
    {"PatientID": "5", "Labels": "['suboptimal study', 'cardiomegaly']"},
    {"PatientID": "5", "Labels": "['exclude']"},
    {"PatientID": "6", "Labels": "nan", "Report": "nan"},
    {"PatientID": "6", "Labels": "['']", "PatientSex_DICOM": "O"},
    {"PatientID": "7", "Projection": "L", "ViewPosition_DICOM": "PA"},
    {"PatientID": "7", "Projection": "UNK", "PatientSex_DICOM": "nan"},
    {"PatientID": "8", "PatientBirth": "", "Pediatric": "PED"},
    {"PatientID": "8", "PatientBirth": "1890.0"},
    {"PatientID": "9", "PatientBirth": "2015.0"},
    {"PatientID": "9", "Projection": "COSTAL", "Labels": "['unchanged', 'normal']"},
]


@pytest.fixture
def make_padchest(tmp_path):
    """A folder in the official layout: one row of the CSV and one 16-bit picture a trap, by ``ImageDir`` or flat."""

    def make(rows=ROWS, flat=False, compress=False) -> Path:
        source = tmp_path / "padchest"
        source.mkdir()
        columns = HEADER.split(",")
        lines = []
        for row, differing in enumerate(rows):
            folder = str(row % 2 * 54)
            values = {**USUAL, "": str(row), "ImageID": f"{row:03d}_a.png", "StudyID": f"s{row}", "ImageDir": folder}
            lines.append([{**values, **differing}.get(column, "x") for column in columns])
            pictures = source if flat else source / folder
            pictures.mkdir(exist_ok=True)
            pixels = np.linspace(0, 4095, 64, dtype=np.uint16).reshape(8, 8)
            Image.fromarray(pixels).save(pictures / f"{row:03d}_a.png")
        text = io.StringIO()
        text.write(HEADER + "\n")
        csv.writer(text, lineterminator="\n").writerows(lines)
        content = text.getvalue().encode()
        if compress:
            (source / f"{NAME}.gz").write_bytes(gzip.compress(content))
        else:
            (source / NAME).write_bytes(content)
        return source

    return make


def _codes_of(official, row):
    return official.table.filter(like="code_").iloc[row].to_dict()


def test_official_values_come_through_by_whole_terms(make_padchest):
    official = read_padchest(make_padchest(), FACTS)
    table = official.table
    assert len(table) == len(ROWS)
    assert table["image_id"].tolist() == [f"{row:03d}_a.png" for row in range(len(ROWS))]
    assert table["path"].tolist()[:2] == ["0/000_a.png", "54/001_a.png"]
    assert table["split"].isna().all()
    assert table["view"].tolist()[:3] == ["PA", "AP", "AP"]
    assert table["view"].tolist()[12:14] == ["other", None]
    assert table["age_years"].tolist()[:2] == [84, 79]  # by the year of the study, not of the publication
    assert table["raw_labels"].iloc[3] == "['Pleural Effusion', 'COPD signs', '']"
    assert table["pediatric"].iloc[14] == "PED"
    assert official.unlisted == ()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (0, {"no_finding": "mentioned", "pneumonia": "not mentioned", "labelled_by_model": "no", "exclude": "no"}),
        (2, {"no_finding": "mentioned", "pleural_effusion": "mentioned"}),
        (3, {"pleural_effusion": "mentioned", "no_finding": "not mentioned", "labelled_by_model": "yes"}),
        (4, {"pleural_effusion": "mentioned by another name", "atelectasis": "mentioned"}),
        (5, {"no_finding": "part of another term", "pleural_effusion": "not mentioned"}),
        (6, {"pneumonia": "mentioned", "cardiomegaly": "mentioned"}),
        (7, {"pneumonia": "not mentioned, doubtful", "no_finding": "not mentioned, doubtful"}),
        (8, {"cardiomegaly": "mentioned", "pneumonia": "not mentioned, doubtful", "no_finding": "not mentioned"}),
        (9, {"exclude": "yes"}),
        (10, {**dict.fromkeys(FINDINGS), "exclude": None}),
        (11, {"atelectasis": "not mentioned, doubtful", "no_finding": "not mentioned, doubtful"}),
        (17, {"no_finding": "mentioned", "pneumonia": "not mentioned"}),
    ],
)
def test_each_label_text_has_its_codes(make_padchest, row, expected):
    codes = _codes_of(read_padchest(make_padchest(), FACTS), row)
    assert {name: codes[f"code_{name}"] for name in expected} == expected


def test_what_is_missing_or_set_missing_is_counted(make_padchest):
    official = read_padchest(make_padchest(), FACTS)
    assert official.counts == {
        "rows_in_csv": 18,
        "no_labels": 1,
        "normal_beside_other_terms": 1,
        "ages_not_recorded": 1,
        "ages_set_missing": 2,
        "sex_not_recorded": 1,
        "sex_set_missing": 1,
        "links_out_of_source": 0,
    }
    assert official.table["age_years"].isna().to_numpy().nonzero()[0].tolist() == [14, 15, 16]
    assert official.table["sex"].isna().to_numpy().nonzero()[0].tolist() == [11, 13]


@pytest.mark.parametrize("layout", [{"flat": True}, {"compress": True}, {"flat": True, "compress": True}])
def test_flat_folders_and_the_packed_csv_give_the_same_table(make_padchest, layout, tmp_path):
    source = make_padchest()
    plain = read_padchest(source, FACTS).table
    source.rename(tmp_path / "plain")
    other = read_padchest(make_padchest(**layout), FACTS).table
    pd.testing.assert_frame_equal(plain.drop(columns="path"), other.drop(columns="path"))
    assert other["path"].map(lambda path: path.split("/")[-1]).tolist() == other["image_id"].tolist()


def test_policies_say_what_the_sidecar_promises(make_padchest):
    table = read_padchest(make_padchest(), FACTS).table
    labels = {name: labels_by(policy, table) for name, policy in policies_of(FACTS).items()}
    assert labels["as_published"].loc[4, "pleural_effusion"] == 0  # empyema lacks the words
    assert labels["u_zero"].loc[4, "pleural_effusion"] == 1
    assert labels["as_published"].loc[5, "no_finding"] == 1  # an abnormal foreign body holds "normal"
    assert labels["u_zero"].loc[5, "no_finding"] == 0
    assert labels["u_zero"].loc[7, "pneumonia"] == 0
    assert np.isnan(labels["u_ignore"].loc[7, "pneumonia"])
    assert labels["u_one"].equals(labels["u_zero"])
    assert labels["as_published"].loc[10].isna().all()


def test_policies_leave_out_excluded_studies_and_on_request_what_a_model_labelled(make_padchest):
    official = read_padchest(make_padchest(), FACTS)
    split = SplitChoice(recipe="patients", valid_fraction=0.2)
    kept = {name: cohort_of(official, FACTS, policy_named(FACTS, name), split).cohort for name in FACTS["policies"]}
    ids = {name: set(cohort["image_id"]) for name, cohort in kept.items()}
    assert ids["as_published"] - ids["u_zero"] == {"009_a.png"}
    assert ids["u_zero"] - ids["u_zero_physicians"] == {"003_a.png"}
    assert not {"012_a.png", "013_a.png", "017_a.png"} & ids["as_published"]
    for cohort in kept.values():
        check_patient_disjoint(cohort)


def test_links_out_of_the_source_are_not_followed_and_strays_are_listed(make_padchest, tmp_path):
    source = make_padchest()
    outside = tmp_path / "secret.png"
    (source / "0" / "000_a.png").rename(outside)
    os.symlink(outside, source / "0" / "000_a.png")
    (source / "54" / "001_a.png").rename(source / "54" / "stray.png")
    official = read_padchest(source, FACTS)
    assert official.table["path"].isna().tolist() == [True, True] + [False] * 16
    assert official.counts["links_out_of_source"] == 1
    assert official.unlisted == ("54/stray.png",)


@pytest.mark.parametrize(
    ("differing", "message"),
    [
        ({"ImageID": "../../etc/x.png"}, None),
        ({"ImageDir": "../.."}, None),
        ({"Labels": "['normal'"}, "Labels of 1 images are not the text of a list.*normal"),
        ({"Labels": "normal"}, "not the text of a list"),
        ({"Labels": "('normal',)"}, "not the text of a list"),
        ({"Labels": "[1, 2]"}, "not the text of a list"),
        ({"Labels": "7"}, "not the text of a list"),
        ({"Labels": "[" * 9000}, "not the text of a list"),
        ({"Labels": "__import__('os').getcwd()"}, "not the text of a list"),
        ({"Projection": "AP_vertical"}, r"Projection holds 'AP_vertical' \(1 times\); known are 'PA'"),
        ({"MethodLabel": "Physicist"}, "MethodLabel holds 'Physicist'"),
    ],
)
def test_values_not_as_documented_are_refused_or_lead_nowhere(make_padchest, differing, message):
    source = make_padchest([{"PatientID": "1"}, {"PatientID": "2", **differing}])
    if message is None:
        paths = read_padchest(source, FACTS).table["path"]
        assert not paths.dropna().str.contains("..", regex=False).any()
        return
    with pytest.raises(UserError, match=message):
        read_padchest(source, FACTS)


def test_missing_csv_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match=f"has no {NAME} or {NAME}.gz"):
        read_padchest(tmp_path, FACTS)


def test_every_term_below_a_node_stands_under_one_finding_only():
    terms = terms_of(FACTS)
    together = [term for names in terms.values() for term in names]
    assert len(together) == len(set(together))
    assert all(term == term.strip().lower() for term in together)


_A_TERM = st.sampled_from(
    [*(name for names in FACTS["labels"].values() for name in names)]
    + ["", " unchanged", "suboptimal study", "exclude", "abnormal foreign body", "Scoliosis ", "pseudonodule"]
)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.lists(_A_TERM, max_size=4), min_size=20, max_size=20))
def test_any_lists_of_terms_have_the_labels_that_two_plain_rules_give(reports):
    texts = pd.Series([str(listed) for listed in reports])
    codes = pd.DataFrame(_codes(texts, _terms_of_texts(texts), terms_of(FACTS)))
    labels = {name: labels_by(policy, codes) for name, policy in policies_of(FACTS).items()}
    for finding, names in FACTS["labels"].items():
        by_term = [any(term.strip().lower() in names for term in listed) for listed in reports]
        assert labels["u_zero"][finding].tolist() == by_term
        assert labels["as_published"][finding].tolist() == [names[0] in text for text in texts]
        ignoring = labels["u_ignore"][finding]
        assert (ignoring.isna() | (ignoring == by_term)).all()
        assert not ignoring[by_term].isna().any()


def test_bad_files_are_known_by_the_hash_of_their_name_alone():
    assert len(FACTS["bad_files"]) == 21
    assert all(len(digest) == len(hashlib.sha256().hexdigest()) for digest in FACTS["bad_files"])
    assert all(".png" not in reason for reason in FACTS["bad_files"].values())


@pytest.mark.slow
def test_real_csv_gives_the_golden_counts():
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torchxrayvision, whose wheel holds the real CSV of PadChest, is not installed")
    golden = json.loads((MANIFESTS / "golden_counts.json").read_text())["padchest"]
    official = read_padchest(Path(next(iter(spec.submodule_search_locations))) / "data", FACTS)
    assert {name: official.counts[name] for name in golden["counted_while_reading"]} == golden["counted_while_reading"]
    for name, expected in golden["policies"].items():
        cohort = cohort_of(official, FACTS, policy_named(FACTS, name), SplitChoice(recipe="patients")).cohort
        assert cohort_counts(cohort) == {split: expected[split] for split in SPLITS}
        assert split_hash(cohort) == expected["split_sha256"]
        if name == "u_ignore":  # which has the findings of u_zero, of fewer labelled images
            labelled = {split: cohort.loc[cohort["split"] == split, [*FINDINGS]].notna().sum() for split in SPLITS}
            assert {split: counts.to_dict() for split, counts in labelled.items()} == golden["labelled_under_u_ignore"]
