import json
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from dpcxr_core import cli
from dpcxr_core.accounting import remembered, solving
from dpcxr_core.data.store import open_store
from dpcxr_core.privacy.errors import PrivacyEngineError
from tests.conftest import PROJECT


def _one_line_error(capsys, arguments) -> str:
    assert cli.main(arguments) == 1
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    lines = [line for line in shown.err.splitlines() if line.startswith("dpcxr:")]
    assert len(lines) == 1
    return lines[0]


COMMANDS = ["prepare", "calibrate", "selfcheck", "train", "execute", "book", "study", "collect", "release"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"dpcxr {command}" in capsys.readouterr().out.split("example:")[1]


@pytest.fixture(autouse=True)
def _nothing_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "FOLDER", tmp_path / "accounting")


def test_calibrate_prints_the_certificate_of_the_study(capsys):
    words = "--target-epsilon 0.9 --delta 6e-6 --n-units 86524 --expected-batch-size 1024 --steps 2000 --json"
    assert cli.main(["calibrate", *words.split()]) == 0
    certificate = json.loads(capsys.readouterr().out)
    assert certificate["noise_multiplier"] == pytest.approx(2.391, abs=0.002)
    assert certificate["epsilon_pld"] <= 0.9
    assert certificate["epsilon_prv_low"] < certificate["epsilon_pld"] < certificate["epsilon_prv"]
    assert any("label weights" in each for each in certificate["not_covered"])


@pytest.mark.parametrize(
    ("unknown", "known", "found"),
    [
        ("steps", "--target-epsilon 2 --noise-multiplier 3 --expected-batch-size 100", ("n_steps", 155)),
        ("batch", "--target-epsilon 2 --noise-multiplier 3 --steps 155", ("expected_batch_size", 100)),
        ("epsilon", "--noise-multiplier 3 --steps 155 --expected-batch-size 100", ("target_epsilon", 1.9964)),
    ],
)
def test_calibrate_solves_for_another_value_and_remembers_it(unknown, known, found, capsys, monkeypatch):
    words = ["calibrate", "--solve", unknown, "--delta", "1e-6", "--n-units", "1000", *known.split(), "--json"]
    assert cli.main(words) == 0
    first = capsys.readouterr().out
    assert json.loads(first)[found[0]] == pytest.approx(found[1], abs=2e-3)
    assert json.loads(first)["epsilon_pld"] <= json.loads(first)["target_epsilon"]
    monkeypatch.setattr(solving, "solved_certificate", None)
    assert cli.main(words) == 0
    assert capsys.readouterr().out == first


def test_calibrate_names_what_is_missing_or_superfluous_and_keeps_its_time_limit(capsys):
    words = ["--target-epsilon", "2", "--delta", "1e-6", "--n-units", "1000", "--expected-batch-size", "100"]
    assert "to solve for noise, --steps must be given" in _one_line_error(capsys, ["calibrate", *words])
    assert "--noise-multiplier must be given" in _one_line_error(capsys, ["calibrate", "--solve", "steps", *words])
    noise = ["--steps", "5", "--noise-multiplier", "3"]
    assert "--noise-multiplier is what is solved for" in _one_line_error(capsys, ["calibrate", *words, *noise])
    late = ["--steps", "5", "--time-limit", "1e-9"]
    assert "time limit" in _one_line_error(capsys, ["calibrate", *words, *late])
    without_target = ["calibrate", *words[2:], "--steps", "5"]
    assert "--target-epsilon must be given" in _one_line_error(capsys, without_target)


@pytest.mark.parametrize(
    "known",
    ["--target-epsilon 1 --expected-batch-size 100", "--solve epsilon --noise-multiplier 1 --expected-batch-size 9"],
)
def test_calibrate_refuses_more_steps_than_can_be_accounted_for(known, capsys):
    words = f"calibrate {known} --delta 1e-5 --n-units 100000 --steps 100000000 --time-limit 5"
    line = _one_line_error(capsys, words.split())
    assert "n_steps must be at most 1000000" in line
    assert "100000000" in line


def test_time_limit_ends_whatever_is_computed_and_nothing_is_remembered(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(solving, "solved_certificate", lambda problem, time_limit: time.sleep(60))
    words = "--noise-multiplier 1 --expected-batch-size 9 --delta 1e-5 --n-units 1000 --steps 9 --time-limit 0.05"
    line = _one_line_error(capsys, ["calibrate", "--solve", "epsilon", *words.split()])
    assert "no answer within the time limit of 0.05 seconds" in line
    assert not (tmp_path / "accounting").exists()


def test_calibrate_answers_where_nothing_can_be_remembered(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(remembered, "FOLDER", tmp_path / "file" / "accounting")
    words = "--noise-multiplier 3 --expected-batch-size 100 --delta 1e-6 --n-units 1000 --steps 155"
    assert cli.main(["calibrate", "--solve", "epsilon", *words.split()]) == 0
    assert "epsilon of at most 1.99" in capsys.readouterr().out


def test_calibrate_for_patients_says_whom_it_protects(capsys):
    words = "--target-epsilon 3 --delta 1e-4 --n-units 500 --expected-batch-size 50 --steps 60 --privacy-unit patient"
    limit = "--max-images-per-patient 4 --clipping automatic"
    assert cli.main(["calibrate", *words.split(), *limit.split()]) == 0
    assert "one patient with all their images, however many" in capsys.readouterr().out
    assert cli.main(["calibrate", *words.split(), *limit.split(), "--json"]) == 0
    certificate = json.loads(capsys.readouterr().out)
    assert (certificate["privacy_unit"], certificate["max_images_per_patient"]) == ("patient", 4)
    assert certificate["clipping"] == "automatic"
    assert "max_images_per_patient" in _one_line_error(capsys, ["calibrate", *words.split()])


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan", "1e9"])
def test_bad_epsilon_is_one_line_that_names_it(epsilon, capsys):
    words = "--delta 1e-5 --n-units 1000 --expected-batch-size 10 --steps 10"
    line = _one_line_error(capsys, ["calibrate", f"--target-epsilon={epsilon}", *words.split()])
    assert "target_epsilon" in line


def test_batch_larger_than_the_data_is_refused(capsys):
    words = "--target-epsilon 1 --delta 1e-5 --n-units 10 --expected-batch-size 11 --steps 10"
    assert "11" in _one_line_error(capsys, ["calibrate", *words.split()])


def test_selfcheck_passes_and_names_the_architecture(capsys):
    assert cli.main(["selfcheck"]) == 0
    assert "checks passed for convnext_mini" in capsys.readouterr().out


def test_selfcheck_of_an_unknown_architecture_suggests_a_known_one(capsys):
    assert "convnext_tiny" in _one_line_error(capsys, ["selfcheck", "--architecture", "convnext_tinny"])


def test_failed_engine_is_exit_code_one_and_one_line(capsys, monkeypatch):
    def fail(options):
        raise PrivacyEngineError("noise variance: 9, limit 5")

    monkeypatch.setattr(cli, "_selfcheck", fail)
    assert "noise variance" in _one_line_error(capsys, ["selfcheck"])


def test_prepare_simulated_makes_a_store_and_says_so_the_second_time(tmp_path, capsys):
    out = tmp_path / "store"
    words = f"prepare --dataset simulated --out {out} --n-train 6 --n-valid 3 --n-test 5 --size 32".split()
    assert cli.main(words) == 0
    assert len(open_store(out).images) == 14
    capsys.readouterr()
    assert cli.main(words) == 0
    assert "already prepared" in capsys.readouterr().out
    assert "n" in _one_line_error(capsys, [*words, "--seed", "5"])


def test_prepare_without_source_or_from_a_missing_folder_is_one_line(tmp_path, capsys):
    words = f"prepare --dataset chestxray14 --out {tmp_path / 'store'}".split()
    assert "--source" in _one_line_error(capsys, words)
    assert "nowhere" in _one_line_error(capsys, [*words, "--source", str(tmp_path / "nowhere")])


def test_prepare_counts_a_truncated_picture_and_names_it(tmp_path, capsys):
    folder = tmp_path / "cxr" / "images_001" / "images"
    folder.mkdir(parents=True)
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    names = [f"0000000{patient}_000.png" for patient in range(1, 9)]
    rows = [f"{name},No Finding,0,{int(name[:8])},50,F,PA,64,64,0.1,0.1" for name in names]
    (tmp_path / "cxr" / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "cxr" / "train_val_list.txt").write_text("\n".join(names[:6]) + "\n")
    (tmp_path / "cxr" / "test_list.txt").write_text("\n".join(names[6:]) + "\n")
    for name in names:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(folder / name)
    whole = (folder / names[0]).read_bytes()
    (folder / names[0]).write_bytes(whole[: len(whole) // 2])
    words = f"prepare --dataset chestxray14 --source {tmp_path / 'cxr'} --out {tmp_path / 'store'} --size 32"
    assert cli.main(words.split()) == 0
    shown = capsys.readouterr().out
    assert "8 images listed, 7 read" in shown
    assert names[0] in shown


def test_execute_refuses_an_unknown_parameter_and_a_missing_chapter(tmp_path, capsys):
    chapter = str(PROJECT / "book" / "14_noise_calibration.py")
    run = ["--run-dir", str(tmp_path)]
    assert "did you mean 'delta'" in _one_line_error(capsys, ["execute", chapter, "-p", "detla", "1e-5", *run])
    assert "takes float" in _one_line_error(capsys, ["execute", chapter, "-p", "delta", "tiny", *run])
    assert "nothing.py" in _one_line_error(capsys, ["execute", "book/nothing.py", *run])


def test_execute_reads_numbers_as_json_does(tmp_path, capsys):
    chapter = tmp_path / "toy.py"
    chapter.write_text('# %% tags=["parameters"]\ndelta: float = 0.5\n\n# %%\nassert delta == 6e-6\n')
    assert cli.main(["execute", str(chapter), "-p", "delta", "6e-6", "--run-dir", str(tmp_path)]) == 0
    assert (tmp_path / "notebooks" / "toy.ipynb").is_file()


def test_parameter_file_that_is_no_mapping_and_unwritable_folder_are_one_line(tmp_path, capsys):
    chapter = str(PROJECT / "book" / "14_noise_calibration.py")
    (tmp_path / "list.yml").write_text("- 1\n")
    assert "list" in _one_line_error(capsys, ["execute", chapter, "-f", str(tmp_path / "list.yml")])
    (tmp_path / "file").write_text("")
    words = f"prepare --dataset simulated --out {tmp_path / 'file' / 'store'} --n-train 2 --n-valid 0 --n-test 0"
    assert str(tmp_path / "file") in _one_line_error(capsys, words.split())


def test_execute_finds_what_earlier_chapters_left_where_the_book_leaves_it(tmp_path, capsys):
    chapter = str(PROJECT / "book" / "22_comparison.py")
    line = _one_line_error(capsys, ["execute", chapter, "-p", "seeds", "[0, 1, 2]", "--run-dir", str(tmp_path)])
    assert f"{tmp_path / 'places.json'} is missing" in line
    assert "11_data_preparation" in line


def test_failing_cell_is_exit_code_one_and_one_line(tmp_path, capsys):
    chapter = tmp_path / "toy.py"
    chapter.write_text("# %%\n1 / 0\n")
    line = _one_line_error(capsys, ["execute", str(chapter), "--run-dir", str(tmp_path)])
    assert "ZeroDivisionError" in line
    assert not (tmp_path / "notebooks" / "toy.ipynb").exists()


def test_unknown_profile_is_one_line(capsys):
    assert "demo" in _one_line_error(capsys, ["book", "--profile", "demmo"])


def test_interrupt_says_that_nothing_is_lost(capsys, monkeypatch):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_selfcheck", interrupt)
    assert cli.main(["selfcheck"]) == 130
    assert "call again" in capsys.readouterr().err


def test_no_grammar_of_iris_is_compiled_for_notebooks():
    code = (
        "import sys; from dpcxr_core import cli; cli.main(['execute', 'nowhere.py']); import jsonschema, nbformat; "
        "sys.exit('lark' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "there is no chapter nowhere.py" in ran.stderr
