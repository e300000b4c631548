import numpy as np
import pytest

from dpcxr_core.evaluation.transfer.abroad import APART, CASE_MIX, TOPICS, compared, mean_over_findings


def test_every_topic_has_keys_of_its_own_names(simulate):
    topics, covered = compared(simulate(), simulate(seed=3, moved=0.5), 0.6, 0.7)
    assert set(topics) == set(TOPICS)
    for topic, named in topics.items():
        assert {len(key) for key in named} == {len(TOPICS[topic])}
        assert {draws.shape for draws in named.values()} == {(101,)}
    assert topics[APART]["negatives",][0] > 0.5
    assert topics[CASE_MIX]["at home",][0] > topics[CASE_MIX]["left over",][0]
    assert covered == 1


def test_the_mean_over_findings_takes_those_that_are_whole():
    def named(value, other):
        return {("tpr",): np.full((2, 4), value), ("ppv",): np.full((2, 4), other)}

    undefined_in_one_seed = named(0.5, 0.1)
    undefined_in_one_seed["ppv",][1, 0] = np.nan
    by_finding = {"a": named(0.8, 0.2), "b": named(0.6, 0.4), "c": undefined_in_one_seed}
    mean, covered = mean_over_findings(by_finding)
    assert covered == ["a", "b"]
    assert mean["tpr",][0, 0] == pytest.approx(0.7)
    assert mean["ppv",].shape == (2, 4)
    assert mean_over_findings({"c": undefined_in_one_seed}) == mean_over_findings({}) == ({}, [])
