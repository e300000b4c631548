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
# (data-scale)=
# # What are more patients worth?
#
# **Question.** How much AUROC does each doubling of the training patients bring under privacy, and does the initialisation
# change that?
#
# - **Reads** the runs of {ref}`study`; trains nothing
# - **Writes** nothing but evaluations not made yet
# - **Expect** curves that rise or hardly move, and with few seeds not many gains that can be told from zero
# - **Needs** one core, seconds
#
# Under privacy a larger training set helps twice: there is more to learn from, and at the same batch size and
# epsilon each step needs less noise. Smaller sets are nested in larger ones, by whole patients, and the noise is calibrated
# anew for each.

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
Markdown(answer_sentences.missing(scored.with_new_head(*scaling.DATA_GRIDS)))

# %% [markdown]
# ## How does AUROC follow the share of patients?
#
# Towards the right there are more patients, and less noise in each step. Both change together, as they do in practice.

# %% mystnb={"figure": {"name": "auroc-over-share", "caption": "Macro AUROC on the internal test set against the share of the training patients, one line an initialisation. Bars: 95 % intervals over test patients and seeds."}, "image": {"alt": "Macro AUROC against the share of training patients, one line an initialisation with interval bars, one panel a level of privacy where there are several."}}
aurocs = macro_aurocs(scored, *scaling.DATA_GRIDS).query("head == 'reset'")
fig = answer_figures.plot_along(aurocs, "fraction", "initialisation", colours)

# %% [markdown]
# ## What does each doubling bring, and to whom more?
#
# The slope of the line of least squares through a seed's runs, over the logarithm of the share. Below, slopes minus that of
# the reference, of the same seeds and shares.

# %% mystnb={"figure": {"name": "gains-with-data", "caption": "Macro AUROC gained with each doubling of the training patients, and how much more of it than the reference gains. Thick bars: 95 % intervals over test patients. Thin bars: over other patients and other seeds, whose spread is pooled by data set, with and without privacy apart. Bars are not corrected for many comparisons, verdicts are."}, "image": {"alt": "Two forest plots: one row an initialisation and level of privacy, with a point and two bars beside a line at zero. The tables below hold every number."}}
gains, beside = scaling.gains_with_data(scored), scaling.gains_with_data(scored, reference)
rows = answer_tables.gain_rows(gains, beside, reference)
fig = answer_figures.plot_contrasts(rows, colours, "initialisation", "macro AUROC with each doubling")

# %%
display(Markdown(answer_sentences.counted(gains, "gain with more patients", "lose")))
display(answer_tables.show_gains(gains, "gain with each doubling"))

# %%
display(Markdown(answer_sentences.counted(beside, "gain more than the reference", "gain less")))
display(answer_tables.show_gains(beside, f"gain, less that of {reference}"))

# %% [markdown]
# ## What this does not show
#
# - A straight line through a few shares says nothing about larger sets than these. Curves may flatten.
# - Where a study states steps, a smaller set takes as many, and its patients are drawn more often. Where it states passes,
#   a smaller set takes fewer steps. The two rules give other slopes.
# - How much of a gain is less noise and how much is more to learn from is not parted here.

# %% [markdown]
# ## Record

# %%
study.name, len(found.folders), reference
