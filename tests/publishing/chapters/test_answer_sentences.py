import math
from pathlib import Path

import pandas as pd

from dpcxr_core.planning.study_file import read_study
from dpcxr_core.publishing.chapters import answer_sentences
from tests.conftest import PROJECT


def test_contrasts_are_counted_by_the_corrected_p():
    table = pd.DataFrame({"value": [0.1, -0.1, 0.1, 0.2], "p_adjusted": [0.01, 0.02, 0.2, math.nan], "se_seeds": 0.1})
    sentence = answer_sentences.counted(table, "do better", "do worse")
    assert sentence.startswith("Of 3 comparisons, 1 do better, 1 do worse, and 1 cannot be told")
    assert "one seed" not in sentence
    assert "There is one seed" in answer_sentences.counted(table.assign(se_seeds=math.nan), "do better", "do worse")
    some = table.assign(se_seeds=[0.1, math.nan, 0.1, 0.1])
    assert "For 1 of them there is one seed" in answer_sentences.counted(some, "do better", "do worse")
    assert "missing" in answer_sentences.counted(table[3:], "do better", "do worse")


def test_runs_of_the_comparison_are_counted_where_they_were_looked_up():
    cells = pd.DataFrame({"run_id": ["a", "b", None], "state": ["done", "done", "missing"]})
    assert answer_sentences.done(cells, set()) == "Of 3 cells, 2 are done."
    assert answer_sentences.done(cells, {"b", "c"}).startswith("Of 3 cells, 2 are done; 1 of these are runs of the")


def test_missing_cells_are_named_the_first_of_them():
    cells = pd.DataFrame(
        {"cell": [f"cell-{number}" for number in range(8)], "state": ["done", *["missing"] * 6, "failed"]}
    )
    sentence = answer_sentences.missing(cells)
    assert "7 of the 8 cells" in sentence
    assert "`cell-1`" in sentence
    assert "`cell-5` and 2 others." in sentence
    assert "others" not in answer_sentences.missing(cells.head(3))
    pretrained = cells.head(1).assign(run_id=None)  # none that this page could read
    assert answer_sentences.missing(pretrained) == "Every cell that this page reads has run (1 in all)."


def test_verdicts_name_the_claims():
    table = pd.DataFrame({"claim": [1, 2, 3], "verdict": ["supported", "not decided (missing domain)", "not decided"]})
    assert answer_sentences.verdicts(table) == (
        "Of 3 claims: 1 supported (claim 1), 0 contradicted, 2 not decided (claim 2, 3)."
    )


def test_simulated_hospitals_and_standins_test_the_machinery_and_not_the_paper():
    def said_of(name: str) -> str:
        return answer_sentences.what_is_tested(read_study(Path(PROJECT / "studies" / f"{name}.yml")))

    assert "not the paper" in said_of("demo")
    assert "sim-a are simulated and supervised, selfsupervised, domain are stand-ins" in said_of("demo")
    assert "simulated" not in said_of("nih_sample")
    assert "stand-ins" in said_of("nih_sample")
    assert "not the paper" not in said_of("paper")
    assert "padchest" in said_of("paper")
