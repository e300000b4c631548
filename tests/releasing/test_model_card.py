import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from huggingface_hub import ModelCard

from dpcxr_core import cli
from dpcxr_core.data.describing.origins import facts_of_store
from dpcxr_core.data.store import file_sha256, open_store
from dpcxr_core.releasing.model_card import CardFacts, model_card
from dpcxr_core.training.record import read_record


@pytest.fixture(scope="module")
def card(released) -> str:
    return (released / "README.md").read_text()


def test_the_hub_reads_the_header(card, private_run):
    stated = ModelCard(card).data
    assert stated.pipeline_tag == "image-classification"
    assert "differential-privacy" in stated.tags
    scores = {result.dataset_name: result.metric_value for result in stated.eval_results}
    assert 0.4 < scores["sim-a"] <= 1
    assert stated.model_name == private_run.name


def test_it_says_all_that_has_to_be_known(card, private_run):
    record = read_record(private_run)
    assert record.privacy_statement in card
    for heading in ("Intended use", "What it was trained on", "What it promises", "What it scored", "Limits"):
        assert f"\n## {heading}\n" in card
    assert "not a medical device" in card
    assert "drawn by a program" in card
    assert record.init_label in card
    assert "| sex | F |" in card
    assert "| AUROC difference | sex | F-M |" in card


def test_its_checksums_are_those_of_the_files_beside_it(card, released):
    stated = dict(re.findall(r"\| ([\w.]+) \| ([0-9a-f]{64}) \|", card))
    assert stated == {p.name: file_sha256(p) for p in released.iterdir() if p.name != "README.md"}


def test_its_code_runs_and_scores_images(card, released, tiny_study, monkeypatch):
    monkeypatch.chdir(released)
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL).group(1)
    names = {"images": open_store(tiny_study.places.store("sim-a")).images[:2]}
    exec(code, names)
    assert names["scores"].shape == (2, 5)
    assert np.isfinite(names["scores"]).all()


def test_its_command_computes_the_epsilon_that_it_states(card, private_run, capsys):
    command = re.search(r"```\n(dpcxr calibrate .*?)```", card, re.DOTALL).group(1)
    assert cli.main([*shlex.split(command.replace("\\\n", " "))[1:], "--time-limit", "600"]) == 0
    claimed = read_record(private_run).certificate["epsilon_pld"]
    found = float(re.search(r"epsilon of at most ([\d.]+)", capsys.readouterr().out).group(1))
    assert found == pytest.approx(claimed, abs=1e-3)


def test_no_small_count_and_no_patient_is_in_it(card):
    tables = [line.split("|")[1:-1] for line in card.splitlines() if line.startswith("| ")]
    lone_numbers = [cell.strip() for row in tables for cell in row if re.fullmatch(r"\s*\d+\s*", cell)]
    assert lone_numbers
    assert all(int(number) >= 10 for number in lone_numbers)
    assert "patient_id" not in card


def test_a_hospitals_own_images_are_for_the_hospital_to_describe(private_run, released, tiny_study):
    record = read_record(private_run)
    facts = _facts(record, open_store(tiny_study.places.store("sim-a")), tiny_study, private_run)
    own = model_card(replace(facts, source=None, thresholds={}))
    assert "a hospital's own" in own
    assert "drawn by a program" not in own
    assert "no TPR and no FPR" in own
    unit = replace(record, certificate={**record.certificate, "privacy_unit": "patient", "max_images_per_patient": 4})
    assert "--privacy-unit patient --max-images-per-patient 4" in model_card(replace(facts, record=unit))


def _facts(record, store, tiny_study, run):
    from dpcxr_core.collecting.shareable import shareable_metrics
    from dpcxr_core.study.evaluating import metrics_table

    return CardFacts(
        record=record,
        description=store.description,
        source=facts_of_store(store),
        metrics=shareable_metrics(metrics_table([run], tiny_study.places)),
        thresholds={"pneumonia": 0.31},
        input_transform={"mode": "fixed", "mean": [0.485] * 3, "std": [0.229] * 3, "in_chans": 3},
        checksums={"weights.safetensors": "0" * 64},
    )
