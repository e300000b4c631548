import math

import numpy as np
import pytest

from dpcxr_core.evaluation.comparing.paired import CONTRAST_COLUMNS
from dpcxr_core.study.scaling import gains_with_capacity, gains_with_data, slopes_by_seed
from tests.study.conftest import OFF, SLOPE_OFF, TWICE_OFF, cells_frame

# macro AUROC with all patients, and what each halving of them costs
WORTH = {"imagenet": (0.70, 0.02), "dino": (0.80, 0.06)}


def _scale(fractions=(0.25, 0.5, 1.0), **axes):
    return cells_frame(
        *[
            {
                "initialisation": name,
                "fraction": fraction,
                "auroc": auroc + lost * math.log2(fraction),
                "grids": "main, scale" if fraction == 1 else "scale",
                "target_epsilon": 8.0,
            }
            for name, (auroc, lost) in WORTH.items()
            for fraction in fractions
        ],
        seed=(0, 1, 2),
        **axes,
    )


def test_gain_is_the_slope_over_doublings_of_the_patients(study_of):
    table = gains_with_data(study_of(_scale())).set_index("initialisation")
    assert table["value"].to_dict() == pytest.approx({"imagenet": 0.02, "dino": 0.06}, abs=SLOPE_OFF)
    assert (table["over"] == "0.25, 0.5, 1").all()
    assert (table["n_seeds"] == 3).all()
    assert {*CONTRAST_COLUMNS, "family", "p_adjusted"} <= set(table.columns)
    assert (table["verdict"] == "better").all()


def test_slope_is_that_of_numpys_straight_line(study_of):
    scored = study_of(_scale())
    slopes = slopes_by_seed(scored.cells)
    first = slopes.iloc[0]
    runs = scored.cells[(scored.cells["initialisation"] == first["initialisation"]) & (scored.cells["seed"] == 0)]
    aurocs = [scored.sum_of_aurocs({run_id: 1.0}, "north") for run_id in runs["run_id"]]
    expected = np.polyfit(np.log2(runs["fraction"]), np.array(aurocs), 1)[0]
    np.testing.assert_allclose(scored.sum_of_aurocs(first["coefficients"], "north"), expected, atol=1e-9)


def test_gain_beside_a_reference_is_the_difference_of_slopes(study_of):
    scored = study_of(_scale(dataset=("north", "south")))
    table = gains_with_data(scored, "imagenet")
    assert table[["initialisation", "dataset"]].to_numpy().tolist() == [["dino", "north"], ["dino", "south"]]
    assert table["value"].to_list() == pytest.approx([0.04] * 2, abs=SLOPE_OFF)
    assert table["family"].unique().tolist() == ["what data are worth, against imagenet"]
    alone = gains_with_data(scored).set_index(["initialisation", "dataset"])["value"]
    assert table["value"].iloc[0] == pytest.approx(alone["dino", "north"] - alone["imagenet", "north"])


def test_seeds_and_initialisations_without_all_fractions_are_left_out(study_of):
    truth = _scale()
    truth["has_run"] = ~((truth["initialisation"] == "dino") & (truth["fraction"] == 0.5) & (truth["seed"] == 1))
    table = gains_with_data(study_of(truth)).set_index("initialisation")
    assert table["n_seeds"].to_dict() == {"imagenet": 3, "dino": 2}
    truth["has_run"] = ~((truth["initialisation"] == "dino") & (truth["fraction"] == 0.5))
    scored = study_of(truth)
    assert gains_with_data(scored).set_index("initialisation")["over"].to_dict() == {
        "imagenet": "0.25, 0.5, 1",
        "dino": "0.25, 1",
    }
    assert gains_with_data(scored, "imagenet").empty  # slopes over other fractions are no counterparts
    assert gains_with_data(study_of(_scale(fractions=(1.0,)))).empty


def test_only_the_ablations_of_data_and_of_capacity_are_read(study_of):
    truth = _scale()
    truth["grids"] = truth["grids"].replace("scale", "other recipe")
    assert gains_with_data(study_of(truth)).empty


def _capacity():
    networks = {"main": ("small", 0), "capacity": ("tiny", -1)}
    return cells_frame(
        *[
            {"initialisation": name, "architecture": network, "auroc": auroc + step * lost, "grids": grid}
            for name, (auroc, lost) in WORTH.items()
            for grid, (network, step) in networks.items()
        ],
        seed=(0, 1, 2),
        target_epsilon=(8.0, math.inf),
    )


def test_capacity_is_the_other_network_minus_the_first(study_of):
    scored = study_of(_capacity())
    table = gains_with_capacity(scored)
    assert (table["over"] == "tiny minus small").all()
    assert len(table) == 4  # two initialisations, with privacy and without
    values = table.groupby("initialisation")["value"].mean().to_dict()
    assert (table["verdict"] == "worse").all()
    assert values == pytest.approx({"imagenet": -0.02, "dino": -0.06}, abs=OFF)
    changed = gains_with_capacity(scored, "imagenet")
    assert changed["initialisation"].unique().tolist() == ["dino"]
    assert changed["value"].to_list() == pytest.approx([-0.04] * 2, abs=TWICE_OFF)


def test_studies_without_cells_have_empty_tables(study_of):
    scored = study_of(_capacity())
    empty = type(scored)(scored.cells[:0], {}, {}, {})
    assert gains_with_data(empty).empty
    assert gains_with_capacity(empty, "imagenet").empty


def test_patients_that_all_runs_share_cancel_in_a_difference_of_slopes(study_of):
    """Intervals are far narrower than those of independent test sets would be."""
    table = gains_with_data(study_of(_scale(), patients=0.1), "imagenet")
    assert (table["high"] - table["low"] < 0.02).all()
