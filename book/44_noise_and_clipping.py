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
# (noise-and-clipping)=
# # What do noise and clipping each do?
#
# **Question.** Private training clips gradients and adds noise. What does each of them alone do to AUROC, and what to
# the guarantee?
#
# - **Reads** the private hospital's store, one initialisation, one specification
# - **Writes** one run record an arm and seed; an arm that diverges leaves none
# - **Expect** one arm of four with a guarantee; that clipping alone promises nothing, and neither does noise alone
# - **Needs** two cores, about two minutes
#
# All arms take the same number of steps, draws and divisor, and where there is noise it has the same standard
# deviation: the {term}`noise multiplier` times the {term}`clip norm`, also where nothing is clipped.

# %% tags=["parameters"]
target_epsilon: float = 8.0  # one of those calibrated for; gives noise, steps, batch and clip norm of all arms
init_tag: str = "standin_domain"  # part of the name of one of the initialisations
seeds: list = [0]  # each repeats all arms
n_shown: int = 256  # training images whose gradient norms are measured
n_ascent_steps: int = 60  # steps of gradient ascent that look for an image with a long gradient
tuned_over: list = [2, 10, 100]  # runs among which a setting might have been chosen
show_diagnostics: bool = True  # gradient norms of training images: only for images that need no protection
recipe: dict = {"randomness": "seeded"}  # changes to the default recipe, by field; private images need "secret"
jobs: int = 2  # processes of one thread each
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from dataclasses import replace
from pathlib import Path

import torch
from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from myst_nb import glue

from dpcxr_core.study import claims
from dpcxr_core.accounting.tuning import cost_of_tuning
from dpcxr_core.data.images import to_input
from dpcxr_core.data.store import labels_of, open_store, rows_of
from dpcxr_core.study.grid import ablation_runs, chosen_on_simulated, recipe_from
from dpcxr_core.study.handover import find_initialisation, find_places, find_specification
from dpcxr_core.privacy.contributions import climb, contributions, gradient_norms
from dpcxr_core.publishing import figures, sentences, tables
from dpcxr_core.publishing.chapters import mechanism_figures, mechanism_tables
from dpcxr_core.study.runs import run_many_that_may_diverge
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.optimisation import loss_per_image

figures.use_house_style()
places = find_places(Path(run_dir)).at_home
init_name = find_initialisation(Path(run_dir), init_tag)

# %% [markdown]
# ## Four arms
#
# Only the first is private. The others are experiments, to which the engine gives no certificate: where `recipe` asks
# for secret randomness, as for images that need protection, they are not trained, and no gradient norm is shown.

# %%
PRIVATE = "noise and clipping"
private, chosen = find_specification(Path(run_dir), target_epsilon), recipe_from(recipe)
shows_norms = show_diagnostics and not chosen.needs_protection
arms = {
    PRIVATE: private,
    "clipping without noise": replace(private, noise_multiplier=0.0),
    "noise without clipping": replace(private, clipping="none"),
    "neither": replace(private, noise_multiplier=0.0, clipping="none"),
}
display(mechanism_tables.show_guarantees(arms))

# %% [markdown]
# ## Why noise alone promises nothing
#
# The guarantee rests on the noise being large *compared with what one image can do*. Below, gradient norms of training
# images for the initialisation with its own head, in clip norms, and what single made-up images contribute: a random
# one, the same made a thousand times brighter, and one found by gradient ascent on its pixels.

# %%
store = open_store(places.store(places.private_dataset))
rows = rows_of(store, "train")[:n_shown]
start = build_initialisation(
    init_name, weights_dir=places.weights, seed=0, head="kept", image_size=store.description["size"]
)
pictures = to_input(store.images[rows], start.input_transform)
labels = torch.from_numpy(labels_of(store, rows))
norms_at_start = gradient_norms(start.model, pictures, labels, loss_per_image) / private.max_grad_norm
over = [f"{value:.3g}" for value in norms_at_start.quantile(torch.tensor([0.5, 0.95, 1.0]).double())]
quantiles = dict(zip(["median", "95th percentile", "largest"], over, strict=True)) if shows_norms else {}

# %%
display(tables.two_columns(quantiles, "gradient norm of an image", "in clip norms"))
crafted = torch.randn(pictures[:1].shape, generator=torch.Generator().manual_seed(0)), torch.ones_like(labels[:1])
made_up = {
    "random": crafted[0], "random, brighter": 1000 * crafted[0],
    "by gradient ascent": climb(start.model, *crafted, loss_per_image, n_steps=n_ascent_steps),
}
unbounded = contributions(start.model, made_up, crafted[1], loss_per_image, private.max_grad_norm)
glue("most-unclipped", f"{unbounded['without_clipping'].max():,.0f}", display=False)
glue("noise-std", f"{private.noise_multiplier:.2f}", display=False)
display(mechanism_tables.show_contributions(unbounded))

# %% [markdown]
# In the same unit the noise of a step has a standard deviation of {glue:text}`noise-std` in each direction. Clipped,
# no image reaches beyond one, the sensitivity that an accountant is told. Without clipping one of these reaches
# {glue:text}`most-unclipped`, and this is only the worst that was looked for. A network that normalises its activations
# does not answer to brightness, but that is a habit of the network and no bound: gradient ascent finds its way.

# %% [markdown]
# ## What do they do to AUROC?
#
# An unclipped step is as long as its gradients are, so at the same learning rate the unclipped arms take longer steps.
# That is a difference of length as well as of clipping. To tell them apart, these two arms are trained once more, with
# the learning rate divided by the median norm above: *shorter steps*. That shortens the noise as well.

# %%
rate = chosen.learning_rate_times_noise_multiplier / private.noise_multiplier
typical = max(float(norms_at_start.nanmedian()), 1.0)
trained = {PRIVATE: private} if chosen.needs_protection else arms
shorter = {f"{name}, shorter steps": each for name, each in trained.items() if each.clipping == "none"}
shared = {"recipe": chosen, "seeds": seeds}
configs = ablation_runs(
    places.private_dataset, init_name, trained, learning_rate=rate, target_epsilons={PRIVATE: target_epsilon}, **shared
) | ablation_runs(places.private_dataset, init_name, shorter, learning_rate=rate / typical, **shared)

# %%
finished = run_many_that_may_diverge(list(configs.values()), places, n_jobs=jobs)
folders = dict(zip(configs, finished, strict=True))

# %%
aurocs = mechanism_tables.aurocs_by_name(folders, places, n_jobs=jobs)
differences = claims.against_one_of(folders, PRIVATE, places)
norms = mechanism_tables.norms_by_step(folders if shows_norms else {})

# %% mystnb={"figure": {"name": "auroc-by-arm", "caption": "Macro AUROC on the internal test set by arm. Points: seeds, with 95 % intervals over test patients. Lines: means. The same learning rate in all arms but those of shorter steps."}, "image": {"alt": "One row of points with error bars for each arm."}}
fig, ax = plt.subplots(figsize=(7, 4.2))
mechanism_figures.plot_aurocs(aurocs, ax)

# %%
display(mechanism_tables.show_arms(aurocs, differences, PRIVATE, norms))
Markdown(mechanism_tables.arms_in_words(differences, PRIVATE))

# %% [markdown]
# ## How long are the steps?
#
# Clipped gradients are one clip norm long at most. Unclipped ones are as long as the figure says, and steps of that
# length may break a network: where gradients become short while AUROC is low, the network answers to nothing any more.

# %% mystnb={"figure": {"name": "norms-by-arm", "caption": "Median gradient norm of the images of each step, before clipping, in clip norms. Dotted: one clip norm. Not covered by any guarantee."}, "image": {"alt": "Curves of the median gradient norm over steps, one for each arm and seed."}}
fig, ax = plt.subplots(figsize=(7, 3.8))
mechanism_figures.plot_norms(norms, ax)

# %% [markdown]
# ## Tuning is not free
#
# A setting that was chosen as the best of several runs on private images has spent more than one run. If the number of
# runs is drawn at random and only the best is released, epsilon grows slowly {cite}`papernot2022hyperparameter`; if it
# is fixed, or if later runs depend on earlier ones, all of them count.

# %%
costs = [cost_of_tuning(private, runs) for runs in tuned_over]
display(mechanism_tables.show_tuning(costs))
Markdown(sentences.tuning(costs[-1], chosen_on_simulated(chosen, [private])))

# %% [markdown]
# ## What this does not show
#
# - The learning rate was chosen for training with noise and clipping, and not for the other arms. This is what the
#   parts of the mechanism do to *this* recipe, not how well each arm could do.
# - One seed unless more are set, one initialisation, one small network. A larger network spreads the same noise over more weights.
# - An arm without a guarantee is not thereby known to leak: the chapters on auditing look for that.
# - A score that chooses among runs costs nothing only if it rests on images outside the guarantee; validation patients
#   have no guarantee.

# %% [markdown]
# ## Record

# %%
{name: each.noise_std for name, each in arms.items()}, len([each for each in finished if each is not None])
