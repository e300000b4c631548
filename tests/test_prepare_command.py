import re
import shlex
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dpcxr_core import cli
from dpcxr_core.data.prepare import DATASETS
from dpcxr_core.data.store import open_store
from dpcxr_core.prepare_command import DATASET_NAMES, EXAMPLES

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "cxr"
    (folder / "images").mkdir(parents=True)
    names = [f"{patient:08d}_000.png" for patient in range(1, 13)]
    rows = [f"{name},No Finding,0,{int(name[:8])},50,F,PA" for name in names]
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (folder / "train_val_list.txt").write_text("\n".join(names[:9]))
    (folder / "test_list.txt").write_text("\n".join(names[9:]))
    for name in names:
        pixels = np.random.default_rng(int(name[:8])).integers(0, 255, (40, 40), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name)
    return folder


def _run(words):
    return cli.main(["prepare", *shlex.split(words)])


def _error(capsys, words) -> str:
    assert _run(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_data_sets_of_the_command_are_those_that_can_be_prepared():
    assert list(DATASETS) == DATASET_NAMES


def test_every_example_is_a_command_that_parses():
    for line in EXAMPLES.splitlines():
        words = line.split("(")[0].split()
        assert words[:2] == ["dpcxr", "prepare"]
        assert cli._parser().parse_args(words[1:]).run


def test_choices_reach_the_store(source, tmp_path, capsys):
    words = f"--dataset chestxray14 --source {source} --out {tmp_path / 's'} --size 32 --recipe as_published"
    assert _run(f"{words} --policy u_one --split patients --valid-fraction 0.25 --test-fraction 0.5 --seed 3") == 0
    assert "12 images listed, 12 read" in capsys.readouterr().out
    store = open_store(tmp_path / "s")
    choices = {"policy": "u_one", "split": "patients", "valid_fraction": 0.25, "test_fraction": 0.5, "seed": 3}
    assert store.description["choices"] == choices
    assert store.cohort["split"].value_counts().to_dict() == {"test": 6, "train": 3, "valid": 3}
    assert store.description["recipe"]["name"] == "as_published"


def test_shards_are_joined_removed_on_request_and_verified(source, tmp_path, capsys):
    words = f"--dataset chestxray14 --source {source} --size 32 --jobs 1"
    assert _run(f"{words} --out {tmp_path / 'whole'}") == 0
    for number in (1, 2):
        assert _run(f"{words} --out {tmp_path / 'parts'} --shard {number}/2") == 0
    assert _run(f"--join {tmp_path / 'parts'}") == 0
    assert (tmp_path / "parts.shard-1-of-2").is_dir()
    assert _run(f"--join {tmp_path / 'parts'} --remove-shards") == 0
    assert not list(tmp_path.glob("parts.*"))
    for one in (tmp_path / "whole").iterdir():
        assert one.read_bytes() == (tmp_path / "parts" / one.name).read_bytes()
    capsys.readouterr()
    assert _run(f"--verify {tmp_path / 'parts'}") == 0
    assert "12 images, every byte as it was prepared" in capsys.readouterr().out
    content = bytearray((tmp_path / "parts" / "images.npy").read_bytes())
    content[-1] ^= 1
    (tmp_path / "parts" / "images.npy").write_bytes(content)
    assert "rows 11 (00000012_000.png)" in _error(capsys, f"--verify {tmp_path / 'parts'}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "give one of --dataset, --join and --verify"),
        ("--join a --verify b", "got join and verify"),
        ("--dataset chestxray14", "--dataset needs --out"),
        ("--dataset chexpert --out s", "chexpert needs --source, the folder of its files. To get them: 1. Register"),
        ("--dataset own --out s", "own needs --manifest"),
        ("--dataset own --manifest nowhere.yml --out s", "no manifest nowhere.yml"),
        ("--dataset chestxray14 --manifest my.yml --source a --out s", "--manifest goes with --dataset own"),
        ("--dataset chestxray14 --source nowhere --out s", "no folder nowhere"),
        ("--dataset chestxray14 --source a --out s --shard 9/8", "a shard is 1/N to N/N; got 9/8"),
        ("--dataset chestxray14 --source a --out s --test-fraction 0.2", "--test-fraction goes with --split patients"),
        ("--dataset simulated --out s --shard 1/2", "--shard goes with a --dataset other than simulated, not with"),
        ("--dataset simulated --out s --recipe corrected", "--recipe goes with a --dataset other"),
        ("--dataset simulated --out s --policy u_one", "--policy goes with a --dataset other"),
        ("--dataset simulated --out s --split official", "--split goes with a --dataset other"),
        ("--dataset simulated --out s --valid-fraction 0.2", "--valid-fraction goes with a --dataset other"),
        ("--dataset simulated --out s --manifest m.yml", "--manifest goes with a --dataset other"),
        ("--dataset simulated --out s --source a", "--source goes with a --dataset other"),
        ("--dataset simulated --out s --size 16", "at least 32 pixels a side; got 16"),
        ("--dataset chestxray14 --source a --out s --hospital sim-b", "--hospital goes with --dataset simulated, not"),
        ("--dataset chestxray14 --source a --out s --world null", "--world goes with --dataset simulated, not with"),
        ("--dataset chestxray14 --source a --out s --n-train 5", "--n-train goes with --dataset simulated, not with"),
        ("--dataset chestxray14 --source a --out s --remove-shards", "--remove-shards goes with --join, not with"),
        ("--join s --out t", "--out goes with --dataset, not with --join, where it would do nothing"),
        ("--verify s --remove-shards", "--remove-shards goes with --join, not with --verify"),
        ("--dataset chestxray14 --source a --out .", ". cannot be a store"),
        ("--dataset simulated --out ..", ".. cannot be a store"),
        ("--join .", ". cannot be a store"),
        ("--dataset chestxray14 --source a --out s --seed -1", "seed of the split must be 0 or more; got -1"),
        ("--join nowhere", "there is no shard of nowhere"),
        ("--verify nowhere", "not a finished image store"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in _error(capsys, words)
    assert not list(tmp_path.iterdir())


def _said_defaults(capsys):
    """Option -> its default, as the help says."""
    with pytest.raises(SystemExit):
        cli.main(["prepare", "--help"])
    options = capsys.readouterr().out.split("\n  --")[1:]
    found = [(f"--{each.split()[0]}", re.search(r"default: ([\w.-]+)", " ".join(each.split()))) for each in options]
    return {option: default[1] for option, default in found if default}


def _asked_of(function, words, monkeypatch):
    """What the command asks ``function`` for, by option; it prepares nothing."""
    asked = {}
    report = SimpleNamespace(text=lambda: "")
    monkeypatch.setattr(function, lambda *places, **choices: asked.update(choices) or report)
    assert _run(words) == 0
    choices = (asdict(asked["split"]) if "split" in asked else {}) | asked
    return {f"--{name.replace('_', '-')}": str(value) for name, value in choices.items()}


def test_what_is_not_given_is_as_the_help_says(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # no value is broken at a hyphen
    said = _said_defaults(capsys)
    for_any = {"--size", "--seed", "--jobs"}
    of_simulated = {"--hospital", "--world", "--n-train", "--n-valid", "--n-test"}
    of_official = {"--recipe", "--valid-fraction", "--test-fraction"}
    assert set(said) == for_any | of_simulated | of_official
    place, drawing = f"--out {tmp_path / 's'}", "dpcxr_core.data.simulation.prepare_simulated.prepare_simulated"
    asked = _asked_of(drawing, f"--dataset simulated {place}", monkeypatch)
    assert asked == {option: said[option] for option in for_any | of_simulated}
    words = f"--dataset chestxray14 --source {tmp_path} {place} --split patients"
    asked = _asked_of("dpcxr_core.data.prepare.prepare_official", words, monkeypatch)
    assert {option: asked[option] for option in for_any | of_official} == {
        option: said[option] for option in for_any | of_official
    }


def test_shards_of_other_choices_outlive_a_join_that_removes(source, tmp_path, capsys):
    words = f"--dataset chestxray14 --source {source} --jobs 1 --out {tmp_path / 'parts'}"
    for number in (1, 2):
        assert _run(f"{words} --size 32 --shard {number}/2") == 0
    assert _run(f"--join {tmp_path / 'parts'} --remove-shards") == 0
    for number in (1, 2):
        assert _run(f"{words} --size 24 --shard {number}/2") == 0
    capsys.readouterr()
    assert "shard-1-of-2: size was 32, is now 24" in _error(capsys, f"--join {tmp_path / 'parts'} --remove-shards")
    assert len(list(tmp_path.glob("parts.shard-*"))) == 2
