import nbformat
import pandas as pd
import pytest

from dpcxr_core.publishing.disclosing.disclosure import disclosures
from dpcxr_core.publishing.pages.executed import RECORD

COHORT = pd.DataFrame({"dataset": ["a", "a"], "patient_id": ["p1", "p2"], "sex": ["F", "M"]})
HARMLESS = pd.DataFrame({"group": ["F", "M"], "n_patients": [120, 130], "auroc": [0.8, 0.81]})


def _notebook(folder, *outputs):
    cell = nbformat.v4.new_code_cell("x", outputs=list(outputs))
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={RECORD: {}}), folder / "01_toy.ipynb")
    return disclosures(folder)


def _data(**data):
    return nbformat.v4.new_output("display_data", data={name.replace("_", "/"): x for name, x in data.items()})


def _printed(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


@pytest.mark.parametrize(
    "output",
    [
        _data(text_html=COHORT.to_html()),
        _data(text_html=COHORT.set_index("patient_id").to_html()),
        _data(text_plain=repr(COHORT)),
        _data(text_plain=repr(COHORT["patient_id"])),
        _data(application_json=COHORT.to_dict("records")),
        _data(text_html=f"<script>{COHORT.to_json(orient='records')}</script>"),
        _printed(COHORT.to_string()),
        _data(text_plain=repr(COHORT.join(pd.DataFrame(0, index=[0, 1], columns=[f"c{i}" for i in range(40)])))),
        _printed(COHORT.rename(columns={"patient_id": "image_id"}).to_string()),
    ],
)
def test_patient_level_rows_are_refused_in_every_form(tmp_path, output):
    found = _notebook(tmp_path, output)
    assert len(found) == 1
    assert found[0].startswith("01_toy.ipynb, cell 1")


@pytest.mark.parametrize(
    "output",
    [
        _data(text_html=HARMLESS.to_html(), text_plain=repr(HARMLESS)),
        _data(text_html="<p>Rows are keyed by <code>patient_id</code> and image_id.</p>"),
        _printed("columns: dataset image_id patient_id split\nrows: 2000\n"),
    ],
)
def test_aggregates_and_prose_pass(tmp_path, output):
    assert _notebook(tmp_path, output) == []


def test_oversized_output_is_refused_with_its_size(tmp_path):
    picture = _data(image_png="A" * 3_000_001)
    assert _notebook(tmp_path, picture) == [
        "01_toy.ipynb, cell 1: image/png of 3,000,001 bytes; at most 3,000,000. Show fewer or smaller images."
    ]
    assert _notebook(tmp_path, _data(image_png="A" * 3_000_000)) == []
