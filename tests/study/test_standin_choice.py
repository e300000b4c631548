from dataclasses import replace

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.study.standin_choice import STANDIN_TAGS, StartingPoints
from dpcxr_core.training.initialisation import STANDIN_LABELS


def test_tags_are_those_of_the_stand_ins_that_have_a_label():
    assert set(STANDIN_TAGS) == set(STANDIN_LABELS)


@pytest.mark.parametrize("changes", [{"domain_steps": 0}, {"n_scenes": 0}, {"tags": ("standin_other",)}])
def test_choice_that_makes_no_sense_is_refused_by_name(changes):
    with pytest.raises(UserError, match="domain_steps|n_scenes|standin_other"):
        replace(StartingPoints(), **changes)


def test_a_choice_is_made_also_where_the_file_of_images_is_not():
    assert StartingPoints(natural_images="nowhere.npz").natural_images == "nowhere.npz"
