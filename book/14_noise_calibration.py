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
# - **Reads** the cohort table of the private store, for the number of images and of patients; `benchmarks/results`, for speeds
# - **Writes** `specifications.json` in `run_dir`, which every private run of the book obeys
# - **Expect** more noise where patients are the {term}`privacy unit` than where images are, and less by the
#   {term}`accountant` of this book than by Rényi accounting
# - **Needs** one CPU core, under a minute
#
# The answers hold for {term}`Poisson sampling` and for adding or removing one privacy unit. With images as units they
# say less about a patient who contributed several; with patients as units the guarantee is {term}`patient-level`.

# %% tags=["parameters"]
target_epsilons: list = [1.0, 3.0, 8.0]  # upper limits on epsilon for a whole run
delta: float = 1.0e-5  # chance allowed for the guarantee to fail; below one over the number of units
privacy_unit: str = "image"  # whose data is protected: "image", or "patient" for patients with all their images
max_images_per_patient: int = 4  # most images of one patient in one step; used where the unit is the patient
clipping: str = "flat"  # "flat", or "automatic" to bring every gradient close to the clip norm
n_units: int = 0  # declared size of the private training set in units; 0 declares the number found there
expected_batch_size: int = 256  # divisor of the noisy sum, units
n_steps: int = 24  # optimiser steps
max_grad_norm: float = 0.5  # clip norm, gradient units
speed_dir: str = "benchmarks/results"  # where make bench wrote, seen from the project
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from myst_nb import glue

from dpcxr_core.accounting.certificate import privacy_statement
from dpcxr_core.accounting.remembered import remembered_certificate, remembered_noise_multiplier, remembered_specification
from dpcxr_core.data.store import open_store, rows_of
from dpcxr_core.study.handover import find_places, leave_specifications
from dpcxr_core.publishing import figures, sentences, tables
from dpcxr_core.publishing.explorers.noise_explorer import show_noise_explorer
from dpcxr_core.publishing.chapters.speed_tables import read_results

figures.use_house_style()
places = find_places(Path(run_dir))
store = open_store(places.store(places.private_dataset))
patient_ids = store.cohort["patient_id"].iloc[rows_of(store, "train")]
counted = {"image": len(patient_ids), "patient": patient_ids.nunique()}

# %% [markdown]
# ## One specification for each epsilon
#
# A frozen specification couples everything the guarantee rests on: rate, steps, {term}`clip norm`, noise and
# denominator. Sampler, clipping, noise and accountant all read this one object, so that they cannot disagree.
# The noise multiplier is found by a root search on the accountant's epsilon and rounded up, so that the target
# is never exceeded. The number of units is thereby declared public.

# %%
n_declared = n_units or counted.get(privacy_unit, 0)
limits = {"patient": max_images_per_patient}
specifications = {
    epsilon: remembered_specification(
        target_epsilon=epsilon, delta=delta, n_units=n_declared, expected_batch_size=expected_batch_size,
        n_steps=n_steps, max_grad_norm=max_grad_norm, privacy_unit=privacy_unit,
        max_images_per_patient=limits.get(privacy_unit), clipping=clipping,
    )
    for epsilon in target_epsilons
}
leave_specifications(Path(run_dir), specifications)

# %% [markdown]
# ## What do the certificates say?
#
# An epsilon means nothing without its unit, neighbouring relation, sampler and delta. Beside the claim stand Rényi
# accounting, which the field has used longest, and both ends of the bracket that PRV, other code, puts around the true
# epsilon: if the claim lay outside, the run would stop. Delta times the number of units should be below one.

# %%
certificates = {
    epsilon: remembered_certificate(specification, n_declared, epsilon)
    for epsilon, specification in specifications.items()
}
display(tables.show_certificates(certificates.values()))

# %% [markdown]
# ## What is promised, in words?

# %%
strictest = certificates[min(certificates)]
Markdown("> " + privacy_statement(strictest))

# %% [markdown]
# ## What does it cost to protect patients?
#
# The same target, delta, steps and expected number of units in a step, once for images and once for patients. There
# are fewer patients than images, so each is drawn more often, and that takes more noise. Some of it comes back: a
# patient's gradient is an average over several images, at the price of computing them.

# %%
noise = {
    unit: {
        epsilon: remembered_noise_multiplier(
            target_epsilon=epsilon, delta=delta, sample_rate=expected_batch_size / n, n_steps=n_steps
        )
        for epsilon in target_epsilons
    }
    for unit, n in counted.items() if n >= expected_batch_size
}
display(tables.show_noise_by_unit(noise, counted, expected_batch_size))

# %%
Markdown(sentences.unit_cost(noise))

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
# ## What would other choices need?
#
# Move the controls: noise, its weight against the signal and the cost follow. The signal of one step is at most one
# {term}`clip norm` long, while every weight of the network receives noise, so that in a large network the noise is the
# longer by far; training succeeds where noise cancels over the steps and the signal does not. A page looks its numbers
# up; in JupyterLab the kernel computes them, and a button gives the certificate.

# %%
explorer = show_noise_explorer(
    read_results(speed_dir), n_images=counted["image"], n_patients=counted["patient"], privacy_unit=privacy_unit,
    max_images_per_patient=max_images_per_patient, expected_batch_size=expected_batch_size, n_steps=n_steps,
    target_epsilon=max(target_epsilons), delta=delta,
)
explorer

# %% [markdown]
# ## What this does not show
#
# - Choosing learning rates or clip norms on private images spends privacy too; no certificate here covers it.
#   The book's choices were made on simulated patients that no chapter draws (`benchmarks/tune_recipe.py`).
# - Where the unit is one image, a patient with several is protected less: by group privacy the bound grows faster
#   than the number of images. Where the unit is the patient, a person under two identifiers counts as two.
# - Whoever knows the seed of a run can subtract its noise. The book's own runs are seeded, as their images need no
#   protection; the default of a recipe is `randomness: secret`, and so it must stay for private images.

# %% [markdown]
# ## Record

# %%
tables.show_choices(specifications[min(specifications)])
