import json

import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.other_engines.comparison import GRADIENTS
from dpcxr_core.publishing.chapters import gradient_tables

SHIPPED, CURED, OURS = GRADIENTS
WHERE = {"network": "timm/a", "memory_format": "contiguous"}


def _layer(parameter, method, gradient_error, norm_error):
    wrong = max(norm_error, gradient_error or 0) > 1e-3
    values = {"parameter": parameter, "gradient_error": gradient_error, "norm_error": norm_error, "wrong": wrong}
    return WHERE | values | {"method": method}


LAYERS = pd.DataFrame(
    [
        _layer("stem", "hooks", 1e-7, 1e-7),
        _layer("down", "hooks", 1.25, 0.3),
        _layer("stem", "ghost", None, 1e-7),
        _layer("down", "ghost", None, 0.3),
    ]
)
CASES = pd.DataFrame(
    [
        WHERE | {"method": "hooks", "sum_error": 0.7, "contribution": 1.0, "n_parameters": 2, "n_wrong": 1},
        WHERE | {"method": "ghost", "failure": "AttributeError: no norm"},
        WHERE | {"method": "ours", "sum_error": 2e-6, "contribution": 1.0},
    ]
)


def _aurocs(costs):
    rows = [
        {"gradients": name, "init_label": label, "seed": seed, "step": step, "auroc": value + 0.1 * (step == 9)}
        for (label, seed), cost in costs.items()
        for name, value in ((SHIPPED, 0.7 - cost), (CURED, 0.7 + 2e-6), (OURS, 0.7))
        for step in (4, 9)
    ]
    return pd.DataFrame(rows, columns=["gradients", "init_label", "seed", "step", "auroc"])


def test_cases_say_how_many_layers_are_wrong_or_what_happened():
    table = gradient_tables.show_cases(CASES)
    assert table.loc[("timm/a", "contiguous")].to_dict() == {
        "hooks": "1 of 2; 7e-01",
        "ghost": "fails",
        "ours": "2e-06",
    }
    refused = CASES.assign(failure=["refused: no rule", None, None])
    assert gradient_tables.show_cases(refused).iloc[0]["hooks"] == "refused"


def test_wrong_layers_are_shown_for_every_method_and_right_ones_are_not():
    table = gradient_tables.show_wrong_layers(LAYERS, "timm/a")
    assert table.to_dict("index") == {"down": {"hooks": "1.2", "ghost": "0.3"}}


def test_contributions_keep_the_numbers_that_matter():
    unseen = pd.DataFrame({"brightness": [1000.0], "true_norm": [3942.467], "ghost": [3942.467], "ours": [0.99999801]})
    assert gradient_tables.show_unseen(unseen).loc["1000"].to_dict() == {
        "before clipping": "3942",
        "ghost": "3942",
        "ours": "1",
    }
    climbed = {"random": {"ghost": 1.2211}, "climbed": {"ghost": 2.53004}, "network": "n"}
    assert gradient_tables.show_climbed(climbed).loc["ghost"].to_list() == ["1.2211", "2.5300"]


def test_versions_that_are_wrong_in_other_layers_are_told_apart():
    wrong = LAYERS[LAYERS["wrong"]]
    assert "same 2 layers" in gradient_tables.same_layers_wrong(wrong, wrong)
    assert gradient_tables.same_layers_wrong(wrong, wrong.head(1)).startswith("1 layers are wrong in the first only, 0")


def test_training_is_told_in_words_and_only_where_seeds_agree():
    agree = _aurocs({("random", 0): 0.02, ("random", 1): 0.03})
    words = gradient_tables.trainings_in_words(agree)
    assert "lower with the wrong gradients in all of 2 seeds, by 0.020 to 0.030" in words
    assert "differ by at most 2e-06" in words
    table = gradient_tables.show_final_aurocs(agree)
    assert table["cost of wrong gradients"].to_list() == ["+0.020", "+0.030"]
    assert table[OURS].to_list() == ["0.8000", "0.8000"]
    disagree = gradient_tables.trainings_in_words(_aurocs({("random", 0): 0.02, ("random", 1): -0.01}))
    assert "disagree: right minus wrong lies between -0.010 and +0.020" in disagree
    alike = gradient_tables.trainings_in_words(_aurocs({("random", 0): -0.0101, ("random", 1): -0.0102}))
    assert "higher with the wrong gradients in all of 2 seeds, by 0.010." in alike
    alone = gradient_tables.trainings_in_words(_aurocs({("random", 0): 0.02}))
    assert "with the right gradients minus with the wrong ones is +0.020, of one seed." in alone
    assert "`seeds` is empty" in gradient_tables.trainings_in_words(_aurocs({}))


def test_survey_is_read_back_and_a_missing_one_says_how_to_make_it(tmp_path):
    values = {
        "opacus": "9.9",
        "versions": {"torch": "2"},
        "cases": CASES.dropna(axis=1).to_dict("records"),
        "wrong_layers": LAYERS.dropna(axis=1).to_dict("records"),
        "unseen_image": [{"brightness": 1.0}],
        "climbed_image": {"network": "n"},
    }
    (tmp_path / "gradient_bug_opacus-9.9.json").write_text(json.dumps(values))
    found = gradient_tables.read_survey(tmp_path, "9.9")
    assert found.opacus == "9.9"
    assert list(found.cases["method"]) == ["hooks", "ghost", "ours"]
    assert found.climbed_image == {"network": "n"}
    with pytest.raises(UserError, match="benchmarks.gradient_bug --opacus 9.8"):
        gradient_tables.read_survey(tmp_path, "9.8")


def test_stored_results_of_the_project_can_be_read_and_name_their_version():
    for version in ("1.6.0", "1.5.4"):
        found = gradient_tables.read_survey("benchmarks/results", version)
        assert found.opacus == version == found.versions["opacus"]
        assert not gradient_tables.show_cases(found.cases).empty


def test_patch_changes_unfold2d_and_brings_a_test():
    patch = gradient_tables.upstream_patch()
    assert "+++ b/opacus/utils/tensor_utils.py" in patch
    assert "+    def test_memory_format(" in patch
