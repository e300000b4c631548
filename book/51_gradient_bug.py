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
# (gradient-bug)=
# # Where do per-image gradients of ConvNeXt go wrong?
#
# **Question.** {term}`DP-SGD` needs the gradient of every single image. Does Opacus {cite}`yousefpour2021opacus`,
# the usual library for this in PyTorch, compute it right for ConvNeXt, and what follows where it does not?
#
# - **Reads** the private hospital's store, one specification, the stored surveys of `benchmarks/results`
# - **Writes** `gradient_bug.json` in `run_dir`
# - **Expect** three or more wrong layers in every ConvNeXt tried, without a warning; one image beyond the clip norm; a
#   cure of a few lines after which all layers are right
# - **Needs** two cores, under two minutes
#
# Opacus made private training in PyTorch usable at all, and this project measures itself against it. The fault shown
# here is one assumption in one function. It can be repeated, and mended, from this page.

# %% tags=["parameters"]
networks: list = ["timm/convnext_mini", "timm/convnextv2_atto"]  # tried live; more are stored
surveys: str = "benchmarks/results"  # folder of the stored surveys of two versions
init_names: list = ["convnext_mini.random"]  # to train from, by each engine
target_epsilon: float = 8.0  # whose noise the trainings take; one of those calibrated for
n_steps: int = 6  # of each training, at most those calibrated for
seeds: list = [0]  # of the trainings; [] for none
recipe: dict = {"randomness": "seeded"}  # changes to the default recipe, by field; private images need "secret"
jobs: int = 2  # processes of one thread each
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from dataclasses import replace
from pathlib import Path

import opacus
import torch
from IPython.display import Code, Markdown, display
from matplotlib import pyplot as plt
from myst_nb import glue
from opacus.utils.tensor_utils import unfold2d
from timm.layers import LayerNorm2d

from dpcxr_core.files import write_json
from dpcxr_core.study.grid import private_run, recipe_from
from dpcxr_core.study.handover import find_places, find_specification
from dpcxr_core.other_engines.comparison import compare_trainings, survey_networks
from dpcxr_core.other_engines.crafted_images import contributions_of_unseen
from dpcxr_core.other_engines.gradient_faults import opacus_sum
from dpcxr_core.other_engines.gradient_survey import OURS
from dpcxr_core.other_engines.opacus_engine import METHODS
from dpcxr_core.privacy.clipping_checks import book_kept_sum
from dpcxr_core.publishing import figures, tables
from dpcxr_core.publishing.chapters import gradient_figures, gradient_tables

figures.use_house_style()
places = find_places(Path(run_dir))
by_hooks_or_ghost = [method for method in METHODS if method.mode != "functorch"]
glue("opacus", opacus.__version__, display=False)

# %% [markdown]
# ## Which layers are wrong?
#
# Random images go through networks with random weights. The gradient of each image is compared with the same image
# alone, in double precision, by plain autograd. *As shipped* means Opacus {glue:text}`opacus`, mode "hooks", its
# default; *contiguous* means with the cure of {ref}`gradient-bug-cure`. Below the figure: how many parameters are
# wrong of how many, with the relative error of the sum of clipped gradients; then the wrong parameters of one
# network.

# %%
survey = survey_networks(networks, by_hooks_or_ghost, n_jobs=jobs)

# %% mystnb={"figure": {"name": "layer-errors", "caption": "Relative error of the per-image gradients of every parameter, from stem to head. Rounding lies below a hundred-thousandth; at one, the error is as large as the gradient."}, "image": {"alt": "One panel a network; a few orange crosses near one, where Opacus as shipped is wrong, and all blue points far below, where its inputs were made contiguous."}}
gradient_figures.plot_layer_errors(survey.layers)
plt.show()

# %%
display(gradient_tables.show_cases(survey.cases))
display(gradient_tables.show_wrong_layers(survey.layers, networks[0]))

# %% [markdown]
# Every layer that is wrong is a convolution. In ConvNeXt as usually built these are the three that halve the image.
# The others escape by accident: a block with a layer scale owns a bare parameter, so Opacus hands the whole block to
# `vmap` and never asks its rule for convolutions. Where there is no layer scale, as in ConvNeXt V2 and in the small
# network of this book, the convolutions inside the blocks are wrong as well. An error of exactly one is a gradient of
# zeros: such a layer learns nothing but noise. Mode "ghost" fails altogether where a block without layer scale gives
# a linear layer its input in four dimensions, which `compute_linear_norm_sample` passes over. The stored
# survey below has larger networks. This project's engine refuses torchvision's, whose layer norm it has no rule for.

# %% [markdown]
# ## Why: strides
#
# The rule for convolutions cuts the input into patches by `unfold2d` in `opacus/utils/tensor_utils.py`. It pads the
# input and takes `as_strided` with the strides `W_pad` between rows and `1` between columns. That is right for a
# tensor laid out channels first, and for no other. The LayerNorm of ConvNeXt, in timm as in torchvision, permutes,
# normalises and permutes back, and so returns a view laid out channels last. The convolution itself reads any layout;
# the rule does not.

# %%
normalised = LayerNorm2d(8)(torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))).detach()
options = {"kernel_size": (2, 2), "padding": (0, 0), "stride": (2, 2), "dilation": (1, 1)}
taken, right = unfold2d(normalised, **options), torch.nn.functional.unfold(normalised, **options)
of_a_copy = unfold2d(normalised.contiguous(), **options)
tables.two_columns({
    "strides of the input (image, channel, row, column)": normalised.stride(),
    "strides that unfold2d goes by": (*normalised.stride()[:2], normalised.shape[-1], 1),
    "patches equal those of torch": "yes" if torch.equal(taken, right) else "NO",
    "patches of a contiguous copy equal those of torch": "yes" if torch.equal(of_a_copy, right) else "NO",
}, "one layer norm, then unfold2d", "value")

# %% [markdown]
# Channels last, a step of one column passes over all channels. A view that takes it for a step of one number stays
# within the first rows of the image, and reads the numbers there in the wrong places. With wide padding, as around a
# depthwise convolution, the first rows are padding, and all it reads is zero. The shape is right, so nothing warns.
# The rules for convolutions in one and three dimensions cut by torch's own functions and do not have the fault.

# %% [markdown]
# ## What ghost mode makes of it
#
# In mode "hooks" the wrong gradient is also the one that is clipped and summed, and the view never leaves its own
# image. So a contribution stays within the {term}`clip norm`: the guarantee holds and only training suffers. Mode "ghost" {cite}`li2022large` takes the norm
# from the wrong gradient and then sums the right one. **Then the norm need not bound what is summed, and the
# guarantee fails.** To see how far, take one convolution and an image laid out channels last that is black where the
# view looks. Below is what this one image contributes, in clip norms. The guarantee needs at most one.

# %%
engines = {method.name: opacus_sum(method) for method in by_hooks_or_ghost} | {OURS: book_kept_sum}
unseen = contributions_of_unseen([0.1, 1.0, 10.0, 100.0, 1000.0], engines)
glue("most", f"{unseen['Opacus ghost'].max():,.0f}", display=False)
display(gradient_tables.show_unseen(unseen))

# %% [markdown]
# Ghost mode does not clip this image at all: brighter means more, here up to {glue:text}`most` clip norms, and there
# is no end to it. The default mode does the opposite and takes nothing from it.
#
# A ConvNeXt normalises its activations, so the other layers add to the norm and the excess is limited. It is there
# for noise images, and gradient ascent on the pixels finds worse ones. This was measured once and is stored:

# %%
stored = {version: gradient_tables.read_survey(surveys, version) for version in ("1.6.0", "1.5.4")}
climbed = stored["1.6.0"].climbed_image
glue("climbed-network", climbed["network"], display=False)
display(gradient_tables.show_climbed(climbed))

# %% [markdown]
# That is {glue:text}`climbed-network`, at a clip norm far below every gradient norm. An accountant that is told a
# sensitivity of one clip norm does not describe such a run.

# %% [markdown]
# (gradient-bug-cure)=
# ## The cure
#
# For a user, before the model is wrapped:
#
# ```python
# for each in model.modules():
#     if isinstance(each, torch.nn.Conv2d):
#         each.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
# ```
#
# The columns named *contiguous* above are Opacus with these lines: nothing is wrong in them any more.
#
# For Opacus, the strides of the input in place of the assumed ones. No copy is made then. The patch below is against
# its main branch at commit `88919b66`, whose own tests feed contiguous tensors only; the test in the patch fails
# without the change and passes with it.

# %%
Code(gradient_tables.upstream_patch(), language="diff")

# %% [markdown]
# ## Which versions and layouts?
#
# Stored surveys of two versions, made on one machine by `python -m benchmarks.gradient_bug` (with `--opacus 1.5.4`
# for the other). In the first, with images and weights laid out channels last as well:

# %%
agree = gradient_tables.same_layers_wrong(stored["1.6.0"].wrong_layers, stored["1.5.4"].wrong_layers)
glue("versions-agree", agree, display=False)
display(gradient_tables.show_cases(stored["1.6.0"].cases))

# %% [markdown]
# Between the versions, {glue:text}`versions-agree`. Channels last, the stem is wrong too where images have several
# channels; the small network of this book takes one, which has one layout. Mode "functorch" is right everywhere. No
# public report of this fault was found in November 2026; the nearest is an error that the same view raises for uneven
# kernels {cite}`opacus442`.

# %% [markdown]
# ## What it does to training
#
# The same private run three times: same weights to start from, same draws, same shifts, same noise, same learning
# rates. Only the gradients differ: Opacus as shipped, Opacus with the cure, this project's engine. The run takes the
# noise of one specification and fewer steps; `n_steps` and `init_names` make it longer or start it elsewhere.
#
# Opacus clips the gradient of each image, so the {term}`privacy unit` is the image here, with flat clipping, whatever
# the specification says; and one view an image, single precision and no averaged weights, whatever `recipe` says. The
# same noise three times is known noise, so nothing is trained where `recipe` asks for secret randomness.

# %%
compared = replace(recipe_from(recipe), augmentation_multiplicity=1, ema_decay=0.0, precision="float32")
repeatable = compared.randomness == "seeded"
found = find_specification(Path(run_dir), target_epsilon)
of_images = {"privacy_unit": "image", "max_images_per_patient": None, "clipping": "flat"}
specification = replace(found, n_steps=min(n_steps, found.n_steps), **of_images)
configs = [
    private_run(places.private_dataset, init_name, target_epsilon, specification, compared, seed=seed)
    for init_name in init_names for seed in (seeds if repeatable else [])
]
aurocs = compare_trainings(configs, places, n_looks=4, n_jobs=jobs)
write_json(Path(run_dir) / "gradient_bug.json", aurocs.to_dict("records"));

# %% mystnb={"figure": {"name": "wrong-gradients-training", "caption": "Macro AUROC on the internal test set during one short private run, a line a seed. Opacus with the cure lies under the line of this project."}, "image": {"alt": "Test AUROC against step; the lines of Opacus with contiguous inputs and of this project coincide, those of Opacus as shipped run apart."}}
fig, ax = plt.subplots(figsize=(6.4, 4.2))
gradient_figures.plot_trainings(aurocs, ax)

# %%
display(Markdown(gradient_tables.trainings_in_words(aurocs) if repeatable else "Not shown."))
gradient_tables.show_final_aurocs(aurocs) if configs else None

# %% [markdown]
# ## What this does not show
#
# - The networks above have random weights. Trained ones have other gradients, and the wrong layers another share in
#   the norm.
# - A small network and few seeds: how much AUROC the fault costs elsewhere is open. A network with many right layers
#   can train around a few wrong ones, which may be why it went unnoticed.
# - Whether any published result contains the fault. Papers seldom say which mode and memory format they used.
# - Nothing here was measured on a GPU, where more tensors may be laid out channels last.

# %% [markdown]
# ## Record

# %%
stored["1.6.0"].versions, stored["1.5.4"].versions["opacus"], opacus.__version__, torch.__version__
