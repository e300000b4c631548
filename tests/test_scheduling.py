"""The benchmark of planning and scheduling: that it does what it says, on few cells."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import scheduling
from dpcxr_core.planning.cells import cells_of
from dpcxr_core.planning.study_file import read_study
from dpcxr_core.running.by_snakemake import snakemake_is_here


def test_growth_is_the_power_of_the_number_of_cells():
    cells = pd.Series([500, 1000, 2000])
    for power in (1.0, 2.0):
        assert scheduling.growth(cells, 0.01 * cells**power) == pytest.approx(power)


@pytest.mark.parametrize("n_cells", [20, 100])
def test_study_has_as_many_cells_as_asked_for(n_cells, tmp_path):
    assert len(cells_of(read_study(scheduling.study_file_of(n_cells, tmp_path)))) == n_cells


@pytest.mark.slow
@pytest.mark.skipif(not snakemake_is_here(), reason="needs the extra cluster: Snakemake")
def test_every_phase_is_timed_and_every_cell_scheduled():
    row = scheduling.measured(20, 2)
    assert set(row) == {"cells", "planning", "dry run", "running", "nothing to do"}
    assert np.isfinite(list(row.values())).all()
    assert row["planning"] < row["running"]
