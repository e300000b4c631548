import pytest

from dpcxr_core.data.manifests import facts_of
from dpcxr_core.releasing.image_source import images_need_protection


@pytest.mark.parametrize(
    ("dataset", "is_open"),
    [
        ("simulated", True),
        *(("chestxray14", True), ("chestmnist", True)),
        *(("chexpert", False), ("mimic_cxr_jpg", False), ("taix_ray", False)),
    ],
)
def test_images_that_anybody_may_use_without_restriction_need_no_protection(dataset, is_open):
    assert images_need_protection(facts_of(dataset)) != is_open


def test_a_hospitals_own_images_need_protection():
    assert images_need_protection(None)
