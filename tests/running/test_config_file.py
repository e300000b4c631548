import json
from dataclasses import asdict

import pytest

from dpcxr_core.config import OptimisationChoice, OrdinaryBatches, RunConfig, UserError
from dpcxr_core.running.config_file import read_config, write_config

CONFIG = RunConfig(
    dataset="sim-a",
    init_name="convnext_mini.random",
    head="reset",
    optimisation=OptimisationChoice(optimizer="adamw", learning_rate=1e-3),
    ordinary=OrdinaryBatches(n_steps=3, batch_size=4),
)


def test_what_was_written_is_read_and_so_is_a_record(tmp_path):
    assert read_config(write_config(tmp_path / "config.json", CONFIG)) == CONFIG
    (tmp_path / "record.json").write_text(json.dumps({"run_id": "x", "config": asdict(CONFIG)}))
    assert read_config(tmp_path / "record.json") == CONFIG


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no run configuration"),
        ("{", "is not JSON"),
        ("[]", "is not a RunConfig"),
        (json.dumps({"dataset": "sim-a", "init": "x"}), "unexpected keyword argument 'init'"),
        (json.dumps({**asdict(CONFIG), "seed": -1}), "seed must not be negative"),
    ],
)
def test_anything_else_is_refused(content, words, tmp_path):
    file = tmp_path / "config.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=words):
        read_config(file)
