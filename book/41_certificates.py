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
# (certificates)=
# # How much noise did the study need?
#
# **Question.** The study behind this book {cite}`tayebi2026role` reports ranges of {term}`epsilon` and no
# {term}`noise multiplier`. How much noise does each of its trainings need, and can the configuration of its authors'
# code give all of its ranges?
#
# - **Reads** the stored tables of `benchmarks/results`
# - **Writes** nothing
# - **Expect** less noise than {term}`accountant`s of the Rényi kind ask for; and what a published configuration has
#   spent after its first epoch
# - **Needs** one CPU core, under a minute; answers are remembered
#
# Targets lie just inside the ranges, so that every accountant agrees on the range. All holds for
# {term}`Poisson sampling` and for adding or removing one {term}`privacy unit`.

# %% tags=["parameters"]
tables_from: str = "benchmarks/results"  # folder of the stored tables
shown_batch_size: int = 128  # of the figures, one of the stored
shown_dataset: str = "ChestX-ray14"  # whose accountants are compared
recompute: list = [["ChestX-ray14", "image", 1024, 0.9], ["ChestX-ray14", "patient", 1024, 0.9]]  # rows computed now
run_dir: str = "../runs/demo"  # unused here, as every chapter takes it

# %% tags=["hide-input"]
from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from dpcxr_core.publishing.chapters import certificate_figures, certificate_tables
from dpcxr_core.publishing import figures

figures.use_house_style()
needed = certificate_tables.read_needed(tables_from)
spending = certificate_tables.read_spending(tables_from)
origin = certificate_tables.read_origin(tables_from)

# %% [markdown]
# ## How large were the trainings?
#
# The noise depends on the size of the training set, the expected batch size, the steps, epsilon and delta. Of the
# paper only some could be found; the rest is from its authors' code. A number of patients that is not known is not
# guessed, and where it is missing there is no patient-level row below.

# %%
display(certificate_tables.show_training_sets())

# %% [markdown]
# ## How much noise does each need?
#
# One row a training, two noise multipliers a target: the least by PLD, which this book claims by, and the least by
# Rényi accounting (RDP) with the orders of Opacus. Delta and epochs are those of the authors' code, so are the smaller
# batches; the larger ones suit private training better. A question mark stands for what is not known.

# %%
display(certificate_tables.show_needed(needed))

# %% mystnb={"figure": {"name": "noise-needed", "caption": "Noise multiplier of each training, by target epsilon: filled by PLD, open by RDP. The axis is logarithmic."}, "image": {"alt": "Noise multiplier along, on a logarithmic axis; a row for each data set with three pairs of points, one a target epsilon: filled by PLD, open by RDP."}}
fig, ax = plt.subplots(figsize=(7, 4.6))
certificate_figures.plot_needed(needed[needed["expected_batch_size"] == shown_batch_size], ax)

# %%
Markdown(certificate_tables.needed_in_words(needed))

# %% [markdown]
# ## What do other accountants say of it?
#
# One data set: the same noise by three accountants. PRV gives a bracket around the true epsilon, by other code than
# PLD. PLD rounds up on a grid, so it may lie above the bracket by a fraction of a percent; a claim below it, or
# further above, would be refused. The last column is what Opacus returns when asked for the target by RDP.

# %%
display(certificate_tables.show_accountants(needed, shown_dataset))

# %% [markdown]
# ## Does this machine agree?
#
# The table above is stored, as it takes minutes. These rows are computed now, and a difference would stop the
# chapter. For a data set of your own, the command of the next line prints the certificate, in words or as JSON; with
# `--solve steps`, `batch` or `epsilon` it answers the question the other way round.
#
# ```
# dpcxr calibrate --target-epsilon 0.9 --delta 6e-6 --n-units 86524 --expected-batch-size 1024 --steps 2000
# ```

# %%
display(certificate_tables.recompute(needed, recompute))

# %% [markdown]
# ## Can the published configuration give the lowest range?
#
# The authors' code keeps a checkpoint of every epoch and reads epsilon off it. Its configuration asks Opacus for the
# noise of one large target after all epochs. Below is what such a run has spent by the epoch. To be on the safe side,
# the figure takes the larger noise, by RDP, and counts by PLD: of the four ways to combine the two accountants this
# spends least.

# %% mystnb={"figure": {"name": "configuration-spending", "caption": "Epsilon after so many epochs of the configuration in the authors' code. Shades are the three ranges in which the paper reports. ChestX-ray14 lies under PadChest. Both axes are logarithmic."}, "image": {"alt": "Epsilon over epochs, both axes logarithmic: one line for each data set, and the three reported ranges as shades."}}
fig, ax = plt.subplots(figsize=(7, 4.4))
by_rdp = (spending["calibrated_by"] == "RDP") & (spending["expected_batch_size"] == shown_batch_size)
certificate_figures.plot_spending(spending[by_rdp], ax)

# %%
Markdown(certificate_tables.spending_in_words(spending))

# %% [markdown]
# ## What this does not show
#
# - What the authors ran. Batch sizes, epochs and the accountant are those of code for this line of work, not of the
#   paper; several sources disagree.
# - What a patient is promised by an image-level run. That is another question than training by patients.
# - Any cost of choosing hyper-parameters, label weights or checkpoints on private images; no row covers it.
# - For the largest set delta nearly is one over the number of images. A smaller one takes more noise.

# %% [markdown]
# ## Record

# %%
origin["commit"], origin["versions"]
