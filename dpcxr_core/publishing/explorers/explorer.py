"""The explorer: live in JupyterLab, and alive in the rendered page without kernel or network."""

from __future__ import annotations

from typing import Any

import anywidget
import pandas as pd
import traitlets

from dpcxr_core.publishing.explorers.explorer_payload import explorer_payload
from dpcxr_core.publishing.explorers.live_html import bundle_with_html, joined, live_html

MODULE = joined("drawing.js", "explorer_data.js", "explorer_chart.js", "explorer_controls.js")
STYLE = joined("explorer.css")


class ExplorerChart(anywidget.AnyWidget):
    """The explorer in a notebook: its controls and charts are the browser's, its state is the kernel's too.

    Attributes:
        payload: What ``explorer_payload`` returns.
        state: What is chosen now: ``metric``, ``finding``, ``column``, and for the models ``a`` and ``b`` (None where
            one is shown) ``train``, ``test``, ``architecture``, ``init``, ``unit`` and ``level``. Empty until it is
            shown; what is set here and does not exist becomes the nearest that does.
    """

    _esm = MODULE
    _css = STYLE
    payload = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)


class Explorer:
    """Shown as a widget where a kernel runs, and as HTML that needs none everywhere else.

    Attributes:
        chart: The widget.
    """

    def __init__(self, payload: dict[str, Any]) -> None:
        self.chart = ExplorerChart(payload=payload)
        self._html = static_explorer_html(payload)

    @property
    def state(self) -> dict[str, Any]:
        """What is chosen now, see ``ExplorerChart``."""
        return dict(self.chart.state)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget's bundle and, beside it, HTML for pages without a kernel."""
        return bundle_with_html(self.chart, self._html, **options)


def show_explorer(metrics: pd.DataFrame, runs: pd.DataFrame) -> Explorer:
    """An explorer of metrics, groups, gaps and transfer by training set, initialisation and epsilon.

    Args:
        metrics: METRICS table of all runs.
        runs: Runs table, see ``study.run_table.runs_table``.

    Raises:
        UserError: As ``explorer_payload``.
    """
    return Explorer(explorer_payload(metrics, runs))


def static_explorer_html(payload: dict[str, Any]) -> str:
    """An HTML fragment that shows ``payload``; see ``live_html``."""
    without_script = "The explorer needs JavaScript; the tables of the other chapters do not."
    return live_html("dpcxr-explorer", MODULE, STYLE, payload, without_script)
