import math

import pandas as pd
import pytest

from dpcxr_core.publishing.chapters import representation_tables as told

NAN = math.nan


def _row(label, kind, epsilon, measure, value, half=0.1):
    model = {"init_label": label, "kind": kind, "target_epsilon": epsilon}
    interval = {"low": value - half, "high": value + half}
    return {**model, "measure": measure, "n": 100, "value": value, **interval, "reason": ""}


@pytest.fixture
def table():
    """Two initialisations before training, at two epsilons and without privacy; gaps fall as AUROC rises."""
    rows = []
    for label, shift in (("random", 0.0), ("domain", 0.2)):
        rows += [
            _row(label, "before_training", NAN, "effective_dimension", 10 + shift),
            _row(label, "before_training", NAN, "probe_auroc", 0.7),
            _row(label, "before_training", NAN, "standardised_probe_auroc", 0.72),
        ]
        for kind, epsilon, gap in (("private", 8.0, 0.11), ("private", 1.0, 0.3), ("non_private", NAN, 0.05)):
            rows += [
                _row(label, kind, epsilon, "displacement", 1 + shift + gap),
                _row(label, kind, epsilon, "effective_dimension", 5 + 10 * gap),
                _row(label, kind, epsilon, "effective_dimension_change", 10 * gap - 2),
                _row(label, kind, epsilon, "probe_auroc", 0.8),
                _row(label, kind, epsilon, "standardised_probe_auroc", 0.85),
                _row(label, kind, epsilon, "end_to_end_auroc", 0.8 - gap),
                _row(label, kind, epsilon, "utilisation_gap", gap),
            ]
    return pd.DataFrame(rows)


def test_levels_run_from_before_training_to_no_privacy(table):
    assert told.levels_of(table) == ["before training", "epsilon 1", "epsilon 8", "no privacy"]
    ordered = told.with_levels(table[table["measure"] == "probe_auroc"])
    assert ordered["init_label"].to_list() == 4 * ["random"] + 4 * ["domain"]
    assert ordered["level"].to_list() == 2 * told.levels_of(table)


def test_measures_have_a_row_a_model_and_intervals(table):
    shown = told.show_measures(table, ["end_to_end_auroc", "utilisation_gap"])
    assert list(shown.columns) == ["own head", "utilisation gap"]
    assert [level for _, level in shown.index] == 2 * ["epsilon 1", "epsilon 8", "no privacy"]
    assert [label for label, _ in shown.index] == 3 * ["random"] + 3 * ["domain"]
    assert shown.loc[("domain", "epsilon 1")].to_list() == ["0.500 [0.400, 0.600]", "+0.300 [+0.200, +0.400]"]
    with_probes = told.show_measures(table, ["probe_auroc", "utilisation_gap"])
    assert with_probes.loc[("random", "before training")].to_list() == ["0.700 [0.600, 0.800]", "-"]


def test_undefined_measure_is_said_and_not_left_out(table):
    table.loc[table["measure"] == "utilisation_gap", ["value", "low", "high"]] = NAN
    assert set(told.show_measures(table, ["utilisation_gap"])["utilisation gap"]) == {"undefined"}
    assert told.gap_in_words(table) == "No utilisation gap of a private model can be measured on these images."


def test_change_that_was_not_measured_is_not_counted_as_holding_zero(table):
    changed = table["measure"] == "effective_dimension_change"
    unmeasured = table.where(~(changed & (table["init_label"] == "random")), table.assign(value=NAN, low=NAN, high=NAN))
    assert told.dimension_in_words(unmeasured).startswith("Of 2 private models, 1 use fewer")
    assert told.dimension_in_words(table[~changed]).startswith("No change of effective dimension")


def test_associations_are_of_trained_models_with_their_number(table):
    found = told.associations(table)
    assert set(found.loc[found["group"] == "all", "n"]) == {6}
    gap = found[found["measure"] == "utilisation_gap"].set_index("group")
    # the same probe AUROC everywhere: the built-in minus one
    assert gap["rho"]["all"] == pytest.approx(-1)
    shown = told.show_associations(found)
    assert shown.loc[("all", 6), "utilisation gap"] == "-1.00"
    assert shown.loc[("all", 6), "linear probe"] == "one value in all models"
    assert set(shown.loc["random"].to_numpy().ravel()) == {"fewer than 4 models"}


def test_sentences_quote_the_table(table):
    moved = told.displacement_in_words(table)
    assert "*random* at epsilon 8 (1.110 [1.010, 1.210]) least" in moved
    assert "*domain* at epsilon 1 (1.500 [1.400, 1.600]) most" in moved
    assert moved.endswith("least displacement is 1.050.")
    assert "Of 4 private models, 2 use fewer" in told.dimension_in_words(table)
    assert "and 2 use more; for 0 " in told.dimension_in_words(table)
    gaps = told.gap_in_words(table)
    assert "Of 4 utilisation gaps of private models, 4 have an interval above zero and 0 one below it" in gaps
    assert "*random* at epsilon 1 (+0.300 [+0.200, +0.400])" in gaps
    assert gaps.endswith("from +0.050 to +0.050.")
    assert "+0.020 to +0.050" in told.probe_in_words(table)


def test_sentences_do_without_models_that_are_not_there(table):
    private = table[table["kind"] == "private"]
    assert told.displacement_in_words(private).endswith("most.")
    assert told.gap_in_words(private).endswith("+0.400]).")
    free = table[table["kind"] == "non_private"]
    assert told.displacement_in_words(free) == "No private model is among the runs."
