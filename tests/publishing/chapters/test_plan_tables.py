import pandas as pd
import pytest

from dpcxr_core.planning.cells import cells_table
from dpcxr_core.planning.study_file import read_study
from dpcxr_core.publishing.chapters import plan_tables
from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def demo():
    return read_study(PROJECT / "studies" / "demo.yml")


@pytest.fixture(scope="module")
def paper():
    return read_study(PROJECT / "studies" / "paper.yml")


def test_initialisations_say_where_they_come_from(demo, paper):
    shown = plan_tables.show_initialisations(demo)
    assert shown.loc["selfsupervised"].to_list() == ["standin_selfsupervised", "self-supervised"]
    assert shown.loc["random", "role in the claims"] == ""
    assert plan_tables.show_initialisations(paper).loc["mimic_from_dinov3", "weights"].endswith("from dinov3")


def test_the_main_grid_is_shown_whole_and_ablations_by_what_they_change(demo):
    main = plan_tables.show_main_grid(demo)["value"]
    assert main["epsilons"] == "1, 3, 8, no privacy"
    assert main["n steps"] == "24"
    assert "expected passes" not in main.index
    changes = plan_tables.show_ablations(demo)["in place of the main grid's"]
    assert changes["per_patient"].startswith("initialisations: domain; own heads: none; epsilons: 8; units: patient")
    assert "optimizer: adamw" in changes["adamw"]
    assert "delta" not in " ".join(changes)


def test_a_shared_cell_counts_in_each_grid_and_once_in_all(demo):
    counts = plan_tables.show_counts(cells_table(demo))
    assert counts.loc["main"].to_list() == [30, 8, 1, 39]
    assert counts.loc["all, each once", "cells"] == len(cells_table(demo))
    both = pd.DataFrame({"grids": ["main, scale", "scale"], "kind": ["private", "non_private"]})
    assert plan_tables.show_counts(both)["cells"].to_dict() == {"main": 1, "scale": 2, "all, each once": 2}


def test_states_are_counted_by_grid():
    cells = pd.DataFrame({"grids": ["main, scale", "scale"], "state": ["done", "missing"]})
    shown = plan_tables.show_states(cells)
    assert shown.loc["scale"].to_list() == [1, 0, 1]
    assert shown.loc["main"].to_list() == [1, 0, 0]


def test_costs_say_what_they_rest_on():
    costs = pd.DataFrame({"basis": ["measured", "scaled", "measured"]})
    assert plan_tables.show_basis(costs)["cells"].to_dict() == {"measured": 2, "scaled": 1}


def test_missing_files_are_listed_without_their_steps():
    missing = pd.DataFrame({"needed_for": ["padchest"], "what": ["images"], "where": ["/data"], "steps": [["ask"]]})
    assert plan_tables.missing_files_in_words(missing) == "- padchest: images, looked for in `/data`"
    assert plan_tables.missing_files_in_words(missing[:0]) == "No file is missing."


def test_what_was_measured_at_scale_is_shown_where_it_was(tmp_path):
    assert plan_tables.show_at_scale(tmp_path).empty
    rows = [
        ("store", "size", 4.04e10, "bytes"),
        ("reading", "random", 512.3, "images/s"),
        ("reading", "open", 0.5, "s"),
    ]
    table = pd.DataFrame(rows, columns=["part", "quantity", "value", "unit"])
    table.to_csv(tmp_path / "at_scale_store.csv", index=False)
    assert plan_tables.show_at_scale(tmp_path)["measured"].to_list() == ["40.4 GB", "512 images/s", "0.5 s"]


def test_time_and_memory_of_preparing_are_shown_where_they_were_measured(tmp_path):
    assert plan_tables.show_preparing(tmp_path).empty
    row = {"images": 2000, "jobs": 2, "seconds": 27.1, "cpu_seconds": 149.4, "parent_bytes": 3e8, "worker_bytes": 1.6e8}
    pd.DataFrame([row | {"load": 1.0}]).to_csv(tmp_path / plan_tables.PREPARING, index=False)
    shown = plan_tables.show_preparing(tmp_path)
    assert shown.index.to_list() == ["2,000"]
    assert shown.to_numpy().tolist() == [["2", "27.1", "149", "0.3 GB", "0.2 GB"]]


def test_rates_of_loading_are_shown_where_they_were_measured(tmp_path):
    assert plan_tables.show_loading(tmp_path).empty
    row = {"what": "bytes", "source": "disk", "processes": 2, "images_per_second": 14038.7, "load": 1.2}
    pd.DataFrame([row]).to_csv(tmp_path / plan_tables.LOADING, index=False)
    assert plan_tables.show_loading(tmp_path).loc[("disk", "bytes", "2"), "images a second"] == "14,039"


def test_seconds_of_scheduling_are_shown_by_the_number_of_cells_where_they_were_measured(tmp_path):
    assert plan_tables.show_scheduling(tmp_path).empty
    table = pd.DataFrame({"cells": [500, 4000], "planning": [0.26, 2.1], "running": [50.0, 1400.4]})
    table.to_csv(tmp_path / plan_tables.SCHEDULING, index=False)
    shown = plan_tables.show_scheduling(tmp_path)
    assert shown.index.to_list() == ["500", "4,000"]
    assert shown.to_numpy().tolist() == [["0.3 s", "50.0 s"], ["2.1 s", "1,400.4 s"]]
