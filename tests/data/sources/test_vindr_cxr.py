import importlib.util
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.policies import labels_by, policies_of, policy_named
from dpcxr_core.data.sources.vindr_cxr import read_vindr_cxr

FACTS = facts_of("vindr_cxr")
LABELS = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,Emphysema,"
    "Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,Pleural effusion,"
    "Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,"
    "Tuberculosis,{},No finding"
)
KAGGLE = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
TRAIN, TEST = "annotations/image_labels_train.csv", "annotations/image_labels_test.csv"
IMAGES = {"train": [f"{'a' * 31}{n}" for n in range(4)], "test": [f"{'b' * 31}{n}" for n in range(4)]}
# Readers of training image n (of 3) who mark a column; the test images have one mark.
VOTES = {"Cardiomegaly": [0, 1, 2, 3], "Pneumonia": [3, 0, 0, 1], "No finding": [0, 2, 0, 0]}
MARKS = {"Atelectasis": [1, 0, 0, 0], "No finding": [0, 0, 1, 1]}
# (sex, age) as the headers have them; None is a header without the tag.
HEADERS = {
    "train": [("F", "058Y"), ("M", "000Y"), ("O", "238Y"), (None, None)],
    "test": [("", ""), ("M", "018M"), ("F", "58 years"), ("M", "070Y")],
}


def _row(image, readers, marks, columns):
    return ",".join([image, *readers, *(str(marks.get(column, 0)) for column in columns)])


def _write_labels(source, train_columns, test_columns, test_readers):
    train = ["image_id,rad_id," + ",".join(train_columns)]
    for number, image in enumerate(IMAGES["train"]):
        for place, reader in enumerate(("R10", "R8", "R9")):
            marks = {column: int(place < votes[number]) for column, votes in VOTES.items()}
            train.append(_row(image, [reader], marks, train_columns))
    test = ["image_id," + ("rad_id," if test_readers else "") + ",".join(test_columns)]
    for number, image in enumerate(IMAGES["test"]):
        marks = {column: values[number] for column, values in MARKS.items()}
        test.append(_row(image, ["consensus"] if test_readers else [], marks, test_columns))
    (source / "annotations").mkdir()
    (source / TRAIN).write_text("\n".join(train) + "\n")
    (source / TEST).write_text("\n".join(test) + "\n")
    for split in ("train", "test"):
        boxes = source / "annotations" / f"annotations_{split}.csv"
        boxes.write_text("image_id,class_name,x_min,y_min,x_max,y_max\n")


def _write_dicom(path, sex, age, **more):
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    with pydicom.config.disable_value_validation():
        for name, value in {"PatientSex": sex, "PatientAge": age, **more}.items():
            if value is not None:
                setattr(header, name, value)
        header.PhotometricInterpretation = "MONOCHROME1"
        header.Rows = header.Columns = 4
        header.SamplesPerPixel, header.PixelRepresentation = 1, 0
        header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
        header.PixelData = np.arange(16, dtype=np.uint16).tobytes()
        header.save_as(path, enforce_file_format=True)


@pytest.fixture
def make_vindr(tmp_path):
    """A folder in PhysioNet's layout: four training images of three readers, four test images of one consensus."""

    def make(train_last="Other diseases", test_last="Other disease", test_readers=False) -> Path:
        source = tmp_path / "vindr"
        source.mkdir()
        _write_labels(source, LABELS.format(train_last).split(","), LABELS.format(test_last).split(","), test_readers)
        for split, images in IMAGES.items():
            (source / split).mkdir()
            for image, (sex, age) in zip(images, HEADERS[split], strict=True):
                _write_dicom(source / split / f"{image}.dicom", sex, age)
        return source

    return make


def test_votes_and_consensus_are_the_codes_and_readers_are_kept(make_vindr):
    official = read_vindr_cxr(make_vindr(), FACTS)
    table = official.table
    assert table["image_id"].tolist() == IMAGES["train"] + IMAGES["test"]
    assert table["split"].tolist() == ["train"] * 4 + ["test"] * 4
    assert table["code_cardiomegaly"].tolist() == ["0 of 3", "1 of 3", "2 of 3", "3 of 3"] + ["consensus 0"] * 4
    assert table["code_pneumonia"].tolist()[:4] == ["3 of 3", "0 of 3", "0 of 3", "1 of 3"]
    assert table["code_atelectasis"].tolist()[4:] == ["consensus 1"] + ["consensus 0"] * 3
    assert table["readers"].tolist() == ["R10|R8|R9"] * 4 + [None] * 4
    assert table["path"].iloc[0] == f"train/{IMAGES['train'][0]}.dicom"
    assert (table["view"] == "PA").all()
    assert official.unlisted == ()


def test_every_image_is_a_patient_of_its_own_and_the_counts_say_so(make_vindr):
    official = read_vindr_cxr(make_vindr(), FACTS)
    assert FACTS["patient_ids"] == "none"
    assert official.table["patient_id"].equals(official.table["image_id"])
    assert official.counts["patient_id_is_the_image_id"] == 8


def test_sex_and_age_come_from_the_headers_and_what_is_missing_is_counted(make_vindr):
    official = read_vindr_cxr(make_vindr(), FACTS)
    assert official.table["sex"].tolist() == ["F", "M", None, None, None, "M", "F", "M"]
    assert official.table["age_years"].fillna(-1).tolist() == [58, -1, -1, -1, -1, 1.5, -1, 70]
    assert official.counts == {
        "patient_id_is_the_image_id": 8,
        "headers_unreadable": 0,
        "sex_not_recorded": 2,
        "sex_set_missing": 1,
        "ages_not_recorded": 2,
        "ages_of_zero_set_missing": 1,
        "ages_set_missing": 2,
        "links_out_of_source": 0,
    }


def _truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def _empty(path):
    path.write_bytes(b"")


def _png(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(300))


def _noise(path):
    path.write_bytes(bytes(128) + b"DICM" + np.random.default_rng(0).bytes(500))


@pytest.mark.parametrize("damage", [_empty, _png, _noise, _truncate])
def test_row_of_a_broken_header_stays_and_is_counted(make_vindr, damage):
    source = make_vindr()
    damage(source / "train" / f"{IMAGES['train'][0]}.dicom")
    official = read_vindr_cxr(source, FACTS)
    first = official.table.iloc[0]
    assert len(official.table) == 8
    assert pd.isna(first["sex"])
    assert pd.isna(first["age_years"])
    assert first["path"] is not None
    assert official.counts["headers_unreadable"] == 1


def test_header_without_its_file_meta_is_read_all_the_same(make_vindr):
    source = make_vindr()
    path = source / "train" / f"{IMAGES['train'][0]}.dicom"
    header = pydicom.dcmread(path)
    del header.file_meta, header.preamble
    header.save_as(path, implicit_vr=False, little_endian=True)
    path.write_bytes(bytes(128) + b"DICM" + path.read_bytes())  # no Transfer Syntax UID, as in some official files
    official = read_vindr_cxr(source, FACTS)
    assert official.table.loc[0, ["sex", "age_years"]].tolist() == ["F", 58]
    assert official.counts["headers_unreadable"] == 0


def test_header_without_a_preamble_gives_sex_and_age(make_vindr):
    source = make_vindr()
    path = source / "train" / f"{IMAGES['train'][0]}.dicom"
    path.write_bytes(path.read_bytes()[132:])
    official = read_vindr_cxr(source, FACTS)
    assert official.table.loc[0, ["sex", "age_years"]].tolist() == ["F", 58]
    assert official.counts["headers_unreadable"] == 0


def test_missing_pictures_links_out_and_strays_are_told_apart(make_vindr, tmp_path):
    source = make_vindr()
    pictures = [source / "train" / f"{image}.dicom" for image in IMAGES["train"]]
    pictures[0].unlink()
    pictures[1].rename(tmp_path / "secret.dicom")
    os.symlink(tmp_path / "secret.dicom", pictures[1])
    pictures[2].rename(source / "test" / pictures[2].name)  # in the folder of the other split
    official = read_vindr_cxr(source, FACTS)
    assert official.table["path"].isna().tolist() == [True] * 3 + [False] * 5
    assert official.table["sex"].isna().tolist()[:3] == [True] * 3
    assert official.counts["links_out_of_source"] == 1
    assert official.counts["headers_unreadable"] == 0
    assert official.unlisted == (f"test/{pictures[2].name}",)


@pytest.mark.parametrize(
    "spelling",
    [
        {"train_last": "Other disease", "test_last": "Other diseases"},
        {"train_last": "Other disease(s)"},
        {"test_readers": True},
    ],
)
def test_spellings_and_a_reader_column_in_the_test_file_change_nothing(make_vindr, tmp_path, spelling):
    source = make_vindr()
    expected = read_vindr_cxr(source, FACTS).table
    source.rename(tmp_path / "first")
    pd.testing.assert_frame_equal(read_vindr_cxr(make_vindr(**spelling), FACTS).table, expected)


@pytest.mark.parametrize(
    ("policy", "cardiomegaly"),
    [
        ("as_published", [0, 0, 1, 1]),
        ("u_zero", [0, 0, 0, 1]),
        ("u_one", [0, 1, 1, 1]),
        ("u_ignore", [0, None, None, 1]),
    ],
)
def test_policies_differ_only_where_readers_disagree(make_vindr, policy, cardiomegaly):
    labels = labels_by(policy_named(FACTS, policy), read_vindr_cxr(make_vindr(), FACTS).table)
    assert labels["cardiomegaly"].astype(object).where(labels["cardiomegaly"].notna(), None).tolist() == [
        *cardiomegaly,
        *[0] * 4,
    ]
    assert labels["no_finding"].tolist()[4:] == [0, 0, 1, 1]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_as_published_is_the_mean_of_the_readers_at_one_half(votes):
    table = pd.DataFrame({f"code_{finding}": [f"{n} of 3" for n in votes] for finding in FINDINGS})
    labels = labels_by(policies_of(FACTS)["as_published"], table)
    assert labels["pneumonia"].tolist() == [float(np.mean([1] * n + [0] * (3 - n)) >= 0.5) for n in votes]


def test_cohort_keeps_the_official_test_set_and_carves_validation(make_vindr):
    official = read_vindr_cxr(make_vindr(), FACTS)
    policy = policy_named(FACTS, None)
    cohort = cohort_of(official, FACTS, policy, SplitChoice(recipe=FACTS["default_split"], valid_fraction=0.25)).cohort
    assert cohort["split"].value_counts().to_dict() == {"test": 4, "train": 3, "valid": 1}
    assert set(cohort.loc[cohort["split"] == "test", "image_id"]) == set(IMAGES["test"])


def _edit(name, old, new, count=-1):
    return lambda source: (source / name).write_text((source / name).read_text().replace(old, new, count))


def _drop_last_line(source):
    lines = (source / TRAIN).read_text().splitlines()
    (source / TRAIN).write_text("\n".join(lines[:-1]))


def _repeat_last_line(name):
    return lambda source: (source / name).write_text(
        (source / name).read_text() + (source / name).read_text().splitlines()[-1] + "\n"
    )


def _kaggle(source):
    (source / TRAIN).unlink()
    (source / "train.csv").write_text(f"{KAGGLE}\n{IMAGES['train'][0]},No finding,14,R11,,,,\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_kaggle, "train.csv is the table of boxes that Kaggle's.*no pneumonia.*PhysioNet"),
        (lambda source: (source / TRAIN).write_text(KAGGLE + "\n"), "image_labels_train.csv is the table of boxes"),
        (lambda source: (source / TRAIN).unlink(), "has no annotations/image_labels_train.csv or"),
        (lambda source: (source / TEST).unlink(), "has no annotations/image_labels_test.csv or"),
        (_drop_last_line, r"1 of 4 images have not exactly 3 different readers \(rows an image: {2: 1}\)"),
        (_repeat_last_line(TRAIN), "1 of 4 images have not exactly 3 different readers"),
        (_edit(TRAIN, ",R8,", ",R9,"), "4 of 4 images have not exactly 3 different readers"),
        (_edit(TRAIN, ",R8,", ",,", 1), "1 of 4 images have not exactly 3 different readers"),
        (_repeat_last_line(TEST), "2 rows stand for 1 images"),
        (_edit(TRAIN, ",Pneumonia,", ",Pneumonie,"), "has no column 'Pneumonia'"),
        (_edit(TEST, ",0\n", ",\n"), "2 rows have no mark for 'No finding'"),
        (_edit(TEST, ",0\n", ",0.5\n"), r"column 'No finding', holds '0.5' \(2 times\)"),
    ],
)
def test_source_not_as_documented_is_refused_with_its_reason(make_vindr, damage, message):
    source = make_vindr()
    damage(source)
    with pytest.raises(UserError, match=message):
        read_vindr_cxr(source, FACTS)


def test_image_in_both_label_files_is_refused(make_vindr):
    source = make_vindr()
    _edit(TEST, IMAGES["test"][0], IMAGES["train"][0])(source)
    official = read_vindr_cxr(source, FACTS)
    with pytest.raises(UserError, match="1 image ids stand in rows that differ"):
        cohort_of(official, FACTS, policy_named(FACTS, None), SplitChoice(recipe="official"))


def test_votes_of_the_real_readers_give_the_known_counts(make_vindr):
    """Kaggle's boxes, the same readers' work, laid out as PhysioNet does; counts of the reference, made without us."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torchxrayvision, whose wheel holds Kaggle's table of VinDr's readers, is not installed")
    boxes = pd.read_csv(Path(next(iter(spec.submodule_search_locations))) / "data" / "vinbigdata-train.csv.gz")
    marks = pd.crosstab([boxes["image_id"], boxes["rad_id"]], boxes["class_name"]).clip(upper=1)
    source = make_vindr()
    marks.assign(Pneumonia=0).to_csv(source / TRAIN)
    table = read_vindr_cxr(source, FACTS).table.query("split == 'train'")
    assert len(table) == 15_000
    positives = {name: labels_by(policy, table).eq(1).sum() for name, policy in policies_of(FACTS).items()}
    for finding, any_reader, majority, unanimous in (
        ("atelectasis", 186, 62, 18),
        ("cardiomegaly", 2_300, 1_817, 1_297),
        ("pleural_effusion", 1_032, 634, 439),
        ("no_finding", 10_606, 10_606, 10_606),
    ):
        assert positives["u_one"][finding] == any_reader
        assert positives["as_published"][finding] == majority
        assert positives["u_zero"][finding] == positives["u_ignore"][finding] == unanimous
