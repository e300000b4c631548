import numpy as np

from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.evaluation.transfer.conflicts import BELOW_ONE_HALF, LIKELY_CONFLICT, label_conflicts


def test_a_finding_that_means_the_opposite_is_flagged_and_a_weak_one_is_not(simulate):
    same, weak = simulate(n=800), simulate(n=800, signal=0.05, seed=3)

    def aurocs(scores, y_true):
        return [weighted_aurocs(y_true, scores.y_score, scores.weights)]

    cells = {
        ("a", "a", "atelectasis"): aurocs(same, same.y_true),
        ("b", "b", "atelectasis"): aurocs(same, 1 - same.y_true),
        ("b", "a", "atelectasis"): aurocs(same, 1 - same.y_true),
        ("a", "b", "pneumonia"): aurocs(same, same.y_true),
        ("a", "b", "atelectasis"): aurocs(same, 1 - same.y_true),
        ("a", "c", "atelectasis"): aurocs(weak, weak.y_true),
        ("a", "c", "pneumonia"): np.full((1, 101), np.nan),
    }
    table = label_conflicts(cells, dict.fromkeys(cells, 400)).set_index(["train_dataset", "dataset", "finding"])["note"]
    assert table["a", "b", "pneumonia"] == ""
    assert table["a", "b", "atelectasis"] == LIKELY_CONFLICT
    # what learnt nothing at home says nothing about labels elsewhere
    assert table["b", "b", "atelectasis"] == table["b", "a", "atelectasis"] == BELOW_ONE_HALF
    assert table["a", "c", "atelectasis"] == "not distinguishable from chance"
    assert table["a", "c", "pneumonia"] == "undefined"
