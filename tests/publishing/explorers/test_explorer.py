import csv
import io
import json
import math
import re
import shutil
import subprocess

import pytest

from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.publishing.explorers.explorer import MODULE, STYLE, Explorer, show_explorer
from dpcxr_core.publishing.explorers.explorer_payload import explorer_payload
from tests.publishing.conftest import LABELS, TO_A_THOUSANDTH, make_metrics, make_runs

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


@pytest.fixture(scope="module")
def tables():
    """Two hospitals trained on, three tested on, two units of privacy; and no private run of one initialisation."""
    runs = make_runs(trains=("hospital_a", "hospital_b"), units=("image", "patient"))
    runs = runs[~((runs["init_label"] == "random") & (runs["target_epsilon"] == 8))]
    return runs, make_metrics(runs, tests=("hospital_a", "hospital_b", "hospital_c"))


@pytest.fixture(scope="module")
def ask(tables, tmp_path_factory):
    """A function: what an expression gives in node, with the module's functions, ``data`` and values at hand."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "explorer.mjs").write_text(MODULE)
    payload = explorer_payload(tables[1], tables[0])

    def answer(expression, payload=payload, **values):
        (folder / "payload.json").write_text(json.dumps(payload))
        (folder / "ask.mjs").write_text(
            'import { readFileSync } from "node:fs";\n'
            'import * as m from "./explorer.mjs";\n'
            f"const {{ {', '.join(values)} }} = {json.dumps(values)};\n"
            f"const data = await m.unpack(JSON.parse(readFileSync({json.dumps(str(folder / 'payload.json'))})));\n"
            f"console.log(JSON.stringify({expression}));"
        )
        done = subprocess.run(["node", "--no-warnings", folder / "ask.mjs"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return answer


def _model(**changes):
    usual = {"train": "hospital_a", "test": "hospital_b", "architecture": "net", "init": LABELS[2]}
    return {**usual, "unit": "image", "level": "8", **changes}


def _state(a, b=None, finding=MACRO, metric="auroc", column="sex"):
    return {"metric": metric, "finding": finding, "column": column, "a": a, "b": b}


def _brought_together(tables, model, **slot):
    """Value, low and high of a model's seeds, found by masking."""
    runs, metrics = tables
    epsilon = math.nan if model["level"] == "none" else float(model["level"])
    same = runs["target_epsilon"].isna() if math.isnan(epsilon) else runs["target_epsilon"] == epsilon
    mine = (runs["init_label"] == model["init"]) & (runs["train_dataset"] == model["train"]) & same
    mine &= runs["privacy_unit"].isna() | (runs["privacy_unit"] == model["unit"])
    rows = metrics[metrics["run_id"].isin(runs[mine & (runs["kind"] != "public_only")]["run_id"])]
    for column, value in {"dataset": model["test"], **slot}.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 2
    return rows["value"].mean(), rows["low"].min(), rows["high"].max()


ALL = {"group_column": "all", "group_value": "all"}


def test_module_is_small_and_asks_nobody():
    assert len(MODULE.encode()) + len(STYLE.encode()) < 50_000
    forbidden = r"^\s*import\b|\bimport\s*\(|\bfetch\s*\(|https?://(?!www.w3.org/2000/svg)"
    assert not re.search(forbidden, MODULE + STYLE, re.M)
    assert "</script" not in MODULE
    assert "</style" not in STYLE


def test_bundle_has_the_widget_and_html_beside_it(tables):
    bundle = show_explorer(tables[1], tables[0])._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert 'class="dpcxr-explorer"' in bundle["text/html"]


def test_kernel_sees_and_sets_the_state():
    explorer = Explorer({"tests": []})
    assert explorer.state == {}
    explorer.chart.state = _state(_model())
    assert explorer.state["a"]["level"] == "8"


@needs_node
@pytest.mark.parametrize(
    ("model", "finding", "metric"),
    [
        (_model(), MACRO, "auroc"),
        (_model(unit="patient", level="1", init="random"), "pneumonia", "ece"),
        (_model(), "pneumonia", "brier"),
        (_model(level="1"), MACRO, "calibration_slope"),
        (_model(train="hospital_b", level="1"), "pneumonia", "calibration_in_the_large"),
        (_model(train="hospital_b", test="hospital_c", level="none"), "pneumonia", "tpr"),
    ],
)
def test_numbers_looked_up_are_those_of_the_table(ask, tables, model, finding, metric):
    shown = ask("m.lookUp(data, state, 'a')", state=_state(model, finding=finding, metric=metric, column="sex_and_age"))

    def matches(estimate, where=model, **slot):
        found = [estimate[end] for end in ("value", "low", "high")]
        assert found == pytest.approx(_brought_together(tables, where, finding=finding, **slot), abs=TO_A_THOUSANDTH)

    matches(shown["estimate"], metric=metric, **ALL)
    for point in shown["points"]:
        matches(point["estimate"], {**model, "level": point["level"]}, metric=metric, **ALL)
    for test, row in zip(("hospital_a", "hospital_b", "hospital_c"), shown["transfer"], strict=True):
        matches(row["estimate"], {**model, "test": test}, metric=metric, **ALL)
    assert [row["label"] for row in shown["groups"]][0] == "female, 0-39 years"
    for row in shown["groups"]:
        sex, age = row["label"].removesuffix(" years").split(", ")
        value = f"{sex[0].upper()}, {age}"
        matches(row["estimate"], metric=metric, group_column="sex_and_age", group_value=value)
    gaps = {"auroc": 2, "ece": 1, "tpr": 2, "calibration_in_the_large": 1}
    assert len(shown["gaps"]) == gaps.get(metric, 0)
    assert all(row["estimate"]["floor"] == 0.03 for row in shown["gaps"])


@needs_node
def test_curve_has_no_privacy_for_every_unit_and_others_are_of_the_same_kind(ask):
    shown = ask("m.lookUp(data, state, 'a')", state=_state(_model(unit="patient")))
    assert [point["level"] for point in shown["points"]] == ["1", "8", "none"]
    assert [(one["label"], len(one["points"])) for one in shown["others"]] == [(LABELS[0], 2), (LABELS[1], 3)]
    assert len(shown["references"]) == 1


@needs_node
def test_what_does_not_exist_becomes_the_first_that_does(ask):
    wanted = {"metric": "charm", "finding": "pneumonia", "a": {"init": "random", "level": "8", "train": "nowhere"}}
    state = ask("m.settle(data, wanted)", wanted=wanted)
    assert (state["metric"], state["finding"], state["column"], state["b"]) == ("auroc", "pneumonia", "sex", None)
    assert state["a"] == _model(test="hospital_a", init="random", level="1")


@needs_node
def test_one_model_is_one_sentence(ask, tables):
    value, low, high = _brought_together(tables, _model(), finding=MACRO, metric="auroc", **ALL)
    (line,) = ask("m.sentences(data, state)", state=_state(_model()))
    start = f"{LABELS[2]}, trained on hospital_a, tested on hospital_b, epsilon of at most 8 for each image"
    assert line.startswith(f"{start}: macro AUROC {value:.3f} (95% interval {low:.3f} to {high:.3f}), mean of 2 seeds")


@needs_node
def test_two_models_are_told_apart_and_their_difference_is_named(ask, tables):
    a, b = _model(), _model(level="none", unit="patient")
    lines = ask("m.sentences(data, state)", state=_state(a, b, metric="tpr"))
    values = [_brought_together(tables, one, finding=MACRO, metric="tpr", **ALL)[0] for one in (a, b)]
    difference, words = re.fullmatch(r"A minus B: (\S+) \((.*)\)\.", lines[2]).groups()
    assert float(difference.replace("−", "-")) == pytest.approx(values[0] - values[1], abs=0.0011)
    assert words == "they differ in unit of privacy, epsilon"
    assert "no privacy:" in lines[1]


@needs_node
def test_numbers_below_zero_are_told_and_written_with_their_sign(ask, tables):
    state = _state(_model(), _model(level="1"), finding="pneumonia", metric="calibration_in_the_large")
    slot = {"finding": "pneumonia", "metric": state["metric"], **ALL}
    rows = list(csv.DictReader(io.StringIO(ask("m.csvOf(m.tableOf(data, state))", state=state))))
    for model, line in zip("ab", ask("m.sentences(data, state)", state=state)[:2], strict=True):
        numbers = _brought_together(tables, state[model], **slot)
        value, low, high = (f"{number:.3f}".replace("-", "−") for number in numbers)
        assert value.startswith("−0.")
        assert f": calibration in the large of pneumonia {value} (95% interval {low} to {high})" in line
        level = f"epsilon of at most {state[model]['level']}"
        written = next(row for row in rows if (row["setting"], row["privacy"]) == (model.upper(), level))
        assert [float(written[end]) for end in ("value", "low", "high")] == pytest.approx(numbers, abs=TO_A_THOUSANDTH)


@needs_node
def test_undefined_is_told_with_its_reason(ask, tables):
    runs, metrics = tables
    metrics = metrics.copy()
    rows = (metrics["metric"] == "ppv") & (metrics["dataset"] == "hospital_b")
    metrics.loc[rows, ["value", "low", "high"]] = math.nan
    metrics.loc[rows, "reason"] = "nothing predicted positive"
    state = _state(_model(), _model(test="hospital_a"), metric="ppv")
    lines = ask("m.sentences(data, state)", payload=explorer_payload(metrics, runs), state=state)
    assert "macro PPV not shown (nothing predicted positive)." in lines[0]
    assert lines[2] == "A minus B: not shown, as one of them is not."


@needs_node
def test_table_and_file_hold_every_number_drawn(ask):
    state = _state(_model(), _model(init="random", level="1"), finding="pneumonia")
    table = ask("m.tableOf(data, state)", state=state)
    rows = list(csv.DictReader(io.StringIO(ask("m.csvOf(m.tableOf(data, state))", state=state))))
    assert [len(row) for row in table["rows"]] == [len(table["head"])] * len(rows)
    assert sum(row["setting"] == "A" for row in rows) == 3 + 2 + 2 + 3
    assert sum(row["setting"] == "B" for row in rows) == 2 + 2 + 2 + 3
    female = next(row for row in rows if row["what"] == "AUROC of pneumonia, female")
    assert (female["images"], female["positives"]) == ("1000", "200")
    assert all(0 <= float(row["value"]) <= 1 for row in rows)


@needs_node
def test_file_quotes_what_a_label_may_hold(ask):
    text = ask("m.csvOf(table)", table={"head": ["a", "b"], "rows": [['x "y", z', 0.5]]})
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ['x "y", z', "0.5"]]


@needs_node
@pytest.mark.parametrize("b", [None, _model(level="none", init="non-domain supervised (stand-in)")])
def test_link_brings_the_state_back(ask, b):
    state = _state(_model(init="domain supervised (stand-in)"), b, finding="pneumonia", metric="f1", column="view")
    fragment = ask("m.fragmentOf(state)", state=state)
    assert re.fullmatch(r"#explore\?[\w.=&%+()-]+", fragment)
    assert ask("m.settle(data, m.stateOf(fragment))", fragment=fragment) == state


@needs_node
@pytest.mark.parametrize("fragment", ["", "#explorer", "#explore"])
def test_other_addresses_ask_for_nothing(ask, fragment):
    assert ask("m.stateOf(fragment)", fragment=fragment) is None


@needs_node
@pytest.mark.parametrize("fragment", ["#explore?", "#explore?a=1&b=2&metric", "#explore?a.__proto__=1&__proto__=2"])
def test_broken_link_shows_the_start(ask, fragment):
    found = ask("m.settle(data, m.stateOf(fragment))", fragment=fragment)
    assert found["a"] == ask("m.settle(data, {}).a", x=0)


@needs_node
@pytest.mark.parametrize("domain", [[0.57, 0.91], [-0.05, 0.01], [0.5, 1.0], [-0.013, 0.2]])
def test_ticks_are_round_and_inside_the_axis(ask, domain):
    found = ask("m.ticks(domain)", domain=domain)
    assert 2 <= len(found) <= 8
    assert all(domain[0] - 1e-9 <= tick <= domain[1] + 1e-9 for tick in found)
    assert all(len(f"{tick:g}") <= 6 for tick in found)


@needs_node
def test_axis_holds_everything_and_is_never_a_point(ask):
    estimates = [{"value": 0.7, "low": 0.6, "high": 0.8, "floor": 0.1}, {"value": None, "low": None, "high": None}]
    low, high = ask("m.domainOf(estimates, [0.95])", estimates=estimates)
    assert low < 0.1 < 0.95 < high
    assert ask("m.domainOf([])", x=0) == [0, 1]
    low, high = ask("m.domainOf([], [0])", x=0)
    assert low < 0 < high


@needs_node
def test_scale_maps_ends_to_ends(ask):
    assert ask("[0.5, 0.75, 1].map(m.scale([0.5, 1], [10, 110]))", x=0) == [10, 60, 110]
