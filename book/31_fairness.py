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
# (fairness)=
# # Does privacy treat groups of patients differently?
#
# **Question.** How large are the gaps between women and men, and between the old and the young, and does the
# initialisation change them?
#
# - **Reads** the records of {ref}`comparison`; trains nothing
# - **Writes** nothing
# - **Expect** gaps with intervals; in the simulated null world, where groups do not differ, gaps near zero
# - **Needs** one core, under a minute
#
# A gap without an interval is an anecdote: with 25 positives in a group, equal classifiers differ by several points.
# This chapter assesses differences. It does not call any model fair.

# %% tags=["parameters"]
finding: str = "macro"  # or one finding
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from dpcxr_core.handover import find_places, find_runs
from dpcxr_core.publishing import figures, sentences, tables
from dpcxr_core.publishing.results import metrics_with_runs
from dpcxr_core.study import metrics_table, runs_table

figures.use_house_style()
places = find_places(Path(run_dir))
folders = find_runs(Path(run_dir))
runs = runs_table(folders)
metrics = metrics_table(folders)
conditions = tables.conditions(metrics, runs)

# %% [markdown]
# ## How many patients stand behind each group?
#
# A group with fewer than ten positive or ten negative images gets no number, and the reason is stated.

# %%
display(tables.group_sizes(conditions, places.private_dataset))

# %% [markdown]
# ## How large are the AUROC differences?
#
# Signed: women minus men, oldest minus youngest. An interval that crosses zero does not show a difference.

# %% mystnb={"figure": {"name": "gap-forest", "caption": "AUROC difference by sex (F-M) and age (oldest minus youngest) for each initialisation and epsilon, with the envelope of the seeds' 95 % intervals."}, "image": {"alt": "Forest plot of AUROC differences: one row an initialisation and epsilon, one panel a group column, horizontal interval bars around zero."}}
choice = (places.private_dataset, ["auroc_difference"], finding)
gaps = tables.gaps(conditions, *choice)
by_seed = tables.gaps(metrics_with_runs(metrics, runs), *choice)
fig, axes = plt.subplots(1, 2, figsize=(10, 0.15 * len(gaps) + 1.5), sharey=True)
for ax, (_, rows) in zip(axes, by_seed.groupby("group_column", sort=False), strict=True):
    figures.plot_gap_forest(rows, ax)

# %%
Markdown(sentences.gaps(gaps))

# %% [markdown]
# ## What do the gaps look like where the truth is zero?
#
# In the null world the same hospital's images are drawn without any effect of sex or age, so the true difference
# is zero for every model. Intervals should cross zero about nineteen times in twenty; the conditions share their
# test patients, so they miss together. Real radiographs have no null world, and the table below is then empty.

# %%
null_gaps = tables.gaps(conditions, places.null_dataset, ["auroc_difference"], finding)
display(tables.show_gaps(null_gaps))

# %%
Markdown(sentences.gaps(null_gaps))

# %% [markdown]
# ## What do decisions look like?
#
# At the {term}`decision threshold`, frozen on validation images, the {term}`TPR difference` and the
# {term}`equalized odds difference` are never negative: even with no true difference they are above zero, the more so
# the smaller the groups. An interval that touches zero does not show a difference.

# %%
decisions = tables.gaps(conditions, places.private_dataset, tables.DECISION_METRICS, finding)
display(tables.show_gaps(decisions))

# %% [markdown]
# ## What this does not show
#
# - No setting was chosen by what this page shows. {ref}`tuned-or-not` says what such a choice would cost.
# - Groups are as recorded. Nothing here speaks for patients whose sex or age is missing.
# - Many gaps are shown at once and none is corrected for that. Expect one interval in twenty to miss zero by chance.
# - A difference in AUROC is not a harm by itself, and its absence is no proof of fairness.

# %% [markdown]
# ## Record

# %%
len(folders), places.test_datasets
