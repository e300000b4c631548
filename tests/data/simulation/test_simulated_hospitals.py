import pytest

from dpcxr_core.data.simulation.simulated_hospitals import HOSPITALS, WORLDS

SHARES = ("ap_share", "female_share", "sex_missing", "age_missing", "label_flip")


def test_the_six_hospitals_play_the_six_roles():
    roles = {name: hospital.role.split(":")[0] for name, hospital in HOSPITALS.items()}
    assert roles == {
        "sim-source": "MIMIC-CXR",
        "sim-a": "ChestX-ray14",
        "sim-b": "VinDr-CXR",
        "sim-c": "UKA-CXR",
        "sim-d": "CheXpert",
        "sim-e": "PadChest",
    }
    assert all(name == hospital.name for name, hospital in HOSPITALS.items())


@pytest.mark.parametrize("name", HOSPITALS)
def test_shares_are_probabilities(name):
    hospital = HOSPITALS[name]
    assert all(0 <= getattr(hospital, share) <= 1 for share in SHARES)
    assert all(0 < prevalence < 0.5 for prevalence in hospital.prevalence)


def test_hospitals_differ_as_their_roles_say():
    b, c, others = (
        HOSPITALS["sim-b"],
        HOSPITALS["sim-c"],
        [HOSPITALS[n] for n in ("sim-source", "sim-a", "sim-d", "sim-e")],
    )
    assert b.ap_share == 0
    assert b.sex_missing > 0.5
    assert b.age_missing > 0.5
    assert c.ap_share > 0.9
    for other in others:
        assert sum(b.prevalence) < sum(other.prevalence) < sum(c.prevalence)
        assert b.age_mean < other.age_mean < c.age_mean
        assert b.acquisition.contrast > other.acquisition.contrast > c.acquisition.contrast
        assert other.acquisition.noise_std < c.acquisition.noise_std


def test_nothing_acts_in_the_null_world_and_all_in_the_declared_one():
    null, declared = WORLDS["null"], WORLDS["declared"]
    for name, value in vars(null).items():
        if name != "name":
            assert not any(value if isinstance(value, tuple) else [value])
            assert any(getattr(declared, name) if isinstance(value, tuple) else [getattr(declared, name)])
