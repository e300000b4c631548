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
# (representation)=
# # What does private training do to the representation?
#
# **Question.** Where private training loses {term}`AUROC`, is what tells the findings apart gone from the network's
# features, or is it there and not used?
#
# - **Reads** the records of {ref}`comparison`, first seed only; the initialisations; images and labels of the private
#   hospital; trains no network
# - **Writes** embeddings, kept in the cache and never shown
# - **Expect** a displacement at every epsilon, and probes above the models' own heads where epsilon is small
# - **Needs** two cores, under a minute
#
# Each image passes through a network up to its last layer, the linear head. What comes out there, scaled to length 1,
# is its {term}`embedding`. The measures are those of {cite}`tayebi2026geometry`, as its public code computes them, but for
# the effective dimension, which is corrected for the number of images, and the probe of standardised features, which is
# added.
#
# The probes of this chapter read private labels **without privacy**. They are an analysis for those who may see the
# images; no certificate covers them, and none of this may be released where the images need protection.

# %% tags=["parameters"]
n_train: int = 1500  # most training images that a probe is fitted to
n_test: int = 1000  # most test images that everything is measured on
jobs: int = 2  # processes of one thread each
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from dpcxr_core.study.handover import find_places, find_runs
from dpcxr_core.publishing import figures, tables
from dpcxr_core.publishing.chapters import representation_figures as drawn
from dpcxr_core.publishing.chapters import representation_tables as told
from dpcxr_core.study.representations import RepresentationChoice, representation_table

figures.use_house_style()
places = find_places(Path(run_dir))
choice = RepresentationChoice(n_train=n_train, n_test=n_test)
tables.show_choices(choice)

# %% [markdown]
# ## How far does training move the images?
#
# The {term}`displacement` is zero where nothing moved, two where an embedding is at right angles to what it was, and
# four at most. Look whether it grows with epsilon: more noise means more random steps, and also shorter ones.

# %%
measured = representation_table(find_runs(Path(run_dir)), places, choice, n_jobs=jobs)

# %% mystnb={"figure": {"name": "displacement", "caption": "Mean squared distance between an image's embedding before training and after it, by epsilon. Bars: 95 % intervals over test patients."}, "image": {"alt": "Displacement against epsilon and without privacy, one line an initialisation, with interval bars."}}
fig, ax = plt.subplots(figsize=(7, 4.2))
drawn.plot_measure_over_levels(measured, "displacement", ax)

# %%
Markdown(told.displacement_in_words(measured))

# %% [markdown]
# ## Over how many directions do the images spread?
#
# The {term}`effective dimension` is near one where all images differ along a single direction. A network that learns
# five findings needs few; noise spreads images over many.

# %% mystnb={"figure": {"name": "effective-dimension", "caption": "Effective dimension of the test images' embeddings, before training, by epsilon, and without privacy. Bars: 95 % intervals over test patients, by jackknife."}, "image": {"alt": "Effective dimension before training, at each epsilon and without privacy, one line an initialisation, with interval bars."}}
fig, ax = plt.subplots(figsize=(7, 4.2))
drawn.plot_measure_over_levels(measured, "effective_dimension", ax)

# %%
display(told.show_measures(measured, ["effective_dimension_change"]))
Markdown(told.dimension_in_words(measured))

# %% [markdown]
# From few images the effective dimension comes out too small, and from a bootstrap resample, which holds patients
# twice, smaller still. Values here are corrected for that, and intervals leave patients out instead of repeating them.

# %% [markdown]
# ## Is more to be read from the features than the network reads?
#
# A {term}`linear probe` is a new head, fitted to frozen embeddings without privacy. Where it stands to the right of
# the network's own head, the features hold more than the head uses.

# %% mystnb={"figure": {"name": "probe-and-head", "caption": "Macro AUROC on the same test images of each model's own head (full) and of a linear probe of its features (open). Bars: 95 % intervals over test patients; those of one model are paired, so see the table for their difference."}, "image": {"alt": "Two points with interval bars for each model, its own head and the linear probe; one row a model, macro AUROC along the axis."}}
fig, ax = plt.subplots(figsize=(7, 1.5 + 0.3 * (measured["measure"] == "end_to_end_auroc").sum()))
drawn.plot_probe_and_head(measured, ax)

# %% [markdown]
# ## How much of the loss is the head's?
#
# The {term}`utilisation gap` is the probe's AUROC minus that of the own head. It is paired: the same images, the same
# resamples of patients.

# %%
display(told.show_measures(measured, ["end_to_end_auroc", "probe_auroc", "utilisation_gap"]))
Markdown(told.gap_in_words(measured))

# %% [markdown]
# The published probe has a penalty that is strong for embeddings of length 1. A probe of standardised features can
# read directions along which images differ little.

# %%
display(told.show_measures(measured, ["standardised_probe_auroc", "standardised_utilisation_gap"]))
Markdown(told.probe_in_words(measured))

# %% [markdown]
# ## Do these measures go with AUROC?
#
# Spearman's rank correlation of each measure with the AUROC of the own head, over the trained models. The utilisation
# gap holds that same AUROC with a minus sign, so a negative correlation is built into it: where all probes read the
# same it is minus one. Models of one row share initialisation, images and labels, and are few; no test is made of it.

# %%
display(told.show_associations(told.associations(measured)))

# %% [markdown]
# ## What this does not show
#
# - One seed. Intervals are of the test patients; another training, or other images for the probe, may move a value by
#   more.
# - A gap is no promise that a better head could be had with privacy: the probe paid nothing for its labels.
# - A probe fitted to fewer images than the network was trained on reads too little, so that gaps are rather too small.
# - Displacement depends on the axes. Turning all features together moves every image and changes nothing that a head
#   could not undo.
# - What goes with AUROC need not bring it about. Stand-ins say nothing about the weights that they stand in for.

# %% [markdown]
# ## Record

# %%
measured.groupby("kind")["init_label"].nunique().to_dict(), int(measured["n"].max())
