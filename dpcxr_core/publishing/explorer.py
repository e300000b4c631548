"""The explorer: live in JupyterLab, and alive in the rendered page without kernel or network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import pandas as pd
import traitlets

from dpcxr_core.publishing.explorer_payload import explorer_payload
from dpcxr_core.publishing.live_html import bundle_with_html, live_html

MODULE = Path(__file__).with_suffix(".js")


class ExplorerChart(anywidget.AnyWidget):
    """The charts alone, drawn by the kernel's notebook; its four indices say what is chosen.

    Attributes:
        payload: What ``explorer_payload`` returns.
        evaluation_index: Position in ``payload["evaluations"]``.
        init_index: Position in ``payload["initialisations"]``.
        gap_index: Position in ``payload["gaps"]``.
        epsilon_index: Position in ``payload["levels"]``.
    """

    _esm = MODULE
    payload = traitlets.Dict().tag(sync=True)
    evaluation_index = traitlets.Int(0).tag(sync=True)
    init_index = traitlets.Int(0).tag(sync=True)
    gap_index = traitlets.Int(0).tag(sync=True)
    epsilon_index = traitlets.Int(0).tag(sync=True)


class Explorer:
    """Shown as widgets where a kernel runs, and as HTML that needs none everywhere else.

    Attributes:
        chart: The chart, whose four indices say what is chosen now.
        box: The chart below its controls.
    """

    def __init__(self, payload: dict[str, Any]) -> None:
        self.chart = ExplorerChart(payload=payload, **payload["start"])
        self.box = ipywidgets.VBox([*_controls(payload, self.chart), self.chart])
        self._html = static_explorer_html(payload)

    @property
    def epsilon_index(self) -> int:
        """Position of the epsilon chosen now, in the payload's ``levels``."""
        return self.chart.epsilon_index

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget's bundle and, beside it, HTML for pages without a kernel."""
        return bundle_with_html(self.box, self._html, **options)


def show_explorer(metrics: pd.DataFrame, runs: pd.DataFrame) -> Explorer:
    """An explorer of AUROC, groups and gaps by data set, initialisation and epsilon.

    Args:
        metrics: METRICS table of all runs.
        runs: Runs table, see ``dpcxr_core.publishing.results.metrics_with_runs``.

    Raises:
        UserError: As ``explorer_payload``.
    """
    return Explorer(explorer_payload(metrics, runs))


def static_explorer_html(payload: dict[str, Any]) -> str:
    """An HTML fragment that shows ``payload`` with native controls; see ``live_html``."""
    without_script = "The explorer needs JavaScript; the tables of this chapter do not."
    return live_html("dpcxr-explorer", MODULE, payload, without_script)


def _controls(payload: dict[str, Any], chart: ExplorerChart) -> list[ipywidgets.Widget]:
    def labels(key: str) -> list[tuple[str, int]]:
        return [(one["label"], index) for index, one in enumerate(payload[key])]

    style = {"description_width": "8rem"}
    wide = {"width": "32rem", "max_width": "100%"}
    levels = [(one["words"], index) for index, one in enumerate(payload["levels"])]
    controls = [
        (ipywidgets.Dropdown(options=labels("evaluations"), description="Tested on"), "evaluation_index"),
        (ipywidgets.Dropdown(options=labels("initialisations"), description="Initialisation"), "init_index"),
        (ipywidgets.Dropdown(options=labels("gaps"), description="Fairness metric"), "gap_index"),
        (ipywidgets.SelectionSlider(options=levels, description="Privacy"), "epsilon_index"),
    ]
    for control, name in controls:
        control.style, control.layout = style, wide
        control.index = getattr(chart, name) if control.options else None
        # Linked in the browser: the chart answers before the kernel does, and the kernel hears of both.
        ipywidgets.jslink((control, "index"), (chart, name))
    return [control for control, _ in controls if control.options]
