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
# (speed)=
# # What does privacy cost in time and memory?
#
# **Question.** How much longer does a private training step take than the fastest ordinary one on the same images,
# how much more memory does it need, and which ways of computing it give the right gradients?
#
# - **Reads** `benchmarks/results`, which `make bench` writes
# - **Writes** nothing
# - **Expect** a private step that takes little longer than an ordinary one, and several times as long by the usual library
# - **Needs** a few seconds; how long the measurement itself took is said below
#
# Every method takes its steps in turn in one process, on the same noise images and from the same random weights.
# A step is the gradients, for private methods the clipping and the noise, and the update by AdamW.

# %% tags=["parameters"]
results_dir: str = "benchmarks/results"  # where make bench wrote, seen from the project
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from IPython.display import display
from matplotlib import pyplot as plt
from myst_nb import glue

from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import speed_figures, speed_limits, speed_tables

figures.use_house_style()

# %% [markdown]
# ## How was it measured?
#
# The methods alternate and another one begins each round, so that whatever the machine does besides falls on all of
# them alike. A ratio is the median of the ratios of single rounds, and the brackets hold the least and the
# greatest. Two methods whose brackets overlap cannot be told apart.

# %%
results = speed_tables.read_results(results_dir)
display(speed_tables.show_machine(results))
for name in ("date", "processor", "clock", "threads", "thorough", "minutes"):
    glue(name, results.machine[name], display=False)

# %% [markdown]
# These numbers were measured {glue:text}`thorough` on {glue:text}`date`, in {glue:text}`minutes` minutes, on
# {glue:text}`threads` thread(s) of a machine with {glue:text}`processor`; seconds are {glue:text}`clock`. To repeat
# them, close other programs and call `make bench`; to see whether all of it runs, `python -m benchmarks --quick`.

# %% [markdown]
# ## What does one step cost, and is it right?
#
# *Right* means that the sum of gradients, before noise, agrees with a computation of one image at a time in float64;
# the error is relative, on three images of at most 64 pixels a side, all of them clipped, so that two settings of one
# network that differ only in larger images share it. *Ordinary* is plain autograd; *fast depthwise* and
# *channels_last* are the same without privacy, made faster; the best of them is what ratios are taken to. *Contiguous*
# is Opacus with a correction from outside, without which some of its modes misread ConvNeXt. The noise of all private
# methods comes from this book's generator. Patients have one to four of the same images.

# %%
costs = speed_tables.step_costs(results)
glue("failures", speed_tables.failures(costs), display=False)
display(speed_tables.show_ratios(costs))
display(speed_tables.show_errors(costs))

# %% [markdown]
# Above, the time of a step over that of the best one without privacy; below, the relative error of its sum of
# gradients. {glue:text}`failures`

# %% mystnb={"figure": {"name": "speed-ratios", "caption": "Time of one step relative to the best step without privacy (logarithmic axis). A row is a method, a colour a setting, a bar the range over rounds. Open points: the gradients of this method are wrong in this setting. A method without a point failed."}, "image": {"alt": "Ordinary steps and those of this book lie close to one; the modes of Opacus lie to the right of them, some with open points."}}
fig, ax = plt.subplots(figsize=(7.2, 6.6))
speed_figures.plot_ratios(costs, ax)

# %%
private = costs[costs["method"] == speed_tables.OURS]
glue("ratio-least", f"{private['ratio'].min():.2f}", display=False)
glue("ratio-most", f"{private['ratio'].max():.2f}", display=False)
display(speed_tables.show_milliseconds(costs))

# %% [markdown]
# By setting, the private step with noise takes {glue:text}`ratio-least` to {glue:text}`ratio-most` times the best ordinary one.
# Methods of Opacus are slow and took part in the first rounds only; where that was one round, there is no range.

# %% [markdown]
# ## How does it compare with Opacus, and what does the patient unit add?
#
# Only methods of Opacus whose gradients are right are compared. The patient unit clips once a patient; the images are the
# same.

# %%
beside = speed_tables.comparisons(results)
glue("patient-most", f"{beside['patient_over_image'].max():.2f}", display=False)
display(speed_tables.show_comparisons(beside))

# %% [markdown]
# Steps of the patient unit take at most {glue:text}`patient-most` times those of the image unit.

# %% [markdown]
# ## How much memory does a step need?
#
# The peak over two steps, above model and images, each method in a process of its own. It holds activations, gradients,
# whatever the method keeps an image, and the state of AdamW.

# %% mystnb={"figure": {"name": "speed-memory", "caption": "Peak memory of a step above model and images, relative to the ordinary step (logarithmic axis). A row is a method, a colour a setting; open points: wrong gradients."}, "image": {"alt": "The methods of this book lie near one; modes of Opacus that keep a gradient for each image lie furthest to the right."}}
fig, ax = plt.subplots(figsize=(7.2, 6.6))
speed_figures.plot_ratios(costs, ax, "memory")

# %%
display(speed_tables.show_memory(costs))
glue("memory-least", f"{private['memory_ratio'].min():.2f}", display=False)
glue("memory-most", f"{private['memory_ratio'].max():.2f}", display=False)

# %% [markdown]
# By setting that was measured, the private step needs {glue:text}`memory-least` to {glue:text}`memory-most` times the memory
# of the ordinary one.

# %% [markdown]
# ## Are the limits kept?
#
# Limits were set before anything was built: for time in two settings, for memory wherever it is measured, and for the
# rest in the worst of all settings.

# %%
limits = speed_limits.limits(results)
glue("limits", speed_limits.kept_in_words(limits), display=False)
display(speed_limits.show_limits(limits))

# %% [markdown]
# {glue:text}`limits` Times of Opacus and of the patient unit are compared with those of this book's step with noise.

# %% [markdown]
# ## How do time and memory grow?
#
# Left by the number of images a step, where batches that are too large to be processed at once are cut into pieces: memory
# stops growing there, time does not. Right by the size of the network. Lines that run in parallel differ by a factor.

# %% mystnb={"figure": {"name": "speed-growth", "caption": "Time (above) and peak memory (below) of a step, by images a step (left) and by parameters of the network (right). All axes are logarithmic; bands are ranges over rounds."}, "image": {"alt": "Four panels: time rises in proportion to the batch, memory rises and then stays level, and both rise with the size of the network; the private line stays close to the ordinary ones."}}
growth = speed_tables.growth_points(results)
fig, axes = plt.subplots(2, 2, figsize=(9, 6.6))
for row, quantity in zip(axes, ("time", "memory"), strict=True):
    for ax, sweep in zip(row, ("batch", "network"), strict=True):
        speed_figures.plot_growth(growth[growth["sweep"] == sweep], ax, quantity)
axes[0, 0].legend();

# %% [markdown]
# ## What do noise and loading cost?
#
# Noise is drawn once a step, whatever the number of images. Torch's generators on the CPU are shown for comparison
# only: they keep too few bits of their seed, and cut off too much of the tail, for the noise of a guarantee.

# %%
display(speed_tables.show_noise(results))
display(speed_tables.show_loading(results))
glue("loading-most", f"{speed_tables.loading_shares(results)['share'].max():.1%}", display=False)

# %% [markdown]
# Loading, that is reading rows of the image store, moving them by a few pixels and standardising them, takes at most
# {glue:text}`loading-most` of a step and of the loading before it. A run loads one batch ahead, so that even this share is
# hidden where a core is free.

# %% [markdown]
# ## What this does not show
#
# - One machine and one set of versions. On other processors the order of methods may differ, and on a GPU it has to be
#   measured: `make bench` uses one where there is one.
# - Images are noise and weights random. Time does not depend on pixels, but the error of a wrong method does.
# - The image store was in the memory of the operating system. A slow disk, or a network, adds to loading.
# - Opacus computes with its own samplers and its own clipping, as it ships. Extensions of it by others were not
#   measured here.

# %% [markdown]
# ## Record

# %%
display(speed_tables.show_growth(growth))
