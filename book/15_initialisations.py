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
# (initialisations)=
# # Where does training start from?
#
# **Question.** What has each {term}`initialisation` seen, how was it pretrained, and what is it worth before any
# private image is used?
#
# - **Reads** the public hospital's store; generated scenes, or a file of natural images
# - **Writes** three cached sets of weights, and `initialisations.json` in `run_dir`
# - **Expect** one initialisation that has seen nothing, two that have seen no radiograph, one that has seen
#   public ones
# - **Needs** two cores, about two minutes the first time
#
# The study compares ImageNet supervision, DINOv3 {cite}`simeoni2025dinov3` and supervision on MIMIC-CXR. Their
# weights are large and partly gated. This book plays their parts with small {term}`stand-ins <stand-in>`. A
# stand-in says nothing about the quality of what it stands in for.

# %% tags=["parameters"]
natural_images: str = ""  # file of natural images; empty for generated scenes
n_scenes: int = 5000  # generated scenes
nondomain_steps: int = 500  # updates of the non-domain supervised stand-in
selfsupervised_steps: int = 250  # updates of the non-domain self-supervised stand-in
domain_steps: int = 340  # updates of the domain stand-in
architecture: str = "convnext_mini"  # the network that is pretrained
tags: list = ["standin_supervised", "standin_selfsupervised", "standin_domain"]  # which stand-ins
further: list = []  # names of further initialisations, such as "convnext_tiny.fb_in1k"
seed: int = 0  # seeds scenes, first weights and batches
show_probe: bool = True  # only for images that need no protection: the probe is fitted without privacy
jobs: int = 2  # processes
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from dpcxr_core.study.handover import find_places, leave_initialisations
from dpcxr_core.publishing import figures, tables
from dpcxr_core.study.starting_points import (
    StartingPoints, make_initialisations, pretraining_images, pretraining_losses, pretraining_table,
    probe_table,
)

figures.use_house_style()
places = find_places(Path(run_dir))
choice = StartingPoints(
    architecture=architecture, tags=tuple(tags),
    natural_images=natural_images, n_scenes=n_scenes, nondomain_steps=nondomain_steps,
    selfsupervised_steps=selfsupervised_steps, domain_steps=domain_steps, further=tuple(further), seed=seed,
)
tables.show_choices(choice)

# %% [markdown]
# ## What do the non-domain stand-ins see?
#
# No radiographs. The supervised one learns to name what is in the picture; the self-supervised one learns, by
# VICReg {cite}`bardes2022vicreg`, that two altered copies of a picture are the same picture.

# %% mystnb={"figure": {"name": "gallery-nondomain", "caption": "Images that the non-domain stand-ins are pretrained on."}, "image": {"alt": "A strip of small grey pictures without any radiograph among them."}}
shown = figures.plot_gallery(pretraining_images(choice, places, n=16), [""] * 16, ncols=8)

# %% [markdown]
# ## Pretraining, once
#
# Weights are cached under a key of recipe, images and code. What is cached is not trained again.

# %%
names = make_initialisations(choice, places, jobs=jobs)
leave_initialisations(Path(run_dir), names)
display(pretraining_table(names, places).style.format({"seconds": "{:.0f}"}))

# %% [markdown]
# ## Did pretraining learn anything?
#
# Look for curves that fall and then flatten. Losses of different tasks are not comparable.

# %% mystnb={"figure": {"name": "pretraining-losses", "caption": "Loss of each stand-in while it was pretrained; each has its own scale."}, "image": {"alt": "Three panels, one a stand-in: pretraining loss over steps."}}
losses = pretraining_losses(names, places)
fig, axes = plt.subplots(1, len(losses), figsize=(9, 3), squeeze=False)
for ax, (label, steps) in zip(axes.flat, losses.items(), strict=True):
    figures.plot_loss(steps, ax)
    ax.set_title(label, fontsize=9)

# %% [markdown]
# ## What are the features worth before any private training?
#
# A linear probe reads frozen features with ordinary logistic regression, fitted to the private training images
# **without privacy**: an analysis of the features, not a result that could be released. It is made only where
# `show_probe` says that the images need no protection.

# %%
if show_probe:
    probes = probe_table(names, places)
    best = probes["macro AUROC"]
    display(probes.T.style.format("{:.3f}"))
    display(Markdown(f"The best features by this measure: *{best.idxmax()}*, with a macro AUROC of {best.max():.3f}."))
else:
    display(Markdown("Not made, as these images need protection."))

# %% [markdown]
# Whether private training can use good features is another question: the probe rescales every feature, and noisy
# gradients cannot.

# %% [markdown]
# ## What this does not show
#
# - One pretraining of each kind was made. Another seed gives other weights, and that spread is not in any
#   interval of this book.
# - The domain stand-in comes from radiographs of a public hospital. If that hospital shared patients with the
#   private one, the certificate would say nothing about them.
# - Real weights plug in by name through `further`: `convnext_small.fb_in1k`, `convnext_small.dinov3_lvd1689m`, or
#   `convnext_small.file:PATH` for weights of your own. They want larger images and a GPU.

# %% [markdown]
# ## Record

# %%
names
