# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (about-this-run)=
# # About this run
#
# **Question.** Which code, which versions and which parameters made the numbers of this book, and how long did it take?
#
# - **Reads** the executed chapters before this one
# - **Writes** nothing
# - **Expect** one row a chapter, with the commit that it ran from
# - **Needs** a second
#
# To repeat the book: `make book`. To change it: copy a file of `book/params`, edit it, and call
# `dpcxr book --profile FILE`.

# %% tags=["parameters"]
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import display
from myst_nb import glue

from dpcxr_core.study.handover import find_places, find_runs
from dpcxr_core.provenance import git_state, versions
from dpcxr_core.publishing import tables
from dpcxr_core.publishing.pages.about import run_provenance
from dpcxr_core.study.run_table import runs_table

# %% [markdown]
# ## Chapters

# %%
chapters = run_provenance(Path(run_dir) / "notebooks")
glue("minutes", f"{chapters['seconds'].sum() / 60:.1f}", display=False)
glue("commit", git_state(), display=False)
display(chapters[["chapter", "started", "seconds", "git_commit", "source_sha256"]].set_index("chapter"))

# %% [markdown]
# The chapters took {glue:text}`minutes` minutes in all, some of them side by side; this page was made from the commit
# {glue:text}`commit`. Chapters whose stores, weights or runs were cached took less than they would from nothing.

# %% [markdown]
# ## Parameters

# %%
display(chapters.set_index("chapter")[["parameters"]].style)

# %% [markdown]
# ## Versions

# %%
display(tables.two_columns(versions(), "package", "version"))

# %% [markdown]
# ## What each private run spent
#
# All runs below were trained on the same images, and a reader sees all of them. The epsilon of one run covers that
# run alone; a hospital that released all of them would spend more than the largest.

# %%
places = find_places(Path(run_dir))
display(tables.spending(runs_table(find_runs(Path(run_dir)))))

# %% [markdown]
# ## Record

# %%
places.public_dataset, places.test_datasets
