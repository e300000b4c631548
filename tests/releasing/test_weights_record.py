from dataclasses import replace

from dpcxr_core.config import FINDINGS
from dpcxr_core.releasing.weights_record import weights_record_of
from dpcxr_core.study.starts import start_of_run
from dpcxr_core.training.record import read_record


def test_weights_expect_what_they_were_trained_on(tiny_study, private_run):
    record = read_record(private_run)
    stated = weights_record_of(record, tiny_study.places)
    assert stated.input_transform == start_of_run(record.config, tiny_study.places).input_transform
    assert stated.head_outputs == FINDINGS
    assert stated.provenance["run_id"] == record.run_id
    unnormalised = replace(record, config=replace(record.config, normalisation="none"))
    transform = weights_record_of(unnormalised, tiny_study.places).input_transform
    assert transform.mode == "fixed"
    assert set(transform.mean) == {0.0}
