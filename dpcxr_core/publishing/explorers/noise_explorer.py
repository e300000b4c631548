"""The noise explorer: choices in, noise and its cost out; exact where a kernel runs, looked up where none does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from dpcxr_core.accounting.calibration import specification_for
from dpcxr_core.accounting.certificate import AccountantsDisagreeError, certify, privacy_statement
from dpcxr_core.accounting.quick import quick_noise_multiplier
from dpcxr_core.accounting.quick_rdp import quick_noise_multiplier_rdp
from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.publishing.chapters.speed_tables import SpeedResults
from dpcxr_core.publishing.explorers.live_html import bundle_with_html, joined, live_html
from dpcxr_core.publishing.explorers.noise_payload import noise_payload

MODULE = joined("drawing.js", "noise_explorer.js")
STYLE = joined("noise_explorer.css")


class NoiseChart(anywidget.AnyWidget):
    """Controls, picture and numbers, drawn by the notebook; the kernel answers choices better than the table does.

    Attributes:
        payload: What ``noise_payload`` returns.
        choices: What the controls say now, named as in ``payload["start"]``.
        answer: The kernel's estimate for ``choices``, with the choices it is for.
        certify_requests: How often a certificate was asked for.
        certificate: The exact calibration last asked for, in words, with the choices it is for.
    """

    _esm = MODULE
    _css = STYLE
    payload = traitlets.Dict().tag(sync=True)
    choices = traitlets.Dict().tag(sync=True)
    answer = traitlets.Dict().tag(sync=True)
    certify_requests = traitlets.Int(0).tag(sync=True)
    certificate = traitlets.Dict().tag(sync=True)

    @traitlets.observe("choices")
    def _answer(self, _: Any) -> None:
        self.answer = {"choices": self.choices, **estimate(self.choices)}

    @traitlets.observe("certify_requests")
    def _certify(self, _: Any) -> None:
        self.certificate = {"choices": self.choices, "words": certificate_in_words(self.choices)}


class NoiseExplorer:
    """Shown as a widget where a kernel runs, and as HTML that needs none everywhere else.

    Attributes:
        chart: The widget.
    """

    def __init__(self, payload: dict[str, Any]) -> None:
        self.chart = NoiseChart(payload=payload, choices=payload["start"])
        self._html = static_noise_html(payload)

    @property
    def choices(self) -> dict[str, Any]:
        """What the controls say now."""
        return dict(self.chart.choices)

    def specification(self, max_grad_norm: float) -> PrivacySpecification:
        """The exact specification of what the controls say now, calibrated; seconds.

        Raises:
            UserError: As ``specification_for``.
        """
        return _specification(self.choices, max_grad_norm)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget's bundle and, beside it, HTML for pages without a kernel."""
        return bundle_with_html(self.chart, self._html, **options)


def show_noise_explorer(speed: SpeedResults, **start: Any) -> NoiseExplorer:
    """A noise explorer; arguments and errors as for ``noise_payload``."""
    return NoiseExplorer(noise_payload(speed, **start))


def static_noise_html(payload: dict[str, Any]) -> str:
    """An HTML fragment that answers from the payload's table; see ``live_html``."""
    without_script = "The noise explorer needs JavaScript; the tables of this chapter do not."
    return live_html("dpcxr-noise", MODULE, STYLE, payload, without_script)


def estimate(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The kernel's quick estimates: ``noise_multiplier`` and ``rdp``, or None and the ``reason``."""
    try:
        n_units, n_steps = _units_and_steps(choices)
        asked = {
            "target_epsilon": choices["target_epsilon"],
            "delta": choices["delta"],
            "sample_rate": choices["expected_batch_size"] / n_units,
            "n_steps": n_steps,
        }
        return {"noise_multiplier": quick_noise_multiplier(**asked), "rdp": quick_noise_multiplier_rdp(**asked)}
    except UserError as error:
        return {"noise_multiplier": None, "rdp": None, "reason": str(error)}


def certificate_in_words(choices: Mapping[str, Any]) -> str:
    """The exact calibration of ``choices`` as the paragraph of its certificate, or why there is none."""
    try:
        n_units, _ = _units_and_steps(choices)
        # The clip norm is the unit of the noise: no epsilon depends on it.
        certificate = certify(_specification(choices, max_grad_norm=1.0), n_units, choices["target_epsilon"])
    except (UserError, AccountantsDisagreeError) as error:
        return f"No certificate: {error}"
    return privacy_statement(certificate)


def _specification(choices: Mapping[str, Any], max_grad_norm: float) -> PrivacySpecification:
    n_units, n_steps = _units_and_steps(choices)
    patient = choices["privacy_unit"] == "patient"
    return specification_for(
        target_epsilon=choices["target_epsilon"],
        delta=choices["delta"],
        n_units=n_units,
        expected_batch_size=choices["expected_batch_size"],
        n_steps=n_steps,
        max_grad_norm=max_grad_norm,
        privacy_unit=choices["privacy_unit"],
        max_images_per_patient=choices["max_images_per_patient"] if patient else None,
    )


def _units_and_steps(choices: Mapping[str, Any]) -> tuple[int, int]:
    """Privacy units and steps, as the page computes them (noise_explorer.js)."""
    patient = choices["privacy_unit"] == "patient"
    n_units = max(1, int(choices["n_images"] / (choices["images_per_patient"] if patient else 1) + 0.5))
    return n_units, max(1, int(choices["passes"] * n_units / choices["expected_batch_size"] + 0.5))
