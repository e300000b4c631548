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
# (explorer)=
# # Slide epsilon
#
# **Question.** What happens to AUROC, and to the gaps between groups, when epsilon changes?
#
# - **Reads** the records of {ref}`comparison`; trains nothing
# - **Writes** nothing
# - **Expect** a chart that answers the controls, here on the page and in JupyterLab
# - **Needs** a browser; no kernel and no network
#
# Choose a data set, an initialisation and a fairness metric, then move the slider with the mouse or the arrow keys.
# Every number was computed beforehand; the page only looks them up.

# %% tags=["parameters"]
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from dpcxr_core.handover import find_places, find_runs
from dpcxr_core.publishing.explorer import show_explorer
from dpcxr_core.study import metrics_table, runs_table

places = find_places(Path(run_dir))
folders = find_runs(Path(run_dir))
metrics, runs = metrics_table(folders), runs_table(folders)
metrics = metrics[metrics["dataset"] != places.null_dataset]  # no hospital that one could visit

# %% [markdown]
# ## What does epsilon buy?

# %%
explorer = show_explorer(metrics, runs)
explorer

# %% [markdown]
# ## How to read it
#
# - The curve is the macro {term}`AUROC` of the chosen initialisation, mean over seeds; points are seeds; the band is
#   the envelope of their 95 % intervals over test patients. Thin lines are the other initialisations.
# - The dashed line is the {term}`public-only model`: no private image, no epsilon spent.
# - The bars below are the groups. The gap named beside them has its own interval; when that crosses zero, the data do
#   not show a difference.
# - Groups with fewer than ten positive or negative images are left out.
#
# In JupyterLab, `explorer.epsilon_index` holds the slider's position.

# %% [markdown]
# ## What this does not show
#
# - Nothing between the marked epsilons was trained; the lines only connect.
# - The numbers are about these test patients and these stand-ins.

# %% [markdown]
# ## Record

# %%
len(runs), len(metrics)
