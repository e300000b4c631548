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
# (study)=
# # What does the whole study run, and what does it cost?
#
# **Question.** Which runs does a study file ask for, what do they cost, and which of them are there?
#
# - **Reads** a study file, the benchmark's speeds, runs that are there already
# - **Writes** the records of runs that were missing, and tables of all runs
# - **Expect** one table of costs before anything runs, and one of what is done after it
# - **Needs** two cores, about four minutes the first time
#
# A study file states a grid and its ablations. Each {term}`cell` of these is one run, named by the content of all
# that it depends on, so that a study stopped anywhere goes on from there, and shares runs with this book. Larger studies run
# without the book: `dpcxr study FILE`, on one machine or a cluster. This page then shows what they left.

# %% tags=["parameters"]
study_file: str = "studies/demo.yml"  # the study, seen from the project
study_dir: str = ""  # where dpcxr study left it, as runs/studies/paper; empty: the folder study in run_dir
run_missing: bool = True  # run here what has not run yet; false shows what is there
results_dir: str = "benchmarks/results"  # what benchmarks measured, seen from the project
jobs: int = 2  # processes of one thread each
cache_dir: str = "../.cache"  # image stores, weights and runs, reused while nothing changed
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display

from dpcxr_core.collecting.places_by_run import places_by_run
from dpcxr_core.collecting.study_tables import collect_study
from dpcxr_core.collecting.tables_folder import read_tables
from dpcxr_core.planning.cells import cells_of, cells_table
from dpcxr_core.planning.costs import cost_table, costs_by
from dpcxr_core.planning.dry_run import costs_shown, first_costs_shown
from dpcxr_core.planning.first_costs import first_cost_table
from dpcxr_core.planning.jobs import jobs_of
from dpcxr_core.planning.missing_files import missing_files
from dpcxr_core.planning.study_file import read_study
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import answer_sentences, plan_tables
from dpcxr_core.running.in_process import run_study_here
from dpcxr_core.study.handover import find_runs, leave_study

figures.use_house_style()
study = read_study(PROJECT_FOLDER / study_file)
folder = PROJECT_FOLDER / study_dir if study_dir else (Path(run_dir) / "study").resolve()
Markdown(f"The study *{study.name}* asks: *{study.question}*")

# %% [markdown]
# ## What is crossed with what?
#
# The main grid crosses its axes. An {term}`ablation` is the same grid with a few lines in place of its own, so that each
# of its cells stands beside a main cell that differs in as little as can be.

# %%
display(plan_tables.show_initialisations(study))
display(plan_tables.show_main_grid(study))
display(plan_tables.show_ablations(study))

# %% [markdown]
# ## How many runs are that?
#
# A cell that the main grid and an ablation both ask for is one run.

# %%
planned = cells_table(study)
display(plan_tables.show_counts(planned))

# %% [markdown]
# ## What do they cost?
#
# Known before anything runs: how many images each cell passes through its network, and how long one image took where
# that was measured. Another network or image size is scaled from the nearest measured one by its operations, and the
# second table says for how many cells.

# %%
costs = cost_table(cells_of(study), study)
display(costs_shown(costs_by(costs, "grid")).set_index("grid"))
display(plan_tables.show_basis(costs))

# %% [markdown]
# ## What comes before the runs?
#
# Images are prepared, and stand-ins are pretrained by their own steps at the speed of a run without privacy. Hours are
# of one core; a job may use several.

# %%
weights_dir = Path(cache_dir) / "weights"
display(first_costs_shown(first_cost_table(jobs_of(study, weights_dir))).set_index("job"))

# %% [markdown]
# ## What would limit a study of full size?
#
# All images of the paper's hospitals in one store, read in random batches from a disk that is larger than memory, and
# every metric with its resamples of patients on as many scores. *Announced* batches tell the system beforehand what they
# will read. Measured by `python -m benchmarks.at_scale`; without a row here, it has not been.

# %%
display(plan_tables.show_at_scale(results_dir))

# %% [markdown]
# Pictures of 1024 x 1024 px are prepared in any number of processes, none of which ever holds the set. Load on the machine
# makes seconds longer and hardly those of all cores (`python -m benchmarks.preparing`).

# %%
display(plan_tables.show_preparing(results_dir))

# %% [markdown]
# Random batches of 64 from a store of pictures of 224 x 224 px, as training reads them. Bytes are what a GPU is sent; the
# input of a network is made of them there, and on a machine without one by its cores.

# %%
display(plan_tables.show_loading(results_dir))

# %% [markdown]
# And the engine itself, with cells that do nothing: to read and plan the study, to find out what to do, to run all
# cells on two cores, and to find that nothing is left (`python -m benchmarks.scheduling`).

# %%
display(plan_tables.show_scheduling(results_dir))

# %% [markdown]
# ## What is missing, and what runs now?
#
# First files that the study needs and that are not there; `dpcxr study FILE --dry-run` says how to get them. Then what
# has not run is run, each cell by itself: one that fails leaves the others alone. Runs of {ref}`comparison` count.

# %%
display(Markdown(plan_tables.missing_files_in_words(missing_files(study, weights_dir.resolve()))))
of_comparison = {record.name for record in find_runs(Path(run_dir))} if run_missing else set()
if run_missing:
    run_study_here(study, folder, cache_dir=Path(cache_dir), n_jobs=jobs)
tables_folder = collect_study(study, folder, jobs, weights_dir=weights_dir)
leave_study(Path(run_dir), study.path, tables_folder, places_by_run(study, folder, weights_dir))
cells = read_tables(tables_folder).tables["cells"]

# %%
display(plan_tables.show_states(cells))
display(Markdown(answer_sentences.done(cells, of_comparison)))
display(Markdown(answer_sentences.missing(cells)))

# %% [markdown]
# ## What this does not show
#
# - Costs are a model. Nothing of this project was timed on a GPU, and a study that needs one may take far less or far
#   longer.
# - How fast pictures are read and drawn was seen on one machine, and larger pictures take longer.
# - A cell that is done is a run that ended. Whether its numbers answer anything, the chapters after this one ask.

# %% [markdown]
# ## Record

# %%
study.name, len(cells), study.evaluation
