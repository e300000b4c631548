import math

import pandas as pd

from dpcxr_core.publishing.chapters import sister_tables
from dpcxr_core.study.sister import published_drops, published_matrix


def _agreement(*rows):
    columns = ["n_hospitals", "rank_correlation", "p", "published_drop", "our_drop", "reason"]
    return pd.DataFrame(rows, columns=["level", "architecture", "target_epsilon", *columns])


NOTHING = {"level": "0 < epsilon < 1", "n_hospitals": 0, "reason": "nothing is comparable: no hospital of theirs"}
FOUND = {
    **{"level": "3.5 < epsilon < 10", "architecture": "small", "target_epsilon": 8.0, "n_hospitals": 5},
    **{"rank_correlation": 0.7, "p": 0.025, "published_drop": 0.09, "our_drop": 0.05, "reason": ""},
}


def test_maps_have_one_value_a_cell():
    maps = sister_tables.published_maps(published_matrix())
    assert maps.groupby("finding").size().to_list() == [25] * 4
    assert (maps["value"] == maps["auroc"]).all()
    rows = [{"architecture": "small", "target_epsilon": epsilon, "value": 0.8} for epsilon in (8.0, math.inf)]
    assert sister_tables.our_maps(pd.DataFrame(rows))["finding"].to_list() == ["epsilon 8", "no privacy"]


def test_agreement_shows_both_losses_or_says_why_not():
    shown = sister_tables.show_agreement(_agreement(NOTHING, FOUND))
    assert shown.loc[("0 < epsilon < 1", ""), "note"].startswith("nothing is comparable")
    assert shown.iloc[1].to_list() == [5, "0.700", "0.025", "+0.090", "+0.050", ""]
    assert shown.index[1] == ("3.5 < epsilon < 10", "small, epsilon 8")


def test_published_losses_are_shown_by_level():
    shown = sister_tables.show_published_drops(published_drops())["AUROC lost abroad"]
    assert shown.index.to_list() == list(dict.fromkeys(published_matrix()["level"]))
    assert shown.str.startswith("+0.").all()


def test_sentence_says_that_nothing_is_comparable_before_anything_else():
    assert "Nothing is comparable" in sister_tables.agreement_in_words(_agreement(NOTHING))
    assert "In 1 of 1 comparisons" in sister_tables.agreement_in_words(_agreement(NOTHING, FOUND))
    # below 0.05 by itself, but not as one of three
    assert "In 0 of 3 comparisons" in sister_tables.agreement_in_words(_agreement(*[FOUND] * 3))
    unranked = {**FOUND, "p": math.nan, "n_hospitals": 2}
    assert "too few" in sister_tables.agreement_in_words(_agreement(unranked))


def test_cells_printed_twice_are_told_with_both_values():
    sentence = sister_tables.printed_twice(published_matrix())
    assert "padchest tested on padchest at 3.5 < epsilon < 10: 0.89 in the matrix, 0.86 elsewhere" in sentence
    assert sister_tables.printed_twice(published_matrix().head(5)) == "No cell is printed twice."
