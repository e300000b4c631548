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
# (private-data)=
# # Did the private data help at all?
#
# **Question.** Is a model that was trained on private images with privacy better than the same weights without any private
# image?
#
# - **Reads** the runs of {ref}`study`; trains nothing
# - **Writes** nothing but evaluations not made yet
# - **Expect** a dashed line to beat, and more conditions below it than one would like
# - **Needs** one core, seconds
#
# Weights that were trained on public radiographs can label findings as they are: the {term}`public-only model`, which costs no
# epsilon. Training on private images may go on from it with its head kept, or begin a new head, as is
# usual where weights come from elsewhere. A study that leaves this model out cannot say whether its private images
# were needed.

# %% tags=["parameters"]
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display

from dpcxr_core.planning.study_file import read_study
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import answer_figures, answer_sentences, answer_tables
from dpcxr_core.publishing.palette import SERIES
from dpcxr_core.study.handover import find_study
from dpcxr_core.study.macro_aurocs import macro_aurocs
from dpcxr_core.study.private_data import GRIDS, against_public_only, kept_minus_reset
from dpcxr_core.study.scored_cells import scored_cells

figures.use_house_style()
found = find_study(Path(run_dir))
study, scored = read_study(found.file), scored_cells(found.folders, found.cells, found.places)
heads = {"reset": SERIES[0], "kept": SERIES[1]}
Markdown(answer_sentences.missing(scored.of_grids(*GRIDS)))

# %% [markdown]
# ## Where does the public-only model stand?
#
# Where the line of training with the head kept stays below the dashed one, training made the model worse: the noise took
# more than the images gave. Under a new head, what the old one knew is lost, too.

# %% mystnb={"figure": {"name": "kept-or-new-head", "caption": "Macro AUROC on the internal test set against epsilon, of initialisations that know the findings already: with their own head kept, and with a new one. Dashed: the public-only model. Bars: 95 % intervals over test patients and seeds."}, "image": {"alt": "Macro AUROC against epsilon, one line for training that keeps the head and one for a new head, with a dashed line for the model that saw public data only."}}
aurocs = macro_aurocs(scored, "main")
given = aurocs[aurocs["target_epsilon"].isna()]
trained = aurocs[aurocs["initialisation"].isin(given["initialisation"]) & aurocs["target_epsilon"].notna()]
fig = answer_figures.plot_along(trained, "target_epsilon", "head", heads, given)

# %% [markdown]
# ## Does training on private images beat it?
#
# The same initialisation with and without private images, on the same resamples of test patients, by epsilon and, where
# the study has them, shares of the training patients. Right of the line, private images helped.

# %% mystnb={"figure": {"name": "against-public-only", "caption": "Macro AUROC after training on private images minus that of the public-only model of the same initialisation. Points: means over seeds. Thick bars: 95 % intervals over test patients. Thin bars: over other patients and other seeds, whose spread is pooled by data set, with and without privacy apart. Bars are not corrected for many comparisons, verdicts are."}, "image": {"alt": "Forest plot: one row a level of privacy, share of patients and way to begin the head, with a point and two bars beside a line at zero. The table below holds every number."}}
table = against_public_only(scored)
fig = answer_figures.plot_contrasts(answer_tables.private_rows(table), heads, "head", "macro AUROC gained")

# %%
private = table[table["target_epsilon"] < float("inf")]
Markdown(answer_sentences.counted(private, "beat a public-only model", "are worse than one"))

# %% [markdown]
# That sentence counts conditions of all initialisations with privacy; the table has those without, too. One family of tests.

# %%
display(answer_tables.show_private(table))

# %% [markdown]
# ## Is the head worth keeping?
#
# A new head has everything to learn, and each of its gradients is clipped and noised. The difference is that of the same
# initialisation, epsilon and seed.

# %%
kept = kept_minus_reset(scored)
display(Markdown(answer_sentences.counted(kept, "are better with the head kept", "are better with a new head")))
by = {"initialisation": kept["initialisation"], "where": answer_tables.names_of(kept)}
display(answer_tables.show_contrasts(kept, by, "head kept minus new head"))

# %% [markdown]
# ## What this does not show
#
# - A public-only model is tested where the private images come from. In a hospital that differs more from the public one,
#   private images may help more.
# - That private training does not beat this model here does not mean that it never would: with more patients, more
#   steps or better settings the curve may lie higher. {ref}`data-scale` shows one of these.
# - Which settings were tried matters too: {ref}`tuned-or-not`.

# %% [markdown]
# ## Record

# %%
study.name, len(found.folders), len(given)
