import math
from dataclasses import replace

import pandas as pd

from dpcxr_core.evaluation.transfer.abroad import OPERATING_POINTS
from dpcxr_core.evaluation.transfer.conflicts import label_conflicts
from dpcxr_core.publishing.chapters import transfer_sentences
from tests.publishing.conftest import FINDING, an_abroad, draws_around, some_drops


def test_drop_sentence_names_the_least_and_the_greatest():
    sentence = transfer_sentences.drop(some_drops())
    assert "The loss to the mean of 2 hospitals runs from" in sentence
    assert "from +0.030 (*domain, epsilon 8*) to +0.080 (*random, epsilon 8*)" in sentence
    assert transfer_sentences.drop(some_drops().query("dataset == 'c'")).startswith("The loss to c runs")
    assert "one data set only" in transfer_sentences.drop(some_drops()[:0])
    assert "No loss can be measured" in transfer_sentences.drop(some_drops().assign(value=math.nan))


def test_moved_sentence_counts_verdicts():
    table = pd.DataFrame({"value": [0.1, -0.1, 0.1], "p_adjusted": [0.01, 0.02, 0.2]})
    assert "Of 3 comparisons, 1 lose more abroad, 1 lose less, and 1 cannot" in transfer_sentences.moved(table)
    assert "one data set only" in transfer_sentences.moved(table[:0])


def test_conflict_sentence_counts_cells():
    values = {FINDING: 0.3, "pneumonia": 0.5, "cardiomegaly": 0.8, "no_finding": math.nan}
    cells = {("a", "b", finding): draws_around(value) for finding, value in values.items()}
    sentence = transfer_sentences.conflicts(label_conflicts(cells, dict.fromkeys(cells, 50)))
    assert "Of 4 cells, 1 lie below one half beyond chance, 1 cannot be told from one half, and 1 are undef" in sentence
    assert sentence.endswith("Undefined: no finding from a to b.")
    del cells["a", "b", "no_finding"]
    assert transfer_sentences.conflicts(label_conflicts(cells, dict.fromkeys(cells, 50))).endswith(
        "The others are above one half."
    )


def test_loss_and_shift_sentences_quote_the_tables():
    lost = "b loses +0.800 that re-tuning does not get back and +0.900 to the operating point"
    assert lost in transfer_sentences.losses(an_abroad())
    some = an_abroad()
    points = some.tables[OPERATING_POINTS]
    points.loc[points["finding"] == "macro", "reason"] = "mean over no_finding; one seed"
    assert lost.replace("b", "b, mean over no_finding", 1) in transfer_sentences.losses(some)
    assert "Of 2 pairs" in transfer_sentences.shifts(an_abroad())
    assert "positives score otherwise than at home in 1, and negatives in 1" in transfer_sentences.shifts(an_abroad())
    nothing = an_abroad(hospitals=())
    assert transfer_sentences.losses(nothing) == transfer_sentences.shifts(nothing) == transfer_sentences.ONE_HOSPITAL
    nothing = replace(nothing, unmeasured={("b", FINDING): "not labelled there"})
    assert transfer_sentences.losses(nothing) == transfer_sentences.NOTHING_MEASURED


def test_what_is_not_measured_is_named_with_its_reason():
    assert "Every finding" in transfer_sentences.unmeasured(an_abroad())
    short = replace(an_abroad(), unmeasured={("b", "pleural_effusion"): "fewer than 10 positives"})
    assert transfer_sentences.unmeasured(short) == "Not measured: pleural effusion in b (fewer than 10 positives)."
