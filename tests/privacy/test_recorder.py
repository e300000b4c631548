import torch
from torch import nn

from dpcxr_core.privacy.copies import ReshapedVector
from dpcxr_core.privacy.records import InstantiatedGradients


def test_any_object_that_receives_can_stand_at_the_other_end():
    class Everything:
        def __init__(self):
            self.received = []

        def receive(self, record):
            self.received.append(record)

    recorder, vector = Everything(), nn.Parameter(torch.ones(3))
    copies = ReshapedVector(vector, 2, recorder).reshape(1, 3, 1)
    (copies * torch.arange(6.0).view(2, 3, 1)).sum().backward()
    (record,) = recorder.received
    assert isinstance(record, InstantiatedGradients)
    assert record.rows.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert vector.grad is None
