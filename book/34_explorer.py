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
# **Question.** What happens to a metric, to the gaps between groups and to transfer when epsilon changes?
#
# - **Reads** the records of {ref}`comparison` and their metrics; trains nothing
# - **Writes** nothing, or metrics that no chapter has asked for yet
# - **Expect** charts that answer the controls, here on the page and in JupyterLab
# - **Needs** a browser; no kernel and no network, except for the last section
#
# Choose what is measured and which model, then move the slider with the mouse or the arrow keys. Every number was
# computed beforehand; the page only looks it up.

# %% tags=["parameters"]
run_dir: str = "../runs/demo"  # where results go
jobs: int = 2  # processes for metrics that are not there yet
manifest: str = ""  # YAML file that describes your own data set, if the study is of one

# %% tags=["hide-input"]
from pathlib import Path

from dpcxr_core.data.describing.origins import facts_of_store
from dpcxr_core.data.store import open_store
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.handover import find_places, find_runs
from dpcxr_core.publishing.explorers.explorer import show_explorer
from dpcxr_core.publishing.explorers.live_explorer import show_live_explorer
from dpcxr_core.study.run_table import runs_table

places = find_places(Path(run_dir))
folders = find_runs(Path(run_dir))
metrics, runs = metrics_table(folders, places, n_jobs=jobs), runs_table(folders)
metrics = metrics[metrics["dataset"] != places.null_dataset]  # no hospital that one could visit

# %% [markdown]
# ## What does epsilon buy?

# %%
explorer = show_explorer(metrics, runs)
explorer

# %% [markdown]
# ## How to read it
#
# - The curve is the chosen model: mean over seeds; rings are seeds; the band is the envelope of their 95 % intervals
#   over test patients. Thin lines are the other initialisations.
# - The dashed line is the {term}`public-only model`: no private image, no epsilon spent.
# - Below the curve stands which values are good. AUROC, AUPRC and the rates ask whether the scores rank and decide;
#   {term}`Brier score`, ECE, {term}`calibration slope` and {term}`calibration in the large` whether they can be
#   believed as probabilities. The last two err to both sides of an ideal, dotted across their curve.
# - Bars are groups, and below them the same model on every test set. A gap has its own interval; where that of a
#   signed difference crosses zero, the data do not show one. A gap between largest and smallest is never negative:
#   hold it against the grey box, the gap to be expected with no true difference.
# - A second model stands beside the first, on the same axes. Their difference is named without an interval: two models
#   tested on the same patients are compared, with a test, in {ref}`comparison` and {ref}`fairness`.
# - The table holds every number drawn, and the link brings the whole state back.
# - Groups in which fewer than ten patients have a positive image, or fewer than ten a negative one, are not shown.
#
# In JupyterLab, `explorer.state` holds what is chosen.

# %% [markdown]
# ## What if the threshold were another?
#
# Thresholds, age bands and label policies are choices too. In JupyterLab, the controls below compute the answer anew
# from the scores of one run, with few resamples, while you move them. A page cannot: it would have to hold the scores
# of single patients. The picture shows what they look like there.
#
# ```{figure} _assets/live_explorer.png
# :name: live-explorer
# :alt: Menus for run, test set, finding, metric, groups and threshold rule, fields for age bands and threshold, and below them bars of the TPR of each group with intervals.
# The controls in JupyterLab, here with a threshold set by hand.
# ```

# %% tags=["hide-input"]
manifest_path = Path(manifest) if manifest else None
facts = {name: facts_of_store(open_store(places.store(name)), manifest_path) for name in places.test_datasets}
show_live_explorer(folders, places, facts)

# %% [markdown]
# ## What this does not show
#
# - Nothing between the marked epsilons was trained; the lines only connect.
# - The numbers are about these test patients and these initialisations.
# - Whoever looks at many groups finds a gap by chance: {ref}`fairness` corrects for that, this chapter does not.

# %% [markdown]
# ## Record

# %%
len(runs), len(metrics)
