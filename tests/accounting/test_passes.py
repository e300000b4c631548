from dpcxr_core.accounting.passes import batches_per_pass


def test_whole_batches_of_a_pass_are_counted_exactly():
    assert [batches_per_pass(1 / n) for n in range(1, 2000)] == list(range(1, 2000))
    assert batches_per_pass(256 / 2400) == 9
