import subprocess
import sys

import pytest
import yaml

from dpcxr_core import cli
from tests.conftest import PROJECT, SMALL_STUDY


@pytest.fixture
def words(tmp_path):
    file = tmp_path / "one.yml"
    file.write_text(yaml.safe_dump(SMALL_STUDY))
    return ["study", str(file), "--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")]


def test_dry_run_does_nothing(words, tmp_path, capsys):
    assert cli.main([*words, "--dry-run"]) == 0
    assert "random" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_a_study_lies_in_the_project_wherever_the_command_is_called(words, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(
        "dpcxr_core.running.whole_study.run_whole_study",
        lambda _, study_dir, *, cache_dir, **__: ran.append((study_dir, cache_dir)) or True,
    )
    monkeypatch.chdir(tmp_path)
    assert cli.main(words[:2]) == 0
    assert ran == [(PROJECT / "runs" / "studies" / "one", PROJECT / ".cache")]


def test_bad_options_are_one_line(words, tmp_path, capsys):
    assert cli.main([*words, "--cores", "0"]) == 1
    assert "--cores must be at least 1; got 0" in capsys.readouterr().err
    assert cli.main(["study", str(tmp_path / "no.yml")]) == 1
    assert "no.yml" in capsys.readouterr().err


def test_help_has_examples_and_hides_the_command_of_engines(capsys):
    for words in (["study", "--help"], ["--help"]):
        with pytest.raises(SystemExit):
            cli.main(words)
    said = capsys.readouterr().out
    assert "dpcxr study studies/paper.yml --dry-run" in said
    assert "job " not in said.split("COMMAND")[-1]


def test_result_is_copied_to_where_the_engine_looks(tmp_path, monkeypatch):
    result = tmp_path / "jobs" / "a" / "result.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    monkeypatch.setattr("dpcxr_core.running.job.do_job", lambda *_, **__: result)
    monkeypatch.chdir(tmp_path)
    words = ["job", "s.yml", str(tmp_path), "a", "--result"]
    assert cli.main([*words, "jobs/a/result.json"]) == 0
    assert cli.main([*words, "elsewhere.json"]) == 0
    assert (tmp_path / "elsewhere.json").read_text() == "{}"


def test_other_commands_do_not_wait_for_the_packages_of_a_study():
    asked = "import sys; from dpcxr_core.cli import _parser; _parser(); sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], cwd=PROJECT, check=False).returncode == 0
