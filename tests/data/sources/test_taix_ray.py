import hashlib
import io
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.pictures.picture import UnreadableImageError
from dpcxr_core.data.policies import policies_of, policy_named
from dpcxr_core.data.sources import taix_ray
from dpcxr_core.data.sources.taix_ray import read_taix_ray, read_taix_ray_picture
from dpcxr_core.tables import COHORT, checked

FACTS = facts_of("taix_ray")
# As the script on the dataset's page writes it: the columns of Hugging Face without Fold, Split and Image.
HEADER = (
    "UID,PatientID,PhysicianID,StudyDate,Age,Sex,HeartSize,PulmonaryCongestion,PleuralEffusion_Right,"
    "PleuralEffusion_Left,PulmonaryOpacities_Right,PulmonaryOpacities_Left,Atelectasis_Right,Atelectasis_Left"
)
GRADES = [
    (2, 0, 0, 0, 0, 0, 0, 0),
    (0, 0, 1, 2, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 0, 3, 4),
    (1, 0, 0, 0, 1, 0, 0, 0),
    (3, 4, 4, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 0, 0, 0),
]
AGES = [26647, 19020, 0, 36400, 45000, -3]  # days; 123 years, and an examination before birth
SPLITS = ["train", "train", "train", "val", "test", "test"]
PATIENTS = [0, 0, 1, 2, 3, 3]


def _hash(kind, number):
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()


UIDS = [_hash("image", row) for row in range(6)]


def _png(row):
    content = io.BytesIO()
    Image.fromarray(np.full((12, 10), 257 * row, np.uint16)).save(content, format="PNG")
    return content.getvalue()


def _line(row):
    who = f"{UIDS[row]},{_hash('patient', PATIENTS[row])},{_hash('reader', row % 2)},2013-05-2{row}"
    return f"{who},{AGES[row]},{'MF'[PATIENTS[row] % 2]},{','.join(map(str, GRADES[row]))}"


@pytest.fixture
def downloaded(tmp_path):
    """The folder that the script on the dataset's page makes."""
    source = tmp_path / "TAIX-Ray"
    (source / "data").mkdir(parents=True)
    (source / "metadata").mkdir()
    lines = [HEADER, *map(_line, range(6))]
    (source / "metadata" / "annotation.csv").write_text("\n".join(lines) + "\n")
    split = ["UID,Split", *(f"{uid},{split}" for uid, split in zip(UIDS, SPLITS, strict=True))]
    (source / "metadata" / "split.csv").write_text("\n".join(split) + "\n")
    for row, uid in enumerate(UIDS):
        (source / "data" / f"{uid}.png").write_bytes(_png(row))
    return source


def _hub_table(rows):
    table = pd.DataFrame([_line(row).split(",") for row in rows], columns=HEADER.split(","))
    numbers = ["Age", *HEADER.split(",")[6:]]
    table = table.astype(dict.fromkeys(numbers, int))
    table.insert(1, "Fold", 0)
    table.insert(2, "Split", [SPLITS[row] for row in rows])
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": _png(row), "path": f"{UIDS[row]}.png"} for row in rows], type=picture)
    return pa.Table.from_pandas(table, preserve_index=False).append_column("Image", images)


@pytest.fixture
def hub(tmp_path):
    """The repository on Hugging Face: parquet files with the pictures in them, in groups of two rows here."""
    source = tmp_path / "hub"
    (source / "data").mkdir(parents=True)
    for name, rows in (
        ("train-00000-of-00001", [0, 1, 2]),
        ("val-00000-of-00001", [3]),
        ("test-00000-of-00002", [4]),
        ("test-00001-of-00002", [5]),
    ):
        pq.write_table(_hub_table(rows), source / "data" / f"{name}.parquet", row_group_size=2)
    return source


def test_table_says_what_the_files_say(downloaded):
    official = read_taix_ray(downloaded, FACTS)
    table = official.table
    assert table["image_id"].tolist() == UIDS
    assert table["path"].tolist() == [f"data/{uid}.png" for uid in UIDS]
    assert table["split"].tolist() == ["train", "train", "train", "valid", "test", "test"]
    assert table["sex"].tolist() == ["M", "M", "F", "M", "F", "F"]
    assert table["code_cardiomegaly"].tolist() == ["2", "0", "0", "1", "3", "0"]
    assert table["code_pleural_effusion"].tolist() == ["0", "2", "0", "0", "4", "0"]
    assert table["code_pneumonia"].tolist() == ["0", "0", "0", "1", "0", "0"]
    assert table["code_atelectasis"].tolist() == ["0", "0", "4", "0", "0", "0"]
    assert table["code_no_finding"].tolist() == ["present", "present", "present", "questionable", "present", "none"]
    assert set(table["view"]) == {"AP"}
    assert official.unlisted == ()


def test_age_in_days_becomes_years_or_is_missing_and_counted(downloaded):
    official = read_taix_ray(downloaded, FACTS)
    ages = official.table["age_years"]
    assert ages[0] == pytest.approx(72.96, abs=0.01)
    assert ages[2] == 0
    assert ages.isna().tolist() == [False, False, False, False, True, True]
    assert official.counts["ages_set_missing"] == 2


def test_parquet_files_give_the_same_table_and_the_same_pictures(downloaded, hub):
    by_csv, by_parquet = read_taix_ray(downloaded, FACTS).table, read_taix_ray(hub, FACTS).table
    order = [by_parquet["image_id"].tolist().index(uid) for uid in UIDS]
    again = by_parquet.iloc[order].reset_index(drop=True)
    pd.testing.assert_frame_equal(by_csv.drop(columns="path"), again.drop(columns="path"))
    assert again["path"].tolist()[:4] == [
        *(f"data/train-00000-of-00001.parquet#{row}" for row in range(3)),
        "data/val-00000-of-00001.parquet#0",
    ]
    for row, (there, here) in enumerate(zip(by_csv["path"], again["path"], strict=True)):
        first, second = read_taix_ray_picture(downloaded, there), read_taix_ray_picture(hub, here)
        assert np.array_equal(first.stored, np.full((12, 10), 257 * row))
        assert np.array_equal(first.stored, second.stored)


def test_rising_rows_unpack_each_group_once(hub, monkeypatch):
    starts = []
    original = taix_ray._pictures_in
    monkeypatch.setattr(taix_ray, "_pictures_in", lambda *at: starts.append((at[0].name[:5], at[1])) or original(*at))
    for path in read_taix_ray(hub, FACTS).table["path"]:
        read_taix_ray_picture(hub, path)
    assert starts == [("test-", 0), ("test-", 0), ("train", 0), ("train", 1), ("val-0", 0)]
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a forked worker
    read_taix_ray_picture(hub, "data/val-00000-of-00001.parquet#0")
    assert starts[5:] == [("val-0", 0)]


def test_missing_parquet_file_is_counted_by_the_names_of_the_others(hub):
    (hub / "data" / "test-00000-of-00002.parquet").unlink()
    official = read_taix_ray(hub, FACTS)
    assert official.counts["parquet_files_missing"] == 1
    assert len(official.table) == 5


def test_cohort_is_built_under_every_policy_and_the_authors_own_binary_label_is_u_one(downloaded):
    official = read_taix_ray(downloaded, FACTS)
    for policy in policies_of(FACTS).values():
        checked(cohort_of(official, FACTS, policy, SplitChoice(recipe="official")).cohort, COHORT)
    cohort = cohort_of(official, FACTS, policy_named(FACTS, "u_one"), SplitChoice(recipe="official")).cohort
    grades = np.array(GRADES)
    assert cohort["cardiomegaly"].tolist() == (grades[:, 0] > 0).astype(float).tolist()
    assert cohort["pleural_effusion"].tolist() == (grades[:, 2:4].max(axis=1) > 0).astype(float).tolist()
    assert cohort["atelectasis"].tolist() == (grades[:, 6:8].max(axis=1) > 0).astype(float).tolist()
    assert cohort["no_finding"].tolist() == (grades.max(axis=1) == 0).astype(float).tolist()


def test_authors_own_split_file_has_five_folds_of_which_the_first_is_taken(downloaded):
    lines = ["UID,Fold,Split"]
    for fold in range(5):
        lines += [f"{uid},{fold},{split if fold == 0 else 'train'}" for uid, split in zip(UIDS, SPLITS, strict=True)]
    (downloaded / "metadata" / "split.csv").write_text("\n".join(lines) + "\n")
    assert read_taix_ray(downloaded, FACTS).table["split"].tolist()[-1] == "test"
    without_folds = [line.replace(f",{fold},", ",") for fold in range(5) for line in lines if f",{fold}," in line]
    (downloaded / "metadata" / "split.csv").write_text("\n".join(["UID,Split", *without_folds]) + "\n")
    with pytest.raises(UserError, match="puts 3 images in two splits; keep one fold"):
        read_taix_ray(downloaded, FACTS)


def test_rows_and_files_that_do_not_match_are_counted(downloaded):
    split = downloaded / "metadata" / "split.csv"
    split.write_text(split.read_text().replace(UIDS[0], _hash("image", 99)))
    (downloaded / "data" / f"{UIDS[1]}.png").rename(downloaded / "data" / "stray.png")
    official = read_taix_ray(downloaded, FACTS)
    assert official.counts["in_annotation_but_not_in_split"] == 1
    assert official.counts["in_split_but_not_in_annotation"] == 1
    assert official.table["split"].isna().tolist() == [True] + [False] * 5
    assert official.table["path"].isna().tolist() == [False, True] + [False] * 4
    assert official.unlisted == ("data/stray.png",)


def test_other_names_of_the_annotation_and_of_the_picture_folder_are_found(downloaded):
    (downloaded / "metadata" / "annotation.csv").rename(downloaded / "metadata" / "annoation.csv")
    (downloaded / "data").rename(downloaded / "data_png_resize_512")
    assert read_taix_ray(downloaded, FACTS).table["path"].iloc[0] == f"data_png_resize_512/{UIDS[0]}.png"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",26647,M,2,", ",26647,M,4,", r"heart_size holds '4' \(1 times\); known are '0', '1', 'blank', '2', '3'"),
        (",19020,M,0,", ",19020,M,-2,", r"heart_size holds '-2' \(1 times\)"),
        ("PatientID", "Patient", "has no column 'PatientID'"),
    ],
)
def test_annotation_not_as_documented_is_refused_with_its_reason(downloaded, old, new, message):
    path = downloaded / "metadata" / "annotation.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        read_taix_ray(downloaded, FACTS)


def test_split_by_image_is_refused(downloaded):
    split = downloaded / "metadata" / "split.csv"
    split.write_text(split.read_text().replace(f"{UIDS[1]},train", f"{UIDS[1]},test"))
    official = read_taix_ray(downloaded, FACTS)
    with pytest.raises(UserError, match="1 of 4 patients have images in more than one split"):
        cohort_of(official, FACTS, policy_named(FACTS, None), SplitChoice(recipe="official"))


def test_folder_without_either_layout_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match=r"neither metadata/annotation.csv nor parquet files in data or original"):
        read_taix_ray(tmp_path, FACTS)


def test_damaged_parquet_files_are_named(hub):
    path = hub / "data" / "train-00000-of-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    with pytest.raises(UserError, match="train-00000-of-00001.parquet is damaged"):
        read_taix_ray(hub, FACTS)
    pq.write_table(_hub_table([0, 1, 2]).drop_columns(["Age"]), path)
    with pytest.raises(UserError, match="train-00000-of-00001.parquet has no column Age"):
        read_taix_ray(hub, FACTS)


@pytest.mark.parametrize(
    "path",
    [
        "data/train-00000-of-00001.parquet#3",
        "data/train-00000-of-00001.parquet#-1",
        "data/train-00000-of-00001.parquet#",
        "data/absent-00000-of-00001.parquet#0",
        "../hub/data/train-00000-of-00001.parquet#0",
        "data/absent.png",
    ],
)
def test_path_that_names_no_picture_is_refused(hub, path):
    with pytest.raises(UnreadableImageError):
        read_taix_ray_picture(hub, path)


def test_damaged_pictures_in_parquet_files_are_refused(hub):
    path = hub / "data" / "train-00000-of-00001.parquet"
    table = _hub_table([0, 1, 2])
    pictures = [{"bytes": _png(0)[:40], "path": "a.png"}, {"bytes": None, "path": "b.png"}, None]
    images = pa.array(pictures, type=table.schema.field("Image").type)
    pq.write_table(table.drop_columns(["Image"]).append_column("Image", images), path)
    for row, reason in enumerate(("damaged|truncated|broken", "holds no picture", "holds no picture")):
        with pytest.raises(UnreadableImageError, match=reason):
            read_taix_ray_picture(hub, f"data/train-00000-of-00001.parquet#{row}")
