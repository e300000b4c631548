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
# (generalisation)=
# # Does the model work in another hospital?
#
# **Question.** How much is lost on hospitals that training never saw, does privacy or the initialisation change
# the loss, and what is it that differs there?
#
# - **Reads** the records of {ref}`comparison`; trains further runs where `train_datasets` names hospitals
# - **Writes** the records of these runs
# - **Expect** a loss with an interval for every condition, and one row a training hospital
# - **Needs** two cores, about a minute and a half
#
# A single private hospital trains the models of the comparison. {term}`External <external test set>` hospitals differ
# in view, exposure, prevalence, age and labels at once. All intervals come from resamples of patients; those of two
# hospitals are drawn apart.

# %% tags=["parameters"]
train_datasets: list = ["sim-c", "sim-e"]  # further hospitals that train a model of their own
target_epsilon: float = 8.0  # of the further runs, and of the model whose thresholds and shifts are shown
finding: str = "pleural_effusion"  # the finding that tables of a single finding show
recipe: dict = {"randomness": "seeded"}  # changes to the default recipe, by field; private images need "secret"
jobs: int = 2  # processes of one thread each
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from dpcxr_core.study import transferring
from dpcxr_core.study.evaluating import draws_by_run, metrics_table
from dpcxr_core.evaluation.transfer import drop
from dpcxr_core.evaluation.transfer.local_models import behind_local_models
from dpcxr_core.study.grid import private_run, recipe_from
from dpcxr_core.study.handover import find_initialisations, find_places, find_runs, find_specification
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import transfer_figures, transfer_sentences, transfer_tables
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.study.runs import run_many
from dpcxr_core.training.record import without_folder

figures.use_house_style()
places = find_places(Path(run_dir))
domain = find_initialisations(Path(run_dir))[-1]
domain_name = without_folder(domain)  # as the runs table has it
specification = find_specification(Path(run_dir), target_epsilon)
hospitals = (places.private_dataset, places.external_datasets)

# %% [markdown]
# ## What is lost on the way to another hospital?
#
# Macro AUROC at home minus macro AUROC abroad. A positive number is AUROC lost. It holds two things: what the model
# does not carry over, and how hard the images there are. The {term}`public-only model`, to which every hospital is
# foreign, shows the second.

# %%
folders = find_runs(Path(run_dir))
runs, draws = runs_table(folders), draws_by_run(folders, places)
lost = drop.drops(draws, runs, *hospitals)
display(transfer_tables.show_drops(lost), Markdown(transfer_sentences.drop(lost)))

# %% mystnb={"figure": {"name": "external-drop", "caption": "Macro AUROC at home minus the mean over the hospitals abroad. Points: means over seeds, filled circles with privacy, hollow squares without, a diamond for the public-only model. Bars: 95 % intervals over test patients. Right of the line, AUROC is lost."}, "image": {"alt": "Forest plot: one row for each initialisation and level of privacy, with a point and an interval for the AUROC lost abroad, beside a vertical line at zero."}}
fig, ax = plt.subplots(figsize=(7.2, 6.4))
transfer_figures.plot_drop_forest(lost, ax)

# %% [markdown]
# ## Does privacy, or the initialisation, enlarge the loss?
#
# Differences of losses. Both models score the same images, so how hard a hospital is cancels. First: the loss with
# privacy minus the loss without it. Then: the loss of each initialisation minus that of the domain initialisation at
# the same epsilon. A verdict counts the spread between seeds and all rows of its table. A model that is nearer to one
# half at home has less to lose: read a smaller loss beside {ref}`the AUROC it starts from <comparison>`.

# %%
by_privacy = drop.moved_by_privacy(draws, runs, *hospitals)
display(transfer_tables.show_moved(by_privacy), Markdown(transfer_sentences.moved(by_privacy)))
reference = runs.query("init_name == @domain_name and head == 'reset'")["init_label"].iloc[0]
by_init = drop.moved_by_initialisation(draws, runs, *hospitals, reference)
display(transfer_tables.show_moved(by_init), Markdown(transfer_sentences.moved(by_init)))

# %% [markdown]
# ## Train here, test there
#
# The domain initialisation, trained with privacy in each hospital in turn. Read along a row: one model. "!" marks a
# cell below one half, where two hospitals may use one word for two things; "?" one that cannot be told from it. Each
# hospital has trained once, so that both marks count other patients and the number of cells, not another training.

# %%
chosen = runs.query("init_name == @domain_name and head == 'reset' and target_epsilon == @target_epsilon")
first_seed = int(chosen["seed"].iloc[0])  # other hospitals train it too, as models are compared seed by seed
further = run_many(
    [
        private_run(name, domain, target_epsilon, specification, recipe_from(recipe), seed=first_seed)
        for name in train_datasets if name != places.private_dataset
    ], places, n_jobs=jobs,
)
home = [places.runs / run_id for run_id in chosen["run_id"]]
trained = [home[0], *further]
metrics_table(trained, places, n_jobs=jobs)
matrix = transferring.transfer_matrix(trained, places)

# %% mystnb={"figure": {"name": "transfer", "caption": "AUROC by finding: rows trained on, columns tested on. One seed a row. ! below one half; ? not told from one half."}, "image": {"alt": "Small heat maps of AUROC, one for each finding and one for their mean, with a row for each training hospital and a column for each test hospital."}}
fig = transfer_figures.plot_transfer_by_finding(matrix)

# %%
display(transfer_tables.show_conflicts(matrix), Markdown(transfer_sentences.conflicts(matrix)))

# %% [markdown]
# A fairer measure of what did not carry over: the model trained on the spot against the model from elsewhere, both on
# the same test images. Each hospital has trained once: interval and p tell of other patients, not of another training.

# %%
behind = behind_local_models(draws_by_run(trained, places), runs_table(trained))
display(transfer_tables.show_behind_local(behind))

# %% [markdown]
# ## Do decision thresholds travel?
#
# A {term}`decision threshold` from home is used abroad as it is, and beside it one chosen anew on validation images there.
# What re-tuning gets back was a loss of the operating point; what it does not is a weaker ranking, or chance in the few
# validation images that chose the new threshold. Both are measured in {term}`Youden's index`, which does not depend
# on prevalence.

# %%
abroad = transferring.compared_abroad(home, places)
display(transfer_tables.show_operating_points(abroad, finding).T)
Markdown(f"{transfer_sentences.losses(abroad)} {transfer_sentences.unmeasured(abroad)}")

# %% mystnb={"figure": {"name": "threshold-losses", "caption": "Loss of Youden's index abroad, mean over findings, in two parts that add up. Bars: 95 % intervals over test patients."}, "image": {"alt": "Forest plot: for each hospital abroad, one point with an interval for the loss that re-tuning does not get back and one for the loss to the operating point, beside a vertical line at zero."}}
fig, ax = plt.subplots(figsize=(7.2, 3.2))
transfer_figures.plot_losses(abroad.tables["operating points"], "macro", ax)

# %% [markdown]
# ## What differs there: prevalence, images or patients?
#
# If {term}`prevalence` alone differed, TPR and FPR would stay and PPV would follow. What is left over has another cause.
# The second table asks whether, within a class, the score tells the hospitals apart. One half means no; above it, images
# there score higher.

# %%
display(transfer_tables.show_prevalence_shift(abroad, finding).T)
display(transfer_tables.show_hospitals_apart(abroad, finding), Markdown(transfer_sentences.shifts(abroad)))

# %% [markdown]
# And the patients: AUROC abroad, if it saw the mix of views, sexes and ages of home. Only cells that both have count.

# %%
display(transfer_tables.show_case_mix(abroad, "macro"))

# %% [markdown]
# ## What this does not show
#
# - Scores cannot tell a hospital that labels otherwise from one that images otherwise or sees sicker patients. That takes
#   images that are read twice. The hints above say what is possible, not what is.
# - {term}`Case mix <case mix>` is view, sex and age, where all three are recorded. Severity is not in it.
# - Thresholds count as given: the intervals are about test patients, not about the validation images that chose them.
# - One seed for each further hospital.
# - No setting was chosen by what this page shows. {ref}`tuned-or-not` says what such a choice would cost.

# %% [markdown]
# ## Record

# %%
[folder.name for folder in trained]
