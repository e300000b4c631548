import math
from dataclasses import replace

import numpy as np
import pytest

from dpcxr_core.config import FINDINGS, EvaluationChoice, UserError
from dpcxr_core.evaluation.draws import Draws, draws_of_columns, read_draws, write_draws
from dpcxr_core.evaluation.evaluate import grouped_metrics
from dpcxr_core.evaluation.scored_images import scored_images, shared_resamples

CHOICE = EvaluationChoice(n_resamples=7, group_columns=("sex", "age_band"))


@pytest.fixture
def columns(make_tables):
    images = scored_images(*make_tables(n_patients=60), CHOICE)[0]
    return grouped_metrics(images, shared_resamples(images, CHOICE), CHOICE, dict.fromkeys(FINDINGS, 0.5))


def test_draws_hold_every_group_of_every_column(columns):
    draws = draws_of_columns("run-a", "north", columns)
    assert draws.groups[:3] == (("all", "all"), ("sex", "F"), ("sex", "M"))
    assert len(draws.groups) == 6
    assert draws.findings == (*FINDINGS, "macro")
    assert set(draws.values) == {"auroc", "tpr", "fpr", "selection_rate"}
    assert {(each.shape, each.dtype.name) for each in draws.values.values()} == {((8, 6, 6), "float32")}
    expected = columns[2]["tpr"].draws[:, 1, FINDINGS.index("pneumonia")]
    np.testing.assert_array_equal(draws.of("tpr", "pneumonia", "age_band", "40-69"), expected.astype(np.float32))


def test_draws_know_how_few_patients_a_comparison_of_groups_rests_on(columns):
    draws = draws_of_columns("run-a", "north", columns)
    of_bands, bands = columns[2]["auroc"], [group for group in draws.groups if group[0] == "age_band"]
    fewest = of_bands.n_patients[of_bands.defined[:, 0], 0].min()
    assert draws.degrees(FINDINGS[0], bands) == fewest - 1
    assert draws.degrees(FINDINGS[0], [("all", "all")]) > fewest
    macro = of_bands.n_patients[of_bands.defined[:, -1]]
    assert draws.degrees("macro", bands) == macro[:, :-1][:, of_bands.shared].min() - 1
    nobody = replace(draws, n_patients=np.zeros_like(draws.n_patients))
    assert nobody.degrees("macro", bands) == math.inf


def test_draws_come_back_as_they_were_written(columns, tmp_path):
    draws = draws_of_columns("run-ä", "north", columns)
    draws.values["auroc"][3, 2, 1] = np.nan
    write_draws(tmp_path / "draws.npz", draws)
    back = read_draws(tmp_path / "draws.npz")
    assert (back.run_id, back.dataset, back.findings, back.groups) == ("run-ä", "north", draws.findings, draws.groups)
    assert set(back.values) == set(draws.values)
    np.testing.assert_array_equal(back.n_patients, draws.n_patients)
    for metric, values in draws.values.items():
        np.testing.assert_array_equal(back.values[metric], values)
        assert back.values[metric].dtype == np.float32


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (("brier", "macro", "all", "all"), "brier"),
        (("auroc", "fracture", "all", "all"), "fracture"),
        (("auroc", "macro", "sex", "70"), "70"),
    ],
)
def test_what_is_not_there_is_refused_by_name(asked, named):
    draws = Draws(
        "run-a",
        "north",
        ("macro",),
        (("all", "all"),),
        {"auroc": np.zeros((2, 1, 1), dtype=np.float32)},
        np.array([[30]]),
    )
    with pytest.raises(UserError, match=named):
        draws.of(*asked)
