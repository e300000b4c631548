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
# (capacity)=
# # What is capacity worth?
#
# **Question.** Does a network with more layers, or fewer, do better under privacy, and does the initialisation change
# that?
#
# - **Reads** the runs of {ref}`study`; trains nothing
# - **Writes** nothing but evaluations not made yet
# - **Expect** gains or losses of hundredths, and not the same for every initialisation
# - **Needs** one core, seconds
#
# More weights can hold more, but the noise grows with their number while the clipped gradient does not. Whether the
# first outweighs the second may differ by initialisation, each of which has weights for every network.

# %% tags=["parameters"]
reference: str = ""  # the initialisation that others are compared with; empty: the study's domain initialisation
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display

from dpcxr_core.planning.study_file import read_study
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import answer_figures, answer_sentences, answer_tables
from dpcxr_core.publishing.palette import init_colours
from dpcxr_core.study import scaling
from dpcxr_core.study.handover import find_study
from dpcxr_core.study.macro_aurocs import macro_aurocs
from dpcxr_core.study.scored_cells import scored_cells

figures.use_house_style()
found = find_study(Path(run_dir))
study, scored = read_study(found.file), scored_cells(found.folders, found.cells, found.places)
reference, colours = reference or study.roles.get("domain", ""), init_colours(study.initialisations)
Markdown(answer_sentences.missing(scored.with_new_head(*scaling.CAPACITY_GRIDS)))

# %% [markdown]
# ## Where do the networks stand?
#
# Lines that cross would mean that the best initialisation depends on the network.

# %% mystnb={"figure": {"name": "auroc-by-network", "caption": "Macro AUROC on the internal test set of each network, one line an initialisation. Bars: 95 % intervals over test patients and seeds."}, "image": {"alt": "Macro AUROC of each network, one line an initialisation with interval bars, one panel a level of privacy where there are several."}}
aurocs = macro_aurocs(scored, *scaling.CAPACITY_GRIDS).query("head == 'reset'")
fig = answer_figures.plot_along(aurocs, "architecture", "initialisation", colours)

# %% [markdown]
# ## What does the other network bring, and to whom more?
#
# Each other network minus the first of the main grid, of the same seed. Below, these gains minus that of the reference.

# %% mystnb={"figure": {"name": "gains-with-capacity", "caption": "Macro AUROC of the other network minus that of the first, and how much more of it than the reference gains. Thick bars: 95 % intervals over test patients. Thin bars: over other patients and other seeds, whose spread is pooled by data set, with and without privacy apart. Bars are not corrected for many comparisons, verdicts are."}, "image": {"alt": "Two forest plots: one row an initialisation and level of privacy, with a point and two bars beside a line at zero. The tables below hold every number."}}
gains, beside = scaling.gains_with_capacity(scored), scaling.gains_with_capacity(scored, reference)
rows = answer_tables.gain_rows(gains, beside, reference)
fig = answer_figures.plot_contrasts(rows, colours, "initialisation", "macro AUROC of the other network minus the first")

# %%
display(Markdown(answer_sentences.counted(gains, "gain with the other network", "lose")))
display(answer_tables.show_gains(gains, "gain with the other network"))

# %%
display(Markdown(answer_sentences.counted(beside, "gain more than the reference", "gain less")))
display(answer_tables.show_gains(beside, f"gain, less that of {reference}"))

# %% [markdown]
# ## What this does not show
#
# - Learning rate, clip norm and number of steps are the same for all networks. One that prefers others is at a
#   disadvantage.
# - Weights of two networks differ in their pretraining too, even by one recipe. For stand-ins that is one training each.
# - Depth is one way to be larger. Width, or larger images, are others.

# %% [markdown]
# ## Record

# %%
study.name, len(found.folders), reference
