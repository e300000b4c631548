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
# (noise-calibration)=
# # How much noise buys a given epsilon?
#
# **Question.** How large must the {term}`noise multiplier` be before a run spends no more than its target
# {term}`epsilon`, and what does the certificate of such a run say?
#
# - **Reads** nothing from disk; only the numbers in the next cell
# - **Writes** `specifications.json` in `run_dir`, which every private run of the book obeys
# - **Expect** less noise by the {term}`accountant` of this book than by Rényi accounting, at every epsilon
# - **Needs** one CPU core, under a minute
#
# The answers hold for {term}`Poisson sampling` and for adding or removing one image. They say less about a patient
# who contributed several images.

# %% tags=["parameters"]
target_epsilons: list = [1.0, 3.0, 8.0]  # upper limits on epsilon for a whole run
delta: float = 1.0e-5  # chance allowed for the guarantee to fail
n_units: int = 2400  # declared size of the private training set, images
expected_batch_size: int = 256  # divisor of the noisy sum, images
n_steps: int = 48  # optimiser steps
max_grad_norm: float = 0.5  # clip norm, gradient units
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from myst_nb import glue

from dpcxr_core.handover import leave_specifications
from dpcxr_core.privacy.calibration import specification_for
from dpcxr_core.privacy.certificate import certify, privacy_statement
from dpcxr_core.publishing import figures, tables

figures.use_house_style()

# %% [markdown]
# ## One specification for each epsilon
#
# A frozen specification couples everything the guarantee rests on: rate, steps, {term}`clip norm`, noise and
# denominator. Sampler, clipping, noise and accountant all read this one object, so that they cannot disagree.
# The noise multiplier is found by a root search on the accountant's epsilon and rounded up, so that the target
# is never exceeded.

# %%
specifications = {
    epsilon: specification_for(
        target_epsilon=epsilon, delta=delta, n_units=n_units,
        expected_batch_size=expected_batch_size, n_steps=n_steps, max_grad_norm=max_grad_norm,
    )
    for epsilon in target_epsilons
}
leave_specifications(Path(run_dir), specifications)

# %% [markdown]
# ## What do the certificates say?
#
# An epsilon means nothing without its unit, neighbouring relation, sampler and delta. Beside the claim stand Rényi accounting, which the field has used longest, and PRV, an independent
# numerical method: if it disagreed with the claim, the run would stop.

# %%
certificates = {
    epsilon: certify(specification, n_units, epsilon) for epsilon, specification in specifications.items()
}
display(tables.show_certificates(certificates.values()))

# %% [markdown]
# ## What is promised, in words?

# %%
strictest = certificates[min(certificates)]
Markdown("> " + privacy_statement(strictest))

# %% [markdown]
# ## What does the choice of accountant cost?
#
# The same noise, three bounds. Rényi accounting lies above the others: a run calibrated with it would add more
# noise for the same promise, and the surplus buys nothing.

# %%
by_accountant = tables.epsilon_by_accountant(certificates.values())
overstated = [each.epsilon_rdp / each.epsilon_pld - 1 for each in certificates.values()]
glue("overstated-least", f"{min(overstated):.1%}", display=False)
glue("overstated-most", f"{max(overstated):.1%}", display=False)

# %% mystnb={"figure": {"name": "noise-epsilon", "caption": "Epsilon of the same runs by three accountants, against the noise multiplier; both axes are logarithmic."}, "image": {"alt": "Epsilon falls as the noise multiplier grows; the curve of Rényi accounting lies above those of PLD and PRV, which nearly coincide."}}
fig, ax = plt.subplots(figsize=(6, 3.4))
figures.plot_epsilon_vs_noise(by_accountant, ax)

# %% [markdown]
# At these settings Rényi accounting overstates epsilon by {glue:text}`overstated-least` to
# {glue:text}`overstated-most`.

# %% [markdown]
# ## What this does not show
#
# - Choosing learning rates or clip norms on private images spends privacy too; no certificate here covers it.
#   The book's choices were made on simulated patients that no chapter draws (`benchmarks/tune_recipe.py`).
# - The unit is one image. A patient with several images is protected less: by group privacy the bound grows
#   faster than the number of images.
# - Whoever knows the seed of a run can subtract its noise. The book's own runs are seeded, as their images need no
#   protection; the default of a recipe is `randomness: secret`, and so it must stay for private images.

# %% [markdown]
# ## Record

# %%
tables.show_choices(specifications[min(specifications)])
