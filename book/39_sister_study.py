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
# (sister-study)=
# # Do our numbers look like those that were published?
#
# **Question.** The same group published how models trained in each of five hospitals do in every other. Do our runs order
# hospitals as theirs, and lose as much abroad?
#
# - **Reads** the runs of {ref}`study`, and the published matrix in `data_manifests/sister_study.yml`; trains nothing
# - **Writes** nothing but evaluations not made yet
# - **Expect** the published numbers, and beside them ours where a study runs on the same hospitals
# - **Needs** one core, seconds
#
# The paper's code is not public, only that of a follow-up; its values cannot be computed again. Those of an earlier
# study by the same group are published: same hospitals and findings, another network, other settings. That makes them a
# sanity target, which a right rebuild should resemble in order and in size, and not a result to reproduce.

# %% tags=["parameters"]
initialisation: str = ""  # whose models are shown, by its short name; empty: the study's domain initialisation
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display

from dpcxr_core.planning.study_file import read_study
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import sister_figures, sister_tables
from dpcxr_core.study import sister
from dpcxr_core.study.handover import find_study
from dpcxr_core.study.scored_cells import scored_cells

figures.use_house_style()
found = find_study(Path(run_dir))
study, scored = read_study(found.file), scored_cells(found.folders, found.cells, found.places)
shown = initialisation or study.roles.get("domain", "")

# %% [markdown]
# ## What was published?
#
# Along the diagonal a model is tested where it was trained. Two digits are published, and ranges of epsilon. Below, the mean
# of the diagonal minus that of all else.

# %% mystnb={"figure": {"name": "published-matrix", "caption": "Published macro AUROC of the sister study: rows trained on, columns tested on, one map a range of epsilon."}, "image": {"alt": "Four heat maps of AUROC, one for each range of epsilon, with a row for each training hospital and a column for each test hospital; the diagonal is brightest in most columns. The sentence below tells of a cell printed twice."}}
published = sister.published_matrix()
fig = sister_figures.plot_maps(sister_tables.published_maps(published))

# %%
display(Markdown(sister_tables.printed_twice(published)))
display(sister_tables.show_published_drops(sister.published_drops()))

# %% [markdown]
# ## What do our runs say?
#
# Means over seeds, from one initialisation.

# %% mystnb={"figure": {"name": "our-matrix", "caption": "Macro AUROC of our models from one initialisation: rows trained on, columns tested on, one map a level of privacy."}, "image": {"alt": "Heat maps of AUROC, one for each level of privacy, with a row for each data set trained on and a column for each tested on."}}
ours = sister.our_matrix(scored, shown)
fig = sister_figures.plot_maps(sister_tables.our_maps(ours))

# %% [markdown]
# ## Do they agree?
#
# Spearman's rank correlation over the cells of the hospitals in both, and the AUROC at home minus the mean abroad. The
# test exchanges whole hospitals, as cells of one row or column are not independent. Hard and easy test sets dominate
# the order: agreement says first of all that the same sets are hard.

# %%
agreement = sister.agreement(ours)
display(Markdown(sister_tables.agreement_in_words(agreement)))
display(sister_tables.show_agreement(agreement))

# %% [markdown]
# ## What this does not show
#
# - Network, image size, optimiser and clip norm differ. Agreement in order is what can be hoped for, not agreement in value.
# - Published values come without intervals, and epsilon was read off checkpoints.
# - Simulated hospitals have names and shifts of their own. Nothing about them can agree or disagree with a real one.

# %% [markdown]
# ## Record

# %%
study.name, len(found.folders), shown
