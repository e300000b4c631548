"""Questions to the scores of runs, answered by the kernel while a reader moves the controls: for JupyterLab."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import pandas as pd
import traitlets

from dpcxr_core.config import AGE_BAND_EDGES, FINDINGS, THRESHOLD_RULES, UserError
from dpcxr_core.data.policies import CODE, policies_of
from dpcxr_core.data.store import open_store
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.publishing.explorers.explorer_axes import METRICS_SHOWN
from dpcxr_core.publishing.explorers.live_answers import (
    BY_HAND,
    Material,
    Question,
    age_edges,
    answer,
    columns_to_group_by,
)
from dpcxr_core.publishing.explorers.live_html import bundle_with_html, joined
from dpcxr_core.publishing.results import level_names, metric_name
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.study.scores import scores_of_tests, scores_on
from dpcxr_core.training.record import read_record

_RULES = {"youden": "largest TPR - FPR", "fixed_tpr": "fixed TPR", "max_f1": "largest F1"}
_AS_STORED = "as in the store"
_ON_A_PAGE = "<p>In JupyterLab, controls stand here that ask the scores anew: see the picture and the words above.</p>"


class LiveChart(anywidget.AnyWidget):
    """The last answer, drawn; scores never leave the kernel.

    Attributes:
        answer: What ``live_answers.answer`` returns, or ``refusal``: why there is no answer.
    """

    _esm = joined("drawing.js", "explorer_data.js", "explorer_chart.js", "live_chart.js")
    _css = joined("explorer.css")
    answer = traitlets.Dict().tag(sync=True)


class LiveExplorer:
    """Controls above a chart; each change is answered from the scores at once.

    Attributes:
        chart: The chart of the last answer.
        controls: By the name of what they set in ``Question``; "policy" only where a set keeps its codes.
        box: Controls and chart.
    """

    def __init__(self, material: Material) -> None:
        self._material = material
        self.controls = _controls(material)
        self.chart = LiveChart()
        for control in self.controls.values():
            control.observe(self._answer, names="value")
        self._answer()
        grid = ipywidgets.Layout(grid_template_columns="repeat(auto-fit, minmax(min(19rem, 100%), 1fr))", width="100%")
        self.box = ipywidgets.VBox([ipywidgets.GridBox([*self.controls.values()], layout=grid), self.chart])

    @property
    def question(self) -> Question:
        """What the controls ask now.

        Raises:
            UserError: The age bands are not whole years.
        """
        values: dict[str, Any] = {name: control.value for name, control in self.controls.items()}
        edges = age_edges(values.pop("age_bands"))
        return Question(age_band_edges=edges, **{"policy": "", **values})

    def _answer(self, _: Any = None) -> None:
        rule = self.controls["threshold_rule"].value
        self.controls["decision_threshold"].disabled = rule != BY_HAND
        self.controls["fixed_tpr"].disabled = rule != "fixed_tpr"
        started = time.perf_counter()
        try:
            answered = answer(self._material, self.question)
        except UserError as error:
            self.chart.answer = {"refusal": f"No answer: {error}"}
            return
        seconds = time.perf_counter() - started
        self.chart.answer = {**answered, "words": f"{answered['words']} Answered in {seconds:.1f} s."}

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget's bundle and, beside it, a sentence for pages without a kernel."""
        return bundle_with_html(self.box, _ON_A_PAGE, **options)


def show_live_explorer(
    folders: Sequence[Path], places: StudyPlaces, facts: Mapping[str, Mapping[str, Any] | None]
) -> LiveExplorer:
    """Controls that ask the scores of runs anew.

    Args:
        folders: Records of the runs to choose from.
        places: Of the study.
        facts: By data set, what its manifest states, or None.
    """
    stores = [open_store(places.store(name)) for name in sorted({*places.test_datasets, places.private_dataset})]
    policies = {
        store.description["dataset"]: policies_of(stated)
        for store in stores
        if (stated := facts.get(store.description["dataset"])) and _has_codes(store.cohort)
    }
    cohort = pd.concat([store.cohort for store in stores], ignore_index=True)
    runs = runs_table(folders)
    parts = zip(runs["init_label"], level_names(runs), runs["seed"], runs["train_dataset"], strict=True)
    names = [f"{label}, {level}, seed {seed}, {trained_on}" for label, level, seed, trained_on in parts]
    by_name = dict(zip(names, folders, strict=True))

    @lru_cache(maxsize=1)
    def scores_of(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        folder = by_name[name]
        trained_on = read_record(folder).config.dataset
        return scores_of_tests(folder, places), scores_on(folder, trained_on, places, "valid")

    return LiveExplorer(Material(names, places.test_datasets, scores_of, cohort, policies))


def _has_codes(cohort: pd.DataFrame) -> bool:
    return any(column.startswith(CODE) for column in map(str, cohort))


def _controls(material: Material) -> dict[str, ipywidgets.Widget]:
    style, wide = {"description_width": "8.5rem"}, ipywidgets.Layout(width="auto")
    findings = {finding.replace("_", " "): finding for finding in (MACRO, *FINDINGS)}
    rules = {_RULES[rule]: rule for rule in THRESHOLD_RULES} | {"by hand": BY_HAND}

    def menu(text: str, options: Any) -> ipywidgets.Dropdown:
        options = list(options.items()) if isinstance(options, dict) else list(options)
        return ipywidgets.Dropdown(options=options, description=text, style=style, layout=wide)

    def slider(text: str, value: float) -> ipywidgets.FloatSlider:
        ends = {"min": 0.01, "max": 0.99, "step": 0.01, "continuous_update": False}
        return ipywidgets.FloatSlider(value=value, description=text, style=style, layout=wide, **ends)

    controls = {
        "run": menu("Run", material.runs),
        "dataset": menu("Tested on", material.datasets),
        "finding": menu("Finding", findings),
        "metric": menu("Metric", {metric_name(key): key for key in METRICS_SHOWN}),
        "column": menu("Groups by", {name.replace("_", " "): name for name in columns_to_group_by(material.cohort)}),
        "age_bands": ipywidgets.Text(
            value=", ".join(map(str, AGE_BAND_EDGES)),
            description="Age bands from",
            continuous_update=False,
            style=style,
            layout=wide,
        ),
        "threshold_rule": menu("Threshold by", rules),
        "fixed_tpr": slider("TPR to reach", 0.9),
        "decision_threshold": slider("Threshold", 0.5),
    }
    names = list(dict.fromkeys(name for policies in material.policies.values() for name in policies))
    if names:
        controls["policy"] = menu("Label policy", {_AS_STORED: "", **{name: name for name in names}})
    return controls
