import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.data.describing.leak import leak_report


def _ids(counts):
    return pd.Series(np.repeat([f"p{patient}" for patient in range(len(counts))], counts))


def test_split_of_images_leaks_patients_with_several_and_only_those():
    ids = _ids([1] * 4000 + [2] * 4000 + [12] * 400)
    report = leak_report(ids, test_fraction=0.2, rng=np.random.default_rng(0))
    assert list(report.index) == ["1", "2", "10-19", "all"]
    assert report.loc["1", "leaked_share"] == 0
    # 1,600 test images in pairs: standard error 0.01
    assert report.loc["2", "leaked_share"] == pytest.approx(0.8, abs=0.05)
    assert report.loc["10-19", "leaked_share"] == 1
    assert report["expected_share"].to_dict() == pytest.approx(
        {"1": 0, "2": 0.8, "10-19": 1 - 0.2**11, "all": (8000 * 0.8 + 4800 * (1 - 0.2**11)) / 16800}
    )
    assert report.loc["all", "patients"] == 8400
    assert report.loc["all", "test_images"] == report["test_images"].iloc[:-1].sum()
    assert report.loc["all", "leaked"] == report["leaked"].iloc[:-1].sum()


def test_measured_shares_average_to_the_expected_one():
    ids = _ids([1, 2, 3, 7] * 50)
    draws = [leak_report(ids, test_fraction=0.3, rng=np.random.default_rng(seed)).loc["all"] for seed in range(60)]
    expected = draws[0]["expected_share"]
    shares = np.array([each["leaked_share"] for each in draws])
    standard_error = shares.std(ddof=1) / np.sqrt(len(shares))
    assert abs(shares.mean() - expected) < 5 * standard_error
    n = np.array([1, 2, 3, 7])
    with_itself = np.average(1 - 0.3**n, weights=n)  # as if the image that tests could train too
    assert abs(shares.mean() - with_itself) > 5 * standard_error


@settings(derandomize=True, deadline=None)
@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=30), seed=st.integers(0, 5))
def test_split_of_patients_never_leaks(counts, seed):
    report = leak_report(_ids(counts), test_fraction=0.4, rng=np.random.default_rng(seed))
    shares = report["by_patient"].dropna()
    assert (shares == 0).all()
    assert report.loc["all", "images"] == sum(counts)


def test_leak_without_any_test_image_is_undefined_and_an_impossible_fraction_refused():
    report = leak_report(_ids([2]), test_fraction=1e-9, rng=np.random.default_rng(0))
    assert np.isnan(report.loc["all", "leaked_share"])
    with pytest.raises(UserError, match=r"between 0 and 1; got 1\.0"):
        leak_report(_ids([2]), test_fraction=1.0, rng=np.random.default_rng(0))
