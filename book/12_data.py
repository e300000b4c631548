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
# (what-is-in-the-images)=
# # What is in the images?
#
# **Question.** Who is in each data set, how common is each finding in whom, what is missing, and what would a split
# that overlooks patients let through?
#
# - **Reads** the image stores of {ref}`data-preparation`; trains nothing
# - **Writes** nothing
# - **Expect** hospitals that differ in age, view and prevalence, and some patients with many images
# - **Needs** one core, under a minute
#
# A count of fewer than ten patients is not shown, nor what would tell it by subtraction. No number on this page is one
# patient's.

# %% tags=["parameters"]
manifest: str = ""  # a hospital's own manifest, if its images are among these
test_fraction: float = 0.2  # share that tests, in the splits drawn to be compared
show_images: bool = True  # false shows simulated ones even where others may be shown
seed: int = 0  # draws the pictures and the splits
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

import numpy as np
from IPython.display import Markdown, display
from myst_nb import glue

from dpcxr_core.data.describing import galleries
from dpcxr_core.data.describing.leak import leak_report
from dpcxr_core.data.describing.origins import facts_of_store
from dpcxr_core.data.store import open_store
from dpcxr_core.evaluation.describing.group_counts import ages_by_sex
from dpcxr_core.study.handover import find_places
from dpcxr_core.publishing.chapters import data_figures, data_tables, policy_tables
from dpcxr_core.publishing import figures

figures.use_house_style()
places = find_places(Path(run_dir))
datasets = dict.fromkeys([places.private_dataset, places.public_dataset, *places.test_datasets])
stores = {name: open_store(places.store(name)) for name in datasets}
own = Path(manifest) if manifest else None
facts = {name: facts_of_store(store, own) for name, store in stores.items()}
private = stores[places.private_dataset]

# %% [markdown]
# ## Which data sets are these?
#
# One row a store. The licence is what the data set's manifest states; `data_manifests` has the steps to each of them.

# %%
glue("n-images", f"{sum(len(store.cohort) for store in stores.values()):,}", display=False)
display(data_tables.show_sets(stores, facts))

# %% [markdown]
# Together they hold {glue:text}`n-images` images.

# %% [markdown]
# ## Who is in the images?
#
# Images by view, recorded sex and age band. The share of bedside (AP) views tells how ill the patients were; the ages
# tell who was sent for a radiograph. These differences are what {ref}`transfer <generalisation>` has to cross.

# %%
display(data_tables.show_groups(stores))

# %% mystnb={"figure": {"name": "ages-by-sex", "caption": "Images by age in steps of ten years, one line a sex. A cross marks a step that is not shown: of fewer than ten patients, or telling of such a step by subtraction. The height is the number of images; panels have scales of their own."}, "image": {"alt": "One small panel a data set: stepped lines of the number of images over age, a solid one for women, a dashed one for men, a dotted one where sex is not recorded."}}
ages = {name: ages_by_sex(store.cohort) for name, store in stores.items()}
shown = data_figures.plot_ages(ages)

# %% [markdown]
# ## How common is each finding, and in whom?
#
# {term}`Prevalence <prevalence>` with 95 % intervals that draw whole patients, not images. *No finding* is not a
# finding but its absence: an image is labelled so when it has none of the findings that its source records, and
# sources record different ones.

# %%
display(data_tables.show_prevalence(stores))

# %% mystnb={"figure": {"name": "prevalence-by-group", "caption": "Prevalence by view, sex and age band in the data set that is trained on, with 95 % intervals. The dotted line is the prevalence in all images. A group of fewer than ten patients with or without the finding is not shown, nor one that would tell of it by subtraction."}, "image": {"alt": "Five panels, one a label: a row for each view, sex and age band, with a point and a horizontal interval around a dotted vertical line."}}
groups = data_tables.groups_to_show(private.cohort)
shown = data_figures.plot_prevalence(groups)

# %% [markdown]
# Groups with another prevalence have another task: the same decision threshold selects another share of them, and
# an equal TPR then goes with an unequal precision. {ref}`fairness` therefore shows prevalence-free numbers first.

# %% [markdown]
# ## What does a label policy decide?
#
# Reports hedge, and text miners code it: mentioned, denied, uncertain, not mentioned. A {term}`label policy` turns
# codes into present, absent or unknown. First, what it decides in a large public set, computed from the counts of its
# codes; then in the private data set of this run, if its source has codes.

# %%
published = policy_tables.published_policies("chexpert")
display(policy_tables.show_published(published))
Markdown(policy_tables.widest_in_words(published, "CheXpert"))

# %%
Markdown(policy_tables.codes_in_words(private, facts[places.private_dataset]))

# %%
for table in policy_tables.tables_of_codes(private, facts[places.private_dataset]):
    display(table)

# %% [markdown]
# ## What is missing, and at random?
#
# The share of images without a view, sex, age or label. Below it, in points of prevalence, what the labels are where
# something is missing, minus what they are where it is recorded. Where an interval misses zero, more than chance
# decides who has no sex or age on record, and subgroup results hold for the recorded only.

# %%
display(data_tables.show_missing(stores))
mix = data_tables.label_mix(stores)
shown = display(data_tables.show_label_mix(mix)) if len(mix) else None
Markdown(data_tables.label_mix_in_words(mix))

# %% [markdown]
# ## How many images do patients have?
#
# *Effective patients* is how many patients with equal numbers of images would be worth as much, if all images of a
# patient said the same (Kish). The last column is what a split by image would let through: the share of test images
# whose patient is also in training. Such a test measures memory.

# %% mystnb={"figure": {"name": "images-per-patient", "caption": "Share of the patients with so many images. A cross stands for a bar that is not shown: of fewer than ten patients, or telling of such a bar by subtraction."}, "image": {"alt": "One small panel a data set: bars of the share of patients over bands of one, two, three to four, five to nine, ten to nineteen, and twenty images or more."}}
numbers = data_tables.numbers_of_images(stores)
shown = data_figures.plot_images_per_patient(numbers)

# %%
rng = np.random.default_rng(seed)
leaks = {
    name: leak_report(store.cohort["patient_id"], test_fraction=test_fraction, rng=rng)
    for name, store in stores.items()
}
display(data_tables.show_patients(stores, leaks))
display(data_tables.show_leak(leaks[places.private_dataset]))
Markdown(data_tables.leak_in_words(leaks[places.private_dataset]))

# %% [markdown]
# ## What do the images look like?
#
# One row a data set whose pictures may be shown, then one column a label: thin plates with lost volume; a wide heart;
# fluid with a concave upper border; patchy opacity; no finding. Exposure, framing and burnt-in marks belong to the
# hospital, not to the patient; a classifier that leans on them fails elsewhere.

# %% mystnb={"figure": {"name": "gallery-hospitals", "caption": "Images at random, one row a data set."}, "image": {"alt": "Rows of small frontal chest images; rows differ in brightness, contrast, framing and markers."}}
to_show = galleries.stores_to_show(stores if show_images else {}, facts, size=64, seed=seed)
gallery = galleries.gallery_by_dataset(to_show, n_each=8, seed=seed)
shown = figures.plot_gallery(*gallery, ncols=8)

# %% mystnb={"figure": {"name": "gallery-findings", "caption": "Four images for each label, one column a label; an image may have other findings too."}, "image": {"alt": "A grid of small chest images, five columns named by label, four rows."}}
gallery = galleries.gallery_by_finding(next(iter(to_show.values())), n_each=4, seed=seed)
shown = figures.plot_gallery(*gallery, ncols=5)

# %%
Markdown(data_tables.pictures_in_words(stores, to_show, facts))

# %% [markdown]
# ## What this does not show
#
# - Whether a label is right. Prevalence counts what a source recorded, and sources err and differ in what they mean.
# - Why something is missing. A difference says that it is not missing at random; no difference does not say that it is.
# - Anybody by name: a person recorded under two identifiers counts as two patients, and sex is as recorded.
# - Of simulated hospitals, nothing about patients: every share here was drawn to be so.

# %% [markdown]
# ## Record

# %%
places.public_dataset, places.test_datasets
