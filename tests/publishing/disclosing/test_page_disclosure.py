import json

import pandas as pd
import pytest

from dpcxr_core.planning.cells import cells_of
from dpcxr_core.planning.study_file import read_study
from dpcxr_core.publishing.disclosing.page_disclosure import disclosures_of_pages, ids_in_stores
from tests.conftest import PROJECT

ROWS = pd.DataFrame({"patient_id": ["p1", "p2"], "sex": ["F", "M"]})
SIZES = pd.DataFrame({"group": ["F", "M"], "images": [120, 9], "auroc": [0.8, 0.81]})
SAFE = SIZES.assign(images=["120", "fewer than 10"], runs=[3, 4])


def _scan(folder, body, ids=frozenset()):
    (folder / "page.html").write_text(f"<html><body>{body}</body></html>")
    return disclosures_of_pages(folder, ids)


def _script(values, kind="application/json"):
    return f'<script type="{kind}">{json.dumps(values)}</script>'


@pytest.mark.parametrize(
    "planted",
    [
        ROWS.to_html(),
        f'<div class="cell_output"><pre>{ROWS.to_string()}</pre></div>',
        f"<script>const rows = {ROWS.to_json(orient='records')}</script>",
        _script({"rows": ROWS.to_dict("records")}),
        _script(json.loads(ROWS.to_json(orient="split"))),
        _script({"state": {"image_id": 3}}, "application/vnd.jupyter.widget-state+json"),
    ],
)
def test_planted_rows_of_patients_are_found_in_every_form(tmp_path, planted):
    found = _scan(tmp_path, planted)
    assert found
    assert all(line.startswith("page.html: ") and ("patient_id" in line or "image_id" in line) for line in found)


@pytest.mark.parametrize(
    "name",
    [
        "00000030_001.png",
        "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg",
        "p10/p10000032/s50414267/02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg",
        "216840111366964012819207061112010307142602253_04-014-084.png",
        "000434271f63a053c4128a0ba6352c7f.dicom",
    ],
)
def test_file_names_of_images_of_public_sets_are_found(tmp_path, name):
    assert _scan(tmp_path, f"<p>{name}</p>") == ["page.html: names the file of an image. Leave the name out."]
    (tmp_path / "page.html").unlink()
    picture = tmp_path / "_images" / name.split("/")[-1]
    if "patient" not in name:  # CheXpert names its images by their folders
        picture.parent.mkdir()
        picture.write_bytes(b"\x89PNG")
        assert len(disclosures_of_pages(tmp_path)) == 1


def test_ids_of_a_store_are_found_wherever_they_stand(tmp_path):
    store = tmp_path / "stores" / "own"
    store.mkdir(parents=True)
    pd.DataFrame({"image_id": ["scan 1", "klinikum-0001"], "patient_id": ["7", "patient-31"]}).to_parquet(
        store / "cohort.parquet"
    )
    ids = ids_in_stores(tmp_path / "stores")
    assert ids == {"klinikum-0001", "patient-31"}
    html = tmp_path / "html"
    html.mkdir()
    for planted in ("<p>See klinikum-0001.</p>", '<img alt="x" src="a/patient-31/b.png">', _script(["patient-31"])):
        assert _scan(html, planted, ids) == ["page.html: names an image or a patient of a store. Leave the id out."]
    assert _scan(html, "<p>klinikum-00012, patient 31 of 7</p>", ids) == []


@pytest.mark.parametrize(
    ("planted", "where"),
    [
        (SIZES.to_html(), "table 1, column 'images'"),
        (SAFE.to_html() + SIZES.style.to_html(), "table 2, column 'images'"),
        (SIZES.set_index("group")[["images"]].T.to_html(), "table 1, column 'M', row 'images'"),
        (SIZES.rename(columns={"images": "positive images of the rarest finding"}).to_html(), "positive images"),
        (SIZES.assign(images=["120", "9 [5, 12]"]).to_html(), "table 1, column 'images'"),
        (SIZES.assign(images=[120.0, 9.0]).to_html(), "table 1, column 'images'"),
        (pd.DataFrame([[4]], columns=pd.MultiIndex.from_tuples([("view", "AP")])).to_html(), "column 'view, AP'"),
        (f'<div class="cell_output"><pre>{SIZES.to_string()}</pre></div>', "table 1, column 'images'"),
        (_script({"rows": [{"n_positive": 4}]}), "the data of a script, 'n_positive'"),
        (_script({"counts": {"sim|all": [400, 4]}}), "the data of a script, 'sim|all'"),
    ],
)
def test_planted_counts_below_ten_are_found_with_page_table_and_column(tmp_path, planted, where):
    (line,) = _scan(tmp_path, planted)
    assert line.startswith("page.html: ")
    assert where in line
    assert "a count below 10" in line


@pytest.mark.parametrize("file", sorted(PROJECT.glob("studies/*.yml")), ids=lambda file: file.stem)
def test_cells_may_be_counted_by_the_names_in_the_studies_that_come_with_the_project(tmp_path, file):
    """A grid called "patients" would make cells look like people."""
    study = read_study(file)
    names = [*study.data, *study.initialisations, *(grid for grids in cells_of(study).values() for grid in grids)]
    assert _scan(tmp_path, pd.DataFrame({"cells": 2}, index=pd.Index(names)).to_html()) == []


@pytest.mark.parametrize(
    "harmless",
    [
        SAFE.to_html(),
        SIZES.assign(images=[120, 0]).to_html(),
        SIZES.assign(images=["9%", "2.19"]).to_html(),
        pd.DataFrame({"images a patient, mean": ["2"], "most images": [8], "seeds": [3], "n_steps": [4]}).to_html(),
        pd.DataFrame({"patients": [1614]}, index=pd.Index([1], name="images of the patient")).to_html(),
        "<p>Rows are keyed by <code>patient_id</code>. In 3 patients.</p>",
        _script({"counts": {"sim|all": [400, 0, None]}, "n_seeds": 2, "images_per_second": 4, "refused": True}),
    ],
)
def test_what_may_be_published_passes(tmp_path, harmless):
    assert _scan(tmp_path, harmless) == []


def test_files_of_data_beside_the_pages_are_refused(tmp_path):
    (tmp_path / "_downloads").mkdir()
    (tmp_path / "_downloads" / "scores.csv").write_text("a,b\n")
    assert disclosures_of_pages(tmp_path) == [
        "_downloads/scores.csv: a file of data. Show tables and figures on the page instead."
    ]
