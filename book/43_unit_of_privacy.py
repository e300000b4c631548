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
# (unit-of-privacy)=
# # What does an image-level epsilon promise a patient?
#
# **Question.** Where the {term}`privacy unit` is one image, how well is a patient with several images protected, and
# what does it cost to protect patients instead?
#
# - **Reads** the cohort table of the private store, published counts of real data sets, one initialisation, the
#   specifications
# - **Writes** two run records a seed: one protects images, one protects patients
# - **Expect** an {term}`epsilon` that grows faster than the number of images, and hardly any promise to the patients
#   with most of them
# - **Needs** two cores, under two minutes
#
# Hospitals release several images of most patients who are often ill. Who asks whether *I* was in the training set asks
# about all of them at once.

# %% tags=["parameters"]
target_epsilon: float = 8.0  # of the two trainings; one of those calibrated for
init_tag: str = "standin_domain"  # part of the name of one of the initialisations
seeds: list = [0, 1]  # each repeats both trainings
patient_batch_size: int = 128  # expected patients of a step, where patients are the unit
max_images_per_patient: int = 4  # most images of one patient in one step, where patients are the unit
study: dict = {"target_epsilon": 1.0, "delta": 6.0e-6, "n_units": 86524, "expected_batch_size": 1024, "n_steps": 2000}  # a setting of the study's size, ChestX-ray14
declared: dict = {}  # public numbers of private training "images" and "patients"; those found, where neither this nor 14_noise_calibration declares any
image_limits: list = [1, 4]  # most images of one patient, in the table of noise
recipe: dict = {"randomness": "seeded"}  # changes to the default recipe, by field; private images need "secret"
jobs: int = 2  # processes of one thread each
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from dpcxr_core.study import claims
from dpcxr_core.accounting.remembered import remembered_designs, remembered_specification
from dpcxr_core.data.store import open_store, rows_of
from dpcxr_core.study.grid import private_runs, recipe_from
from dpcxr_core.study.handover import find_initialisation, find_places, find_specification, find_specifications
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import mechanism_figures, mechanism_tables, unit_figures, unit_tables
from dpcxr_core.study.runs import run_many

figures.use_house_style()
places = find_places(Path(run_dir)).at_home
store = open_store(places.store(places.private_dataset))
patient_ids = store.cohort["patient_id"].iloc[rows_of(store, "train")]

# %% [markdown]
# ## How many images do patients have?
#
# The private hospital of this book, and the real data sets as far as their counts could be found. What could not be
# found stays unknown; a data set without patient identifiers allows no statement about patients at all. Where `recipe`
# asks for secret randomness, as for images that need protection, a number that fewer than ten patients of this hospital
# exceed is withheld.

# %%
specification, chosen = find_specification(Path(run_dir), target_epsilon), recipe_from(recipe)
here = unit_tables.images_per_patient(
    patient_ids, declared=unit_tables.declared_numbers(specification, declared), needs_protection=chosen.needs_protection
)
published = unit_tables.published_images_per_patient()
display(unit_tables.show_images_per_patient({places.private_dataset: here, **published}))

# %% [markdown]
# ## From one image to all images of a patient
#
# Under {term}`Poisson sampling` of images a patient with $k$ of them enters a step with a binomial number of images,
# and moves the sum by up to as many clip norms. What the attacker sees is then a mixture of Gaussians, and its privacy
# losses compose as they do for one image {cite}`charles2024finetuning`. This is tight. The formula of
# group privacy, which knows nothing of the mechanism, is shown beside it. The guarantees are those of
# {ref}`noise-calibration`; where patients are the unit there, the same targets are calibrated anew for images.

# %%
specifications = unit_tables.specifications_of_images(find_specifications(Path(run_dir)), here["images"])
numbers = unit_tables.patients_of_interest(here, also=[2, 4, 8])
table = unit_tables.epsilon_by_images(specifications, numbers, n_jobs=jobs)

# %% mystnb={"figure": {"name": "epsilon-by-images", "caption": "Epsilon of a patient against their number of images, under the guarantees for images of this book. Solid: tight. Dashed: the formula of group privacy. Dotted: above it nothing is promised."}, "image": {"alt": "Epsilon of a patient against their number of images, both axes logarithmic: a solid curve with points and a dashed one for each target epsilon, and a dotted horizontal line at one hundred."}}
fig, ax = plt.subplots(figsize=(7, 4.6))
unit_figures.plot_epsilon_by_images(table, ax)

# %%
display(unit_tables.show_epsilon_of_patients(table, here))
Markdown(unit_tables.patients_in_words(table, here))

# %% [markdown]
# ## At the size of the study
#
# One setting as large as the study's on ChestX-ray14, calibrated for images, and what it promises to the patients of
# that data set. In brackets the formula.

# %%
of_study = remembered_specification(**study, max_grad_norm=1.0)
counted = published["ChestX-ray14"]
large = unit_tables.epsilon_by_images(
    {study["target_epsilon"]: of_study}, unit_tables.patients_of_interest(counted, also=[2, 4, 8, 32]), n_jobs=jobs
)
display(unit_tables.show_epsilon_of_patients(large, counted))
Markdown(unit_tables.patients_in_words(large, counted))

# %% mystnb={"figure": {"name": "epsilon-by-images-study", "caption": "The same for a setting of the study's size, with the numbers of images of the patients of ChestX-ray14."}, "image": {"alt": "Epsilon of a patient against their number of images, both axes logarithmic: a solid curve with points, a dashed one, and a dotted horizontal line at one hundred."}}
fig, ax = plt.subplots(figsize=(7, 4.4))
unit_figures.plot_epsilon_by_images(large, ax)

# %% [markdown]
# ## What does it cost to protect patients?
#
# Two ways, at the same epsilon for patients, the same steps and, on average, the same number of images in a step. One
# samples images and takes more noise, for patients of up to so many images; all further images must be thrown away, so
# the remaining ones enter more often. The other samples patients, averages the images that each brings, and clips the
# average: it covers any number of images. With one image a patient both are the same mechanism. Most patients have
# fewer images than a limit above one allows, so more patients enter a step than images over limit.
#
# The rates need the number of patients with each number of images. It is known of all images of ChestX-ray14, not of
# its training images alone; this table is about all of them, with the target, the batch and the steps from above.

# %%
designs = remembered_designs(
    target_epsilon=study["target_epsilon"], delta=study["delta"], n_steps=study["n_steps"],
    patients_by_images=counted["patients_by_images"], images_per_step=study["expected_batch_size"],
    limits=tuple(image_limits),
)
display(unit_tables.show_designs(designs))

# %% [markdown]
# The last columns compare noise alone. An average over several images of one patient also has less chance in it than
# one image, so several images a patient are worth more than their noise says.

# %% [markdown]
# ## What does it cost in AUROC?
#
# Two trainings on the private hospital at the same target, which means patients in one and images in the other.
# Learning rates follow the book's rule, a constant divided by the noise multiplier. The number of patients is declared
# public by the second, as the number of images is by the first.

# %%
by_image = specifications[target_epsilon]
by_patient = remembered_specification(
    target_epsilon=target_epsilon, delta=by_image.delta, n_units=here["patients"], n_steps=by_image.n_steps,
    expected_batch_size=min(patient_batch_size, here["patients"]), max_grad_norm=by_image.max_grad_norm,
    privacy_unit="patient", max_images_per_patient=max_images_per_patient, clipping=by_image.clipping,
)
init_name = find_initialisation(Path(run_dir), init_tag)
configs = [
    run for each in (by_image, by_patient)
    for run in private_runs(places.private_dataset, init_name, {target_epsilon: each}, chosen, seeds=seeds)
]

# %%
names = [(name, seed) for name in ("images protected", "patients protected") for seed in seeds]
folders = dict(zip(names, run_many(configs, places, n_jobs=jobs), strict=True))
aurocs = mechanism_tables.aurocs_by_name(folders, places, n_jobs=jobs)
differences = claims.against_one_of(folders, "images protected", places)

# %% mystnb={"figure": {"name": "auroc-by-unit", "caption": "Macro AUROC on the internal test set of trainings that protect images and of trainings that protect patients, at the same epsilon. Points: seeds, with 95 % intervals over test patients. Lines: means."}, "image": {"alt": "Macro AUROC on the horizontal axis: a row of points with error bars and a line for each privacy unit."}}
fig, ax = plt.subplots(figsize=(7, 2.4))
mechanism_figures.plot_aurocs(aurocs, ax)

# %%
display(mechanism_tables.show_arms(aurocs, differences, "images protected"))
Markdown(mechanism_tables.arms_in_words(differences, "images protected"))

# %% [markdown]
# ## What this does not show
#
# - A curve ends at an epsilon of one hundred because nothing is promised beyond. It does not say that an attack
#   succeeds there.
# - The bound is for the worst patient that could exist: one whose gradients all point the same way. Real images of one
#   patient differ.
# - Published counts are of whole data sets where the training images were not at hand; the column says which.
# - A person recorded under two identifiers counts as two patients, and relatives are protected as strangers are.
# - The learning rate was chosen for images as units, on patients that no chapter draws.

# %% [markdown]
# ## Record

# %%
of_study, by_patient
