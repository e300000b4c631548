import pytest

from dpcxr_core import cli
from dpcxr_core.files import write_json
from dpcxr_core.study.handover import leave_places


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["release", "--help"])
    assert stop.value.code == 0
    assert "dpcxr release" in capsys.readouterr().out.split("example:")[1]


@pytest.fixture
def private(tiny_study):
    return tiny_study.folders[[config.kind for config in tiny_study.configs].index("private")]


def test_a_run_is_released_by_its_record_or_by_its_job(tiny_study, private, tmp_path, capsys):
    by_record = ["release", str(private), "--run-dir", str(tiny_study.run_dir), "--out", str(tmp_path / "one")]
    assert cli.main(by_record) == 0
    job = tmp_path / "job"
    leave_places(job, tiny_study.places)
    write_json(job / "result.json", {"run": str(private), "seconds": 1.0})
    assert cli.main(["release", str(job), "--out", str(tmp_path / "two")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "one"), str(tmp_path / "two")]
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_mistake_is_one_line(tiny_study, tmp_path, capsys):
    public_only = tiny_study.folders[-1]
    for run, reason in ((tmp_path / "none", "there is no run"), (public_only, "cannot be released as a private model")):
        words = ["release", str(run), "--run-dir", str(tiny_study.run_dir), "--out", str(tmp_path / "out")]
        assert cli.main(words) == 1
        shown = capsys.readouterr().err
        assert shown.startswith("dpcxr: ")
        assert reason in shown
        assert not (tmp_path / "out").exists()
