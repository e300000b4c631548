"""The options of ``dpcxr collect``, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = "dpcxr collect aachen/tables boston/tables --out merged"


def add_collect_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``dpcxr collect`` to ``parser``."""
    parser.add_argument("tables", type=Path, nargs="+", help="folders that dpcxr study left, named tables")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder for all of them together")


def run_collect(options: argparse.Namespace) -> int:
    """Exit code 0, once the tables are merged.

    Raises:
        UserError: As ``merge_tables``.
    """
    from dpcxr_core.collecting.exchange import merge_tables, origins
    from dpcxr_core.collecting.tables_folder import read_tables

    found = read_tables(merge_tables(options.tables, options.out))
    states = found.tables["cells"]["state"].value_counts()
    counted = ", ".join(f"{states.get(state, 0)} {state}" for state in ("done", "failed", "missing"))
    print(f"{options.out}: {len(found.records)} runs, every certificate computed anew; cells: {counted}")
    if "claims" in found.tables:
        print(
            "claims and verdicts: those of each part, named in the column tables; none is made of all runs together, "
            "as that needs resamples of every run, which stay in the hospitals"
        )
    for folder in options.tables:
        for name in origins(read_tables(folder)):
            print(f"  {name}: of {folder}")
    return 0
