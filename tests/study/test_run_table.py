import subprocess
import sys

from dpcxr_core.study.run_table import runs_table
from dpcxr_core.training.record import read_record


def test_runs_table_tells_runs_apart(tiny_study):
    runs = runs_table(tiny_study.folders)
    assert runs["run_id"].is_unique
    assert runs["seconds"].to_list() == [read_record(folder).seconds["training"] for folder in tiny_study.folders]
    assert not runs.duplicated(["init_label", "kind", "target_epsilon", "seed"]).any()
    private = runs[runs["kind"] == "private"]
    assert (private["epsilon_spent"] <= private["target_epsilon"]).all()
    assert runs.loc[runs["kind"] != "private", ["epsilon_spent", "privacy_unit"]].isna().all(axis=None)
    assert set(private["privacy_unit"]) == {"image"}
    assert set(runs["architecture"]) == {"convnext_mini"}


def test_a_table_of_runs_takes_no_torch():
    code = "import sys, dpcxr_core.study.run_table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
