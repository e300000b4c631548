import json
import math
import re
import shutil
import subprocess

import pytest

from dpcxr_core.accounting.noise_table import noise_table
from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters.speed_tables import read_results
from dpcxr_core.publishing.explorers import noise_explorer
from dpcxr_core.publishing.explorers.noise_explorer import (
    MODULE,
    NoiseExplorer,
    certificate_in_words,
    estimate,
    show_noise_explorer,
)
from dpcxr_core.publishing.explorers.noise_payload import noise_payload

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
CHOICES = {
    "n_images": 86_524,
    "n_patients": 25_000,
    "privacy_unit": "image",
    "max_images_per_patient": 4,
    "expected_batch_size": 1024,
    "n_steps": 2000,
    "target_epsilon": 0.9,
    "delta": 6e-6,
}
MANY_STEPS = {"passes": 20.0, "expected_batch_size": 100, "n_images": 1000}


@pytest.fixture(scope="module")
def payload():
    return noise_payload(read_results("benchmarks/results"), **CHOICES)


def _node(expression, tmp_path, **values):
    """What ``expression`` gives in node, with the module as ``m`` and ``values`` at hand."""
    (tmp_path / "noise.mjs").write_text(MODULE)
    script = tmp_path / "ask.mjs"
    script.write_text(
        'import * as m from "./noise.mjs";\n'
        f"const {{ {', '.join(values)} }} = {json.dumps(values)};\n"
        f"console.log(JSON.stringify({expression}));"
    )
    done = subprocess.run(["node", "--no-warnings", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_module_is_small_and_asks_nobody():
    text = MODULE
    assert len(text.encode()) < 25_000
    assert not re.search(r"^\s*import\b|\bimport\s*\(|\bfetch\s*\(|https?://(?!www.w3.org/2000/svg)", text, re.M)
    assert "</script" not in text


def test_bundle_has_the_widget_and_html_beside_it():
    bundle = show_noise_explorer(read_results("benchmarks/results"), **CHOICES)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert 'class="dpcxr-noise"' in bundle["text/html"]
    assert len(bundle["text/html"]) < 200_000


# ---- the kernel ----


def test_kernel_answers_each_choice_with_the_choices_it_is_for(payload):
    explorer = NoiseExplorer(payload)
    assert explorer.chart.answer["choices"] == payload["start"]
    assert explorer.chart.answer["noise_multiplier"] == pytest.approx(2.387, rel=3e-3)
    assert explorer.chart.answer["rdp"] == pytest.approx(2.57, rel=5e-3)
    explorer.chart.choices = payload["start"] | {"target_epsilon": 3.0}
    assert explorer.choices["target_epsilon"] == explorer.chart.answer["choices"]["target_epsilon"] == 3.0
    assert explorer.chart.answer["noise_multiplier"] == pytest.approx(1.0, abs=0.1)


def test_kernel_says_why_there_is_no_answer(payload):
    answer = estimate(payload["start"] | {"n_images": 100})
    assert answer["noise_multiplier"] is None
    assert "sample_rate" in answer["reason"]


def test_patients_are_counted_from_images(payload):
    patients = payload["start"] | {"privacy_unit": "patient", "images_per_patient": 4.0}
    quarter = payload["start"] | {"n_images": 86_524 // 4}
    assert estimate(patients) == estimate(quarter)
    assert estimate(patients)["noise_multiplier"] > 1.9 * estimate(payload["start"])["noise_multiplier"]


def test_button_gives_the_certificate_of_the_present_choices(payload, monkeypatch):
    asked = []
    monkeypatch.setattr(noise_explorer, "certificate_in_words", lambda choices: asked.append(choices) or "promised")
    explorer = NoiseExplorer(payload)
    assert explorer.chart.certificate == {}
    explorer.chart.certify_requests = 1
    assert asked == [payload["start"]]
    assert explorer.chart.certificate == {"choices": payload["start"], "words": "promised"}


def test_certificate_keeps_the_target_and_refuses_what_cannot_be(payload):
    small = payload["start"] | MANY_STEPS | {"target_epsilon": 3.0}
    words = certificate_in_words(small)
    claimed = float(re.search(r"epsilon of at most (\d+\.\d+)", words).group(1))
    assert 2.97 < claimed <= 3.0
    assert "200 steps" in words
    assert certificate_in_words(small | {"n_images": 50}).startswith("No certificate: expected_batch_size")


def test_specification_is_calibrated_for_the_choices(payload):
    small = payload["start"] | MANY_STEPS | {"privacy_unit": "patient", "images_per_patient": 2.0}
    specification = NoiseExplorer({**payload, "start": small}).specification(max_grad_norm=0.5)
    assert (specification.sample_rate, specification.n_steps) == (0.2, 100)
    assert specification.max_images_per_patient == 4
    assert specification.noise_multiplier == pytest.approx(estimate(small)["noise_multiplier"], rel=0.01)
    with pytest.raises(UserError, match="max_grad_norm"):
        NoiseExplorer({**payload, "start": small}).specification(max_grad_norm=0.0)


# ---- the page ----


@needs_node
@pytest.mark.parametrize(
    "where",
    [
        {"target_epsilon": 0.9, "delta": 6e-6, "sample_rate": 1024 / 86524, "passes": 23.67},
        {"target_epsilon": 0.05, "delta": 1e-8, "sample_rate": 1.0, "passes": 1.0},
        {"target_epsilon": 10.0, "delta": 1e-3, "sample_rate": 2.0**-12, "passes": 256.0},
    ],
)
def test_page_looks_up_what_python_looks_up(payload, tmp_path, where):
    found = _node(
        "['pld', 'rdp'].map((which) => m.noiseAt(m.unpack(table), which, where))",
        tmp_path,
        table=payload["table"],
        where=where,
    )
    table = noise_table()
    assert found == pytest.approx([table.noise_multiplier(**where), table.noise_multiplier_rdp(**where)], rel=2e-3)


@needs_node
def test_page_counts_units_steps_and_cost_and_weighs_noise(payload, tmp_path):
    choices = payload["start"] | {"privacy_unit": "patient", "images_per_patient": 4.0, "max_images_per_patient": 2}
    out = _node("m.outcome(p, m.unpack(p.table), c, null)", tmp_path, p=payload, c=choices | {"images_per_second": 10})
    assert (out["nUnits"], out["nSteps"]) == (21_631, round(choices["passes"] * 21_631 / 1024))
    assert out["images"] == out["nSteps"] * 1024 * 2
    assert out["hours"] == pytest.approx(out["images"] / 36_000)
    assert out["std"] == pytest.approx(out["noise"] / 1024)
    assert out["weight"] == pytest.approx(out["noise"] * math.sqrt(payload["networks"][0]["n_parameters"]) / 1024)


@needs_node
def test_page_prefers_the_answer_of_the_kernel(payload, tmp_path):
    exact = {"noise_multiplier": 2.25, "rdp": 2.5}
    out = _node("m.outcome(p, m.unpack(p.table), p.start, exact)", tmp_path, p=payload, exact=exact)
    assert (out["noise"], out["rdp"]) == (2.25, 2.5)
    lines = _node(
        "m.sentences(p.start, m.outcome(p, m.unpack(p.table), p.start, exact))", tmp_path, p=payload, exact=exact
    )
    assert lines[0] == "Epsilon of at most 0.9 at a delta of 6 × 10⁻⁶ for each image: noise multiplier 2.25."
    assert "2.5, 11.1 % more, for the same promise." in lines[1]


@needs_node
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_images": 500}, "at most the number of images, 500"),
        ({"n_images": 10_000_000}, "The expected batch must be at least 2\u202f442"),
        ({"n_images": 0}, "must be above zero"),
        ({"images_per_patient": 0.5}, "at least 1"),
    ],
)
def test_page_says_why_there_is_no_answer(payload, tmp_path, change, words):
    choices = payload["start"] | change
    found = _node(
        "[m.sentences, m.tableRows].map((say) => say(c, m.outcome(p, m.unpack(p.table), c, null)))",
        tmp_path,
        p=payload,
        c=choices,
    )
    assert words in found[0][0]
    assert dict(found[1])["Noise multiplier (estimate)"] == "–"


@needs_node
def test_numbers_are_short_and_durations_have_their_unit(tmp_path):
    found = _node("[0.00001234, 0.5, 2.3871, 86524, 0].map((x) => m.number(x))", tmp_path, x=0)
    assert found == ["1.23 × 10⁻⁵", "0.5", "2.39", "86\u202f524", "0"]
    found = _node("[0.001, 0.5, 3, 100].map(m.duration)", tmp_path, x=0)
    assert found == ["3.6 seconds", "30 minutes", "3 hours", "4.17 days"]
