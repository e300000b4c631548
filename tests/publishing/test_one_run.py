import pytest

from dpcxr_core.publishing import one_run
from dpcxr_core.training.record import read_record


@pytest.fixture
def of_kind(tiny_study):
    """The first run of a kind: its folder and record."""

    def find(kind):
        index = next(i for i, config in enumerate(tiny_study.configs) if config.kind == kind)
        folder = tiny_study.folders[index]
        return folder, read_record(folder)

    return find


def test_private_run_has_checks_a_promise_and_clipped_gradients(of_kind):
    folder, record = of_kind("private")
    assert len(one_run.checks(record)) == len(record.selfcheck) > 1
    assert one_run.promise(record) == record.privacy_statement
    steps = one_run.diagnostics(folder, record.config)
    assert len(steps) == record.config.privacy.n_steps
    assert "times the clip norm" in one_run.diagnostics_in_words(steps, record.config)
    assert "took" in one_run.training_in_words(record)


def test_run_without_privacy_promises_nothing(of_kind):
    folder, record = of_kind("non_private")
    assert one_run.checks(record)["passed"].to_list() == ["not run, as this run needs no privacy engine"]
    assert one_run.promise(record).startswith("Nothing is promised")
    steps = one_run.diagnostics(folder, record.config)
    batch = record.config.ordinary.batch_size
    said = one_run.diagnostics_in_words(steps, record.config)
    assert said == f"A step drew {batch} images; no gradient was clipped, and no noise was added."


def test_public_only_model_was_not_trained(of_kind):
    folder, record = of_kind("public_only")
    steps = one_run.diagnostics(folder, record.config)
    assert steps.empty
    assert {"step", "loss"} <= set(steps)
    assert "nothing was trained" in one_run.diagnostics_in_words(steps, record.config)
    assert one_run.training_in_words(record).startswith("Nothing was trained")
    assert "has seen no private image" in one_run.promise(record)
