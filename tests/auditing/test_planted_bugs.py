from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dpcxr_core.auditing.planted_bugs import AS_CERTIFIED, PlantedRun, audit_each, planted_bugs


def test_each_planted_bug_differs_from_the_claim_and_the_claim_comes_first(claim):
    run = planted_bugs(claim)
    assert next(iter(run.items())) == (AS_CERTIFIED, PlantedRun(claim))
    assert len({*run.values()}) == len(run)
    assert run["half the noise"].specification.noise_std == claim.noise_std / 2
    assert run["noise divided twice"].specification.noise_std == claim.noise_std / claim.expected_batch_size
    assert run["divided by the drawn"] == PlantedRun(claim, denominator="drawn")
    outside = {name for name, each in run.items() if not each.in_family}
    assert outside == {"no clipping", "divided by the drawn", "shuffled batches"}


def test_audits_tell_the_bug_from_the_claim(start, data, config, claim):
    run = {name: planted_bugs(claim)[name] for name in (AS_CERTIFIED, "no clipping")}
    with ThreadPoolExecutor(1) as executor:
        audits = audit_each(
            start.model, data, config, run, start.input_transform, executor, n_canaries=300, audit_seed=0
        )
    assert {name: audit.refuted for name, audit in audits.items()} == {AS_CERTIFIED: False, "no clipping": True}
    assert all(audit.claim == claim for audit in audits.values())


def test_the_denominator_reaches_the_audit(start, data, config, claim):
    runs = {name: planted_bugs(claim)[name] for name in (AS_CERTIFIED, "divided by the drawn")}
    with ThreadPoolExecutor(1) as executor:
        right, wrong = audit_each(
            start.model, data, config, runs, start.input_transform, executor, n_canaries=60, audit_seed=0
        ).values()
    assert not right.scores.equals(wrong.scores)
    np.testing.assert_array_equal(right.included, wrong.included)
