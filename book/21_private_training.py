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
# (private-training)=
# # What happens in one private training?
#
# **Question.** What does {term}`DP-SGD` do to one network, step by step, and what does it leave behind?
#
# - **Reads** the private hospital's store, one initialisation, one specification
# - **Writes** one run record (config, ledger, certificate, weights), its scores and evaluation, and `trained.json` in
#   `run_dir`, which names the record
# - **Expect** a check of the engine that passes, a loss that falls, and a test AUROC with its interval
# - **Needs** one core, under a minute
#
# All layers are trained. The gradient of every {term}`privacy unit` is clipped on its own before noise is added, so the
# gradients of single images must be right. {ref}`engine-check` shows how that is checked on this machine, for this
# network.
#
# A whole study is a grid of such runs: this chapter once for each cell, with `config_file`. Then it also tells of runs
# without privacy, and of a public model that was not trained at all.

# %% tags=["parameters"]
config_file: str = ""  # a run's choices as JSON, such as of a cell of a study; empty for those below
init_tag: str = "standin_domain"  # part of the name of one of the initialisations
target_epsilon: float = 8.0  # one of those calibrated for
recipe: dict = {"randomness": "seeded"}  # changes to the default recipe, by field; private images need "secret"
show_diagnostics: bool = True  # only for images that need no protection
show_images: bool = True  # false shows errors of simulated images only
errors_of: str = "pleural_effusion"  # the finding whose surest errors are shown
seed: int = 0  # seeds batches and noise
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from dpcxr_core.data.describing.origins import facts_of_store
from dpcxr_core.data.store import open_store
from dpcxr_core.study.evaluating import metrics_table, thresholds_of, values_of
from dpcxr_core.study.grid import private_run, recipe_from
from dpcxr_core.study.handover import find_initialisation, find_places, find_specification
from dpcxr_core.publishing import error_gallery, figures, one_run, sentences, tables
from dpcxr_core.running.config_file import read_config
from dpcxr_core.running.results import leave_trained
from dpcxr_core.study.runs import run_one
from dpcxr_core.study.scores import scores_on
from dpcxr_core.training.record import read_record

figures.use_house_style()
places = find_places(Path(run_dir))

# %%
config = read_config(Path(config_file)) if config_file else private_run(
    places.private_dataset, find_initialisation(Path(run_dir), init_tag), target_epsilon,
    find_specification(Path(run_dir), target_epsilon), recipe_from(recipe), seed=seed,
)
display(tables.show_choices(config))
Markdown(sentences.private_choices(config))

# %% [markdown]
# ## One run, from images to record

# %%
folder = run_one(config, places, progress=True)
leave_trained(Path(run_dir), folder)
record = read_record(folder)
Markdown(one_run.training_in_words(record))

# %% [markdown]
# (engine-check)=
# ## Was the engine right?
#
# These checks ran before the first private image was touched, on random images and a copy of the network, for images
# and for patients as units and with both ways of clipping. The first compares the sum of clipped gradients with one
# made image by image in double precision. A failed check stops the run.

# %%
display(one_run.checks(record))

# %% [markdown]
# ## What did the mechanism do?
#
# The ledger is public: it holds nothing computed from images. The diagnostics below are computed from private
# images and **not covered by the guarantee**; they are shown only where `show_diagnostics` says that they may be.

# %% mystnb={"figure": {"name": "training-loss", "caption": "Mean loss of what was drawn in each step. Not covered by the guarantee."}, "image": {"alt": "A noisy curve of training loss over steps."}}
diagnostics = one_run.diagnostics(folder, config)
fig, ax = plt.subplots(figsize=(6, 3.2))
figures.plot_loss(diagnostics if show_diagnostics else diagnostics.head(0), ax)

# %%
Markdown(one_run.diagnostics_in_words(diagnostics, config) if show_diagnostics else "Not shown.")

# %% [markdown]
# The divisor of a step is always the expected number of units. When nearly all gradients are clipped, the clip norm
# acts as a learning rate and nothing else.

# %% [markdown]
# ## What is promised?

# %%
Markdown("> " + one_run.promise(record))

# %% [markdown]
# ## How good is the model?
#
# AUROC by finding on the {term}`internal test set`, with 95 % intervals from a
# {term}`patient-clustered bootstrap`. The {ref}`comparison` asks whether that is any better than using no
# private image at all.

# %%
metrics = metrics_table([folder], places)
display(tables.auroc_by_finding(metrics, places.private_dataset))

# %% [markdown]
# The errors that the model is most sure of. Pictures and their scores are shown only where the data set's licence lets
# them be.

# %% mystnb={"figure": {"name": "confident-errors", "caption": "The errors that the run is most sure of. Above: without the finding, highest scores. Below: with it, lowest scores."}, "image": {"alt": "Two rows of small chest images, each under its score: above false positives, below false negatives. The sentence below gives the range of the scores. Where pictures may not be shown, a sentence that says so."}}
store = open_store(places.store(places.private_dataset))
threshold = values_of(thresholds_of(folder, places)).get(errors_of, float("nan"))
scores = scores_on(folder, places.private_dataset, places)
errors = error_gallery.confident_errors(scores, store.cohort, errors_of, threshold, n_each=6)
facts = facts_of_store(store) if show_images else None
fig = error_gallery.plot_errors(errors, store, facts)

# %%
Markdown(error_gallery.errors_in_words(errors, store, facts, errors_of, threshold))

# %% [markdown]
# ## What this does not show
#
# - One seed. Another draw of noise gives another model; the next chapter repeats runs.
# - The interval is about the test patients only.
# - The guarantee is about the weights and everything computed from them. The loss curve above is not such a
#   thing, and neither are the test scores of these patients.

# %% [markdown]
# ## Record

# %%
record.run_id, record.versions
