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
# (generalisation)=
# # Does the model work in another hospital?
#
# **Question.** How much AUROC is lost on hospitals that training never saw, and does privacy or the
# initialisation change the loss?
#
# - **Reads** the records of {ref}`comparison`; trains further runs where `train_datasets` names hospitals
# - **Writes** the records of these runs
# - **Expect** one row a training hospital, one column a test hospital
# - **Needs** two cores, about a minute
#
# A single private hospital trains the models of the comparison. {term}`External <external test set>` hospitals differ
# in view, exposure, prevalence and age at once; this chapter measures the sum of these shifts.

# %% tags=["parameters"]
train_datasets: list = ["sim-c", "sim-e"]  # further hospitals that train a model of their own
target_epsilon: float = 8.0  # of the further runs
recipe: dict = {"randomness": "seeded"}  # changes to the default recipe, by field; private images need "secret"
jobs: int = 2  # processes of one thread each
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from dpcxr_core.grid import private_run, recipe_from
from dpcxr_core.handover import find_initialisations, find_places, find_runs, find_specification
from dpcxr_core.publishing import figures, sentences, tables
from dpcxr_core.study import metrics_table, run_many, runs_table

figures.use_house_style()
places = find_places(Path(run_dir))
domain = find_initialisations(Path(run_dir))[-1]
specification = find_specification(Path(run_dir), target_epsilon)

# %% [markdown]
# ## What is lost on the way to another hospital?
#
# Models of the private hospital, tested at home and abroad. A positive number is AUROC lost.

# %%
folders = find_runs(Path(run_dir))
runs = runs_table(folders)
drop = tables.external_drop(tables.conditions(metrics_table(folders), runs), places)
display(drop.style.format("{:+.3f}"))

# %%
Markdown(sentences.drop(drop))

# %% [markdown]
# ## Train here, test there
#
# The domain initialisation, trained with privacy in each hospital in turn. Read along a row: one model. A cell
# below one half is worse than chance and most often means that two hospitals use one word for two things.

# %%
configs = [
    private_run(name, domain, target_epsilon, specification, recipe_from(recipe))
    for name in train_datasets if name != places.private_dataset
]
further = run_many(configs, places, n_jobs=jobs) if configs else []
home = places.runs / runs.query("init_name == @domain and target_epsilon == @target_epsilon and head == 'reset'").iloc[0]["run_id"]
transfer = tables.transfer(metrics_table([home, *further]), runs_table([home, *further]), places)

# %% mystnb={"figure": {"name": "transfer", "caption": "Macro AUROC: rows trained on, columns tested on."}, "image": {"alt": "Heat map of macro AUROC by training hospital (rows) and test hospital (columns)."}}
fig, ax = plt.subplots(figsize=(7, 0.7 * (1 + len(further)) + 1.6))
figures.plot_transfer_heatmap(transfer, ax)

# %% [markdown]
# ## Which findings travel worst?
#
# A macro mean can hide one finding that fails. Here is each, for the domain initialisation at this epsilon.

# %%
display(tables.findings_by_dataset(metrics_table([home])).style.format("{:.3f}", na_rep="undefined"))

# %% [markdown]
# ## What this does not show
#
# - No setting was chosen by what this page shows. {ref}`tuned-or-not` says what such a choice would cost.
# - Shifts of view, exposure, prevalence and label definition come together and are not told apart here.
# - One seed for each further hospital.
# - With a single data set there is no external hospital, and the tables above hold the internal one only.

# %% [markdown]
# ## Record

# %%
[folder.name for folder in further]
