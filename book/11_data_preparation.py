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
# **Question.** Which images does the study read or draw, which does it refuse, and how are patients shared out
# between training, validation and testing?
#
# - **Reads** nothing by default: six simulated hospitals; or a folder in the official layout of a data set such as
#   ChestX-ray14 {cite}`wang2017chestxray8`, or a hospital's own
# - **Writes** one image store a data set, and `places.json` in `run_dir`
# - **Expect** one public hospital, one that is trained on with privacy, and others that are only tested on
# - **Needs** two cores, about a minute; 50 MB of disk
#
# The default images are a {term}`didactic phantom`: drawings whose findings have declared causes. They
# show how the measurement works. They are never evidence about patients. {ref}`what-is-in-the-images` looks into them.

# %% tags=["parameters"]
data_source: str = "simulated"  # "simulated", a data set such as "chestxray14", or "own" for a hospital's own images
source_dir: str = ""  # folder of the data set's files; empty for simulated hospitals
manifest: str = ""  # own: the YAML file that says how the hospital's tables are read
label_policy: str = ""  # real images, what uncertain labels count as, by its name in the manifest; empty for its default
image_recipe: str = "corrected"  # real images, "corrected" or "as_published"
image_size: int = 48  # side of the stored images, pixels
private_hospital: str = "sim-a"  # the simulated hospital trained on with privacy
n_public: int = 600  # images of the public hospital
n_train: int = 2400  # training images of each private hospital
n_valid: int = 400  # validation images of each private hospital
n_test: int = 3000  # test images of the hospital trained on
n_external_test: int = 600  # test images of each other hospital
public_fraction: float = 0.5  # real images, share of the patients that plays the public part
seed: int = 0  # draws the patients, or the split
evaluation: dict = {}  # changes to how runs are evaluated, by field, such as {"n_resamples": 1000}
jobs: int = 2  # processes
cache_dir: str = "../.cache"  # image stores, weights and runs, reused while nothing changed
limits: str = "Read every interval before any number."  # what a reader should know of these images
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from dataclasses import replace
from pathlib import Path

from IPython.display import Markdown, display

from dpcxr_core.data.describing import summary
from dpcxr_core.data.splits import check_patient_disjoint
from dpcxr_core.data.store import open_store
from dpcxr_core.evaluation.describing.precision import expected_precision
from dpcxr_core.study.handover import leave_places
from dpcxr_core.study.places import evaluation_from
from dpcxr_core.study.preparation import DataChoice, prepare_study
from dpcxr_core.publishing.chapters import data_tables
from dpcxr_core.publishing import figures, tables

figures.use_house_style()

# %%
choice = DataChoice(
    data_source=data_source, source_dir=source_dir, manifest=manifest, label_policy=label_policy,
    image_recipe=image_recipe, image_size=image_size,
    private_hospital=private_hospital, n_public=n_public, n_train=n_train, n_valid=n_valid,
    n_test=n_test, n_external_test=n_external_test, public_fraction=public_fraction,
    seed=seed,
)
tables.show_choices(choice)

# %% [markdown]
# Runs are evaluated in one way throughout the book: patients resampled, groups compared, decision thresholds chosen.
# Another way trains nothing again.

# %%
evaluation_choice = evaluation_from(evaluation)
tables.show_choices(evaluation_choice)

# %% [markdown]
# ## From files to stores
#
# Each data set becomes one cohort table and one memory-mapped store of 8-bit grey images in the same
# order. A store that is complete and unchanged is not made again.

# %%
places = replace(prepare_study(choice, Path(cache_dir), jobs=jobs), evaluation=evaluation_choice)
leave_places(Path(run_dir), places)
datasets = dict.fromkeys([places.private_dataset, places.public_dataset, *places.test_datasets])
stores = {name: open_store(places.store(name)) for name in datasets}
cohorts = {name: store.cohort for name, store in stores.items()}

# %% [markdown]
# A picture that is missing, damaged or not what its table says is refused, named with its reason in `refused.csv` of the
# store, and left out. Nothing is read in its place. Where a data set is parted into a public and a private one, the
# row, and that file, are of the whole.

# %%
display(data_tables.show_reading(summary.reading_table(stores)))

# %% [markdown]
# ## Is any patient on both sides?
#
# Images of one patient look alike. A split by image would put most test patients into training too, and
# the test would measure memory ({ref}`what-is-in-the-images` says how many). The check below stops the book when a
# single patient crosses, as far as patients are known.

# %%
Markdown(data_tables.patients_in_words(stores))

# %%
for cohort in cohorts.values():
    check_patient_disjoint(cohort)
display(data_tables.show_splits(summary.split_table(stores)))

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
# - A picture that can be read may still be the wrong one: only its table says whose it is.

# %% [markdown]
# ## Record

# %%
places.public_dataset, places.test_datasets
