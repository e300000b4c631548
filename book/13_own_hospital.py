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
# (own-hospital)=
# # How does your own hospital become a data set?
#
# **Question.** What has to be said about an export of images and a spreadsheet before it can be trained on, and what
# happens when something is said wrong?
#
# - **Reads** nothing by default: an invented hospital, with a table in German, is written first; or a folder and a
#   manifest of your own
# - **Writes** one image store in `cache_dir`
# - **Expect** a manifest of about thirty lines, a store, and two mistakes answered with the values at fault
# - **Needs** one core, under a minute
#
# The default images are a {term}`didactic phantom`. With `data_manifests/paediatric.yaml` the same page is about real
# radiographs of children; with a manifest of yours, about your hospital.

# %% tags=["parameters"]
manifest: str = ""  # your manifest, such as data_manifests/paediatric.yaml; empty for the invented hospital
source_dir: str = ""  # the folder it is about, unless the manifest names it
image_size: int = 64  # side of the stored images, pixels
mistakes: list = []  # [right, wrong] texts of your manifest, to see the answers; empty: two of the invented hospital
n_images: int = 800  # of the invented hospital
seed: int = 0  # draws the invented hospital, and the pictures shown
jobs: int = 2  # processes
show_images: bool = True  # only where the manifest allows it
cache_dir: str = "../.cache"  # the image store, reused while nothing changed
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Code, Markdown, display

from dpcxr_core.config import content_key
from dpcxr_core.data.describing import galleries, summary
from dpcxr_core.data.describing.origins import pictures_may_be_shown
from dpcxr_core.data.prepare import prepare_official
from dpcxr_core.data.simulation.own_standin import MISTAKES, write_own_standin
from dpcxr_core.data.sources.own_hospital import answer_to_mistake
from dpcxr_core.data.sources.own_manifest import own_facts
from dpcxr_core.data.store import open_store
from dpcxr_core.provenance import PACKAGE_FOLDER, source_key
from dpcxr_core.publishing.chapters import data_tables, policy_tables
from dpcxr_core.study.handover import leave_own_store
from dpcxr_core.publishing import figures

figures.use_house_style()
standin = {"n_images": n_images, "size": 2 * image_size, "seed": seed}
written = Path(manifest) if manifest else write_own_standin(Path(cache_dir) / "own_standin", **standin)
facts = own_facts(written)
source = Path(source_dir or facts["source"]) if manifest else written.parent

# %% [markdown]
# ## What has to be said
#
# A manifest is a short text beside the data. It names the table, the folders with pictures, and the columns; it says
# what the values of a column mean; and it says which terms stand for which finding. Nothing is guessed: a value that
# it does not map is an error, never a missing value. `data_manifests/own_example.yaml` explains every key, and the two
# forms for archives without a table: DICOM headers, and names of folders.

# %%
text = written.read_text(encoding="utf-8")
Code(text, language="yaml")

# %% [markdown]
# ## From the export to a store
#
# The same step on the command line is `dpcxr prepare --dataset own --manifest FILE --source FOLDER --out STORE`.
# Nothing outside the folder is read. Whatever is set missing, not found or left out is counted under a name; the
# report in the store names every file.

# %%
out = Path(cache_dir) / "own" / content_key(text, str(source), standin, image_size, source_key(PACKAGE_FOLDER / "data"))
report = prepare_official("own", source, out, size=image_size, manifest=written, jobs=jobs, progress=False)
store = open_store(out)
hospital = {report.dataset: store}
if manifest:
    leave_own_store(Path(run_dir), out)  # so that no page is published that names one of its images or patients
display(data_tables.show_reading(summary.reading_table(hospital)))
display(data_tables.show_refusals(report.refused))
display(data_tables.show_counted({**report.counts, "files_in_no_row": len(report.unlisted)}))

# %% [markdown]
# A number under ten is not shown, nor what would tell it by subtraction. A finding that the hospital does not record is
# unknown for every image; it is neither trained on nor tested.

# %% [markdown]
# ## Who is in it?
#
# Images by view, sex and age band, as in {ref}`what-is-in-the-images`. What is not recorded stays so. A band of years
# such as 1-5 is no age: the manifest has to say that it is missing, or which number stands for it.

# %%
display(data_tables.show_groups(hospital))
display(data_tables.show_missing(hospital))

# %% [markdown]
# ## What do suspected findings count as?
#
# A report says that a finding is there, that it is suspected, or nothing of it. The codes stay beside the labels, and a
# {term}`label policy` turns them into present, absent or unknown. The default, `u_zero`, takes only what is certain
# for present. Under `u_ignore` a finding that no report denies is present or unknown, and nothing is left to tell it from. If a
# report without the term means that the finding is absent, the manifest says so: `not_mentioned: negative`.

# %%
Markdown(policy_tables.codes_in_words(store, facts))

# %%
for table in policy_tables.tables_of_codes(store, facts):
    display(table)

# %% [markdown]
# ## Who trains, who tests?
#
# The split is drawn by patient, unless the hospital brings its own, which is checked. Without patients there is no
# honest split, so the manifest has to name their column, or say that they are not known.

# %%
display(data_tables.show_splits(summary.split_table(hospital)))

# %% [markdown]
# ## What do the images look like?
#
# Turned right way up, in the same range of grey, without cutting or stretching. If these look wrong, nothing that
# follows can be right. Pictures are shown only where the manifest says that they may be; else drawings are.

# %% mystnb={"figure": {"name": "own-hospital-gallery", "caption": "Images drawn at random from the store; simulated ones where the manifest does not allow others to be shown."}, "image": {"alt": "Two rows of small frontal chest images, lungs dark and bones bright."}}
to_show = galleries.stores_to_show(hospital if show_images else {}, {report.dataset: facts}, size=image_size, seed=seed)
gallery = galleries.gallery_by_dataset(to_show, n_each=16, seed=seed)
shown = figures.plot_gallery(*gallery, ncols=8)

# %% [markdown]
# ## What if the manifest is wrong?
#
# Each block shows a line of the manifest, what it was changed to, and the answer. The answer comes before any picture
# is read. It quotes values of the table, dates of birth among them, so it is shown only where pictures may be; and of a
# manifest of your own nothing is tried but what `mistakes` names.

# %%
may_be_quoted = pictures_may_be_shown(store, facts)
for right, wrong in mistakes or (() if manifest else MISTAKES):
    answer = answer_to_mistake(written, source, right=right, wrong=wrong) if may_be_quoted else "not shown: it quotes the table"
    display(Code(f"- {right}\n+ {wrong}\n\n{answer}", language="text"))

# %% [markdown]
# ## What this does not show
#
# - Whether the labels are right. A mapping can be complete and still call the wrong term a finding.
# - Whether two numbers are one person. A patient with two numbers can be in training and in test.
# - Whether terms mean what they mean elsewhere: pneumonia in a children's ward is not pneumonia in intensive care.
# - Of the invented hospital, anything about patients.

# %% [markdown]
# ## Record

# %%
report.dataset, store.description["recipe"]["name"], store.description["choices"]
