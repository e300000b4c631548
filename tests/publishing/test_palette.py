from dpcxr_core.publishing.palette import SERIES, init_colours
from dpcxr_core.training.initialisation import STANDIN_LABELS


def test_a_label_of_the_study_keeps_its_colour_whatever_else_is_drawn():
    labels = ["random", *STANDIN_LABELS.values()]
    together = init_colours(labels)
    assert all(init_colours([label, "other"])[label] == together[label] for label in labels)


def test_colours_differ_up_to_seven_labels():
    labels = ["random", *STANDIN_LABELS.values(), "mine", "yours", "theirs"]
    assert len(set(init_colours(labels).values())) == len(labels) == 7


def test_order_is_that_of_the_labels():
    assert list(init_colours(["mine", "random", "mine"])) == ["mine", "random"]


def test_colours_of_a_series_are_those_of_the_initialisations_without_grey():
    labels = ["random", *STANDIN_LABELS.values(), "mine", "yours", "theirs"]
    assert set(SERIES) == set(init_colours(labels).values()) - set(init_colours(["random"]).values())
    assert len(set(SERIES)) == len(SERIES)
