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
# (data-preparation)=
# # Which images does the study learn from?
#
# **Question.** What is in each hospital's archive, and how are patients shared out between training,
# validation and testing?
#
# - **Reads** nothing by default: six simulated hospitals; or a folder in the official layout of
#   ChestX-ray14 {cite}`wang2017chestxray8`
# - **Writes** one image store a data set, and `places.json` in `run_dir`
# - **Expect** one public hospital, one that is trained on with privacy, and others that are only tested on
# - **Needs** two cores, about a minute; 0.2 GB of disk
#
# The default images are a {term}`didactic phantom`: drawings whose findings have declared causes. They
# show how the measurement works. They are never evidence about patients.

# %% tags=["parameters"]
data_source: str = "simulated"  # "simulated", or "chestxray14" for official files
source_dir: str = ""  # folder of the official files, for chestxray14 only
image_size: int = 64  # side of the stored images, pixels
private_hospital: str = "sim-a"  # the simulated hospital trained on with privacy
n_public: int = 600  # images of the public hospital
n_train: int = 2400  # training images of each private hospital
n_valid: int = 400  # validation images of each private hospital
n_test: int = 6000  # test images of the hospital trained on
n_external_test: int = 1500  # test images of each other hospital
public_fraction: float = 0.5  # chestxray14, share of the patients that plays the public part
seed: int = 0  # draws the patients, or the split
n_resamples: int = 300  # bootstrap resamples of every interval in the book
jobs: int = 2  # processes
cache_dir: str = "../.cache"  # image stores, weights and runs, reused while nothing changed
show_images: bool = True  # only where the licence and the patients allow it
limits: str = ""  # what a reader should know of these images, shown below the test set's precision
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from myst_nb import glue

from dpcxr_core.data import summary
from dpcxr_core.data.splits import check_patient_disjoint
from dpcxr_core.data.store import open_store
from dpcxr_core.evaluation.precision import expected_precision
from dpcxr_core.preparation import DataChoice, prepare_study
from dpcxr_core.publishing import figures, tables

figures.use_house_style()

# %%
choice = DataChoice(
    data_source=data_source, source_dir=source_dir, image_size=image_size,
    private_hospital=private_hospital, n_public=n_public, n_train=n_train, n_valid=n_valid,
    n_test=n_test, n_external_test=n_external_test, public_fraction=public_fraction,
    seed=seed, n_resamples=n_resamples,
)
tables.show_choices(choice)

# %% [markdown]
# ## From files to stores
#
# Each data set becomes one cohort table and one memory-mapped store of 8-bit grey images in the same
# order. A store that is complete and unchanged is not made again.

# %%
places = prepare_study(choice, Path(cache_dir), Path(run_dir), jobs=jobs)
datasets = dict.fromkeys([places.private_dataset, places.public_dataset, *places.test_datasets])
stores = {name: open_store(places.store(name)) for name in datasets}
cohorts = {name: store.cohort for name, store in stores.items()}

# %% [markdown]
# ## How do the hospitals differ?
#
# Read the table by row: one data set each. Look at the share of bedside (AP) views, at the age, and at how
# often sex or age was not recorded. These differences are what {ref}`transfer <generalisation>` has to cross.

# %%
population = summary.population(cohorts)
glue("n-images", f"{population['images'].sum():,}", display=False)
glue("n-patients", f"{population['patients'].sum():,}", display=False)
display(population.style.format(summary.population_formats()))

# %% [markdown]
# Together the data sets hold {glue:text}`n-images` images of {glue:text}`n-patients` patients.

# %% [markdown]
# ## How common is each finding?
#
# Prevalence is the share of positive images among the labelled ones. The last column is not a finding but
# its absence: an image is labelled *no finding* when it has none of the findings that its source records.

# %%
display(summary.prevalence(cohorts).style.format("{:.1%}", na_rep="unknown"))

# %% [markdown]
# ## What do the images look like?
#
# One row a data set. Exposure, contrast, framing, noise and burnt-in marks belong to the hospital, not to the
# patient; a classifier that leans on them fails elsewhere.

# %% mystnb={"figure": {"name": "gallery-hospitals", "caption": "Training or test images at random, one row a data set."}, "image": {"alt": "Rows of small frontal chest images; rows differ in brightness, contrast, framing and markers."}}
gallery = summary.gallery_by_dataset(stores, n_each=8, seed=seed)
shown = figures.plot_gallery(*gallery, ncols=8) if show_images else None

# %% [markdown]
# ## What does each finding look like?
#
# One column a label, from the data set that is trained on: thin plates with lost volume; a wide heart; fluid with
# a concave upper border; patchy opacity; last, images with no finding.

# %% mystnb={"figure": {"name": "gallery-findings", "caption": "Four images for each label, one column a label; an image may have other findings too."}, "image": {"alt": "A grid of small chest images, five columns named by label, four rows."}}
gallery = summary.gallery_by_finding(stores[places.private_dataset], n_each=4, seed=seed)
shown = figures.plot_gallery(*gallery, ncols=5) if show_images else None

# %% [markdown]
# ## Is any patient on both sides?
#
# Images of one patient look alike. A split by image would put most test patients into training too, and
# the test would measure memory. The check below stops the book when a single patient crosses.

# %%
for cohort in cohorts.values():
    check_patient_disjoint(cohort)
leak = summary.leak_of_image_split(cohorts[places.private_dataset], seed=seed)
glue("leak", f"{leak:.0%}", display=False)
display(tables.show_counts(summary.split_table(cohorts)))

# %% [markdown]
# No patient is in two splits. Had the images of the private data set been split at random instead,
# {glue:text}`leak` of the test images would show a patient who is also in training.

# %% [markdown]
# ## How much can the test set tell?
#
# The standard error that an AUROC of 0.8 would have on the internal test set, if images were independent. A
# difference smaller than about two of these is not evidence.

# %%
test_set = cohorts[places.private_dataset].query("split == 'test'")
display(tables.show_precision(expected_precision(test_set)))
Markdown(limits)

# %% [markdown]
# ## What this does not show
#
# - A simulated image has the causes that were drawn into it, and no others. Real radiographs have more of
#   everything: disease, devices, projections, mistakes.
# - Reference labels carry errors. In the simulated hospitals the rate of wrong labels is declared; in sets
#   labelled by text mining it is unknown.
# - Sex and age are as recorded. Where they are missing, subgroup results hold for the rest only.

# %% [markdown]
# ## Record

# %%
places.public_dataset, places.test_datasets
