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
# (ablations)=
# # What does each choice do by itself?
#
# **Question.** If one thing is changed and all else stays, how does AUROC move?
#
# - **Reads** the runs of {ref}`study`; trains nothing
# - **Writes** nothing but evaluations not made yet
# - **Expect** a few choices that matter, and many that cannot be told from none
# - **Needs** one core, seconds
#
# Each {term}`ablation` is held against the cell of the main grid that differs from it in the fewest settings, with the
# same data set, initialisation, epsilon and seed. Where the list of what differs has one word, the difference is what that
# setting does. Where it has several, it is what they do together.

# %% tags=["parameters"]
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display

from dpcxr_core.planning.study_file import read_study
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import answer_figures, answer_sentences, answer_tables, plan_tables
from dpcxr_core.publishing.palette import init_colours
from dpcxr_core.study.ablating import ablations_table, without_main_cell
from dpcxr_core.study.handover import find_study
from dpcxr_core.study.scored_cells import scored_cells

figures.use_house_style()
found = find_study(Path(run_dir))
study, scored = read_study(found.file), scored_cells(found.folders, found.cells, found.places)
colours = init_colours(study.initialisations)

# %% [markdown]
# ## What was changed?

# %%
display(plan_tables.show_ablations(study))
display(Markdown(answer_sentences.missing(scored.cells)))

# %% [markdown]
# ## What did the change do?
#
# Macro AUROC on the internal test set, the ablation minus its main cell. Left of the line, the change made it worse.

# %% mystnb={"figure": {"name": "ablation-contrasts", "caption": "Macro AUROC of each ablation minus that of the main cell that differs from it the least, by initialisation. Thick bars: 95 % intervals over test patients. Thin bars: over other patients and other seeds, whose spread is pooled by data set, with and without privacy apart. Bars are not corrected for many comparisons, verdicts are."}, "image": {"alt": "Forest plot: under each ablation and what it changes, one row an initialisation and regime, with a point and two bars beside a line at zero. The table below holds every number."}}
table = ablations_table(scored)
fig = answer_figures.plot_contrasts(answer_tables.ablation_rows(table), colours, "initialisation", "macro AUROC gained")

# %%
display(Markdown(answer_sentences.counted(table, "are better than the main cell", "are worse")))
display(answer_tables.show_ablated(table))

# %% [markdown]
# The whole table is one family of tests. A patient as {term}`privacy unit` is a stronger promise at the same epsilon: a
# loss there may be the price of that promise.
#
# An ablation at an epsilon that the main grid lacks has nothing to stand against. Its AUROC is all that can be shown.

# %%
alone = without_main_cell(scored)
none = Markdown("No ablation that ran lacks a main cell here.")
display(answer_tables.show_without_main_cell(alone) if len(alone) else none)

# %% [markdown]
# ## What this does not show
#
# - One change at a time: two changes together may do more, or less, than their sum.
# - The other settings were chosen for the main grid. An ablation may do better with settings of its own.
# - Most ablations are tried at a single epsilon.
# - Where an initialisation is trained within the study, an ablation's images, normalisation and recipe are those of its
#   pretraining, too. The difference is that of both.

# %% [markdown]
# ## Record

# %%
study.name, len(found.folders), len(table)
