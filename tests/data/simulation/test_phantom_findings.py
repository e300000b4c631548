from dataclasses import replace

import numpy as np
import pytest

from dpcxr_core.data.simulation import phantom_findings as findings
from tests.data.simulation.test_phantom_anatomy import BUILD, PLANE, _column, _draws, _lungs

FINDINGS = ("effusion", "consolidation", "plates")


def _drawn(finding, severity, side=1):
    air, image = _lungs(), _draws()
    if finding == "effusion":
        return findings.effusion(PLANE, BUILD, air, _column(severity), image)
    if finding == "consolidation":
        return findings.consolidation(PLANE, air, _column(severity), image)
    return findings.plates(PLANE, BUILD, air, _column(severity), _column(side), image)


@pytest.mark.parametrize("finding", FINDINGS)
def test_finding_of_severity_nought_is_absent(finding):
    assert _drawn(finding, 0).max() == 0


@pytest.mark.parametrize("finding", FINDINGS)
def test_finding_grows_with_severity_and_fills_at_most_everything(finding):
    mild, severe = _drawn(finding, 0.5), _drawn(finding, 1.1)
    assert (mild.sum(axis=(1, 2)) > 0).all()
    assert (severe.sum(axis=(1, 2)) > 1.1 * mild.sum(axis=(1, 2))).all()
    assert severe.max() <= 1


def test_effusion_climbs_the_chest_wall():
    fluid = _drawn("effusion", 0.8) * (_lungs().hull > 0.5)
    x, y = PLANE.x[0], PLANE.y[0]
    sides = 0
    for wet in fluid > 0.5:
        for side in (-1, 1):
            lateral, middle = wet & (side * x > 0.62), wet & (np.abs(side * x - 0.36) < 0.08)
            if middle.any():
                sides += 1
                assert y[lateral].min() < y[middle].min() - 0.05  # y points down
    assert sides >= len(fluid)


@pytest.mark.parametrize("side", [-1, 1])
def test_plates_lie_low_on_their_own_side(side):
    bands = _drawn("plates", 1.0, side)
    own = np.broadcast_to(np.sign(PLANE.x) == side, bands.shape)
    assert bands[own].sum() > 10 * bands[~own].sum()
    assert (bands * (PLANE.y < -0.3)).sum() < 0.05 * bands.sum()


def test_consolidation_stays_in_the_lungs():
    assert (_drawn("consolidation", 1.1) * (_lungs().hull == 0)).max() == 0


def test_lookalikes_are_fainter_than_findings():
    look = findings.lookalikes(PLANE, _lungs(), _draws())
    assert 0.005 < look.std() < 0.05
    assert np.abs(look).max() < 0.3


def test_devices_are_worn_by_the_supine_in_the_stated_share():
    wearing = []
    for supine in (0, 1):
        build = replace(BUILD, supine=_column(supine))
        assert findings.devices(PLANE, build, 0.0, _draws()).max() == 0
        wearing.append((findings.devices(PLANE, build, 1.0, _draws()) > 0.05).mean())
    assert wearing[1] > wearing[0]
