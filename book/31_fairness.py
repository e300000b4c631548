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
# (fairness)=
# # Does privacy treat groups of patients differently?
#
# **Question.** How large are the gaps between groups of patients, which of them are more than chance, and does privacy
# or the initialisation move them?
#
# - **Reads** the records of {ref}`comparison`; trains nothing
# - **Writes** nothing but evaluations not made yet
# - **Expect** gaps with intervals beside the gap that chance makes; in the simulated null world, hardly any gap called
# - **Needs** one core, about a minute
#
# A gap without an interval is an anecdote: with 25 positives in a group, equal classifiers differ by several points.
# This chapter assesses differences. It does not call any model fair.

# %% tags=["parameters"]
finding: str = "macro"  # or one finding
curves_of: str = "no_finding"  # the finding whose ROC and calibration curves are drawn
by: str = "sex"  # or "age_band" or "view": the groups of the decisions and of what is held still
supposed_auroc: float = 0.8  # of every group, for the gap that chance makes
n_permutations: int = 2500  # of each test; 20 times as many as tests in a family, or none alone can be called
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from dpcxr_core.study import fairness
from dpcxr_core.study.curves import curves_by_group
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.evaluation.comparing.seeds import over_seeds
from dpcxr_core.evaluation.fairness.noise_floor import noise_floors
from dpcxr_core.study.handover import find_initialisations, find_places, find_runs
from dpcxr_core.publishing.chapters import fairness_figures, fairness_tables
from dpcxr_core.publishing import figures, sentences, tables
from dpcxr_core.publishing.results import CONDITION, metrics_with_runs
from dpcxr_core.study.run_table import runs_table

figures.use_house_style()
places = find_places(Path(run_dir))
folders = find_runs(Path(run_dir))
runs, metrics = runs_table(folders), metrics_table(folders, places)
by_seed, conditions = metrics_with_runs(metrics, runs), tables.conditions(metrics, runs)
home, contrasted = places.private_dataset, ["sex", "age_band", "view"]
# the runs looked at closely: the domain initialisation at the strictest epsilon and without privacy
focus = fairness.strictest_and_without(folders, runs, find_initialisations(Path(run_dir))[-1])

# %% [markdown]
# ## Who stands behind each group, and which gap would chance make?
#
# A group in which fewer than ten patients have a positive image, or fewer than ten a negative one, gets no number, and the
# reason is stated.
#
# The largest minus the smallest group is never negative. The second table is the {term}`noise floor` of AUROC, what groups
# of these sizes show when they do not differ at all: its mean and, in brackets, what it exceeds once in twenty times. It
# is known before anything is measured. The more groups, and the smaller, the larger it is.

# %%
one_run = metrics[(metrics["run_id"] == folders[0].name) & (metrics["dataset"] == home)]
display(fairness_tables.group_sizes(one_run, home, finding))
floors = noise_floors(one_run[one_run["metric"] == "auroc"], supposed_auroc)
display(fairness_tables.show_noise_floors(floors))

# %% [markdown]
# ## How large are the AUROC differences, and which are more than chance?
#
# Signed: women minus men, oldest minus youngest, bedside (AP) minus upright (PA). An interval that crosses zero does not
# show a difference. Then the group with the smallest AUROC, by name, and tests.
#
# To test a gap, groups are handed out anew among patients with the same labels: how often does chance make as large a gap?
# Many gaps are tested, so p is adjusted within a family stated beforehand: AUROC, TPR and FPR, of every finding, by sex,
# age band and view, of the domain initialisation at the strictest epsilon and without privacy (first seed).

# %% mystnb={"figure": {"name": "gap-forest", "caption": "AUROC difference between groups, one panel a way to part the patients. Points: mean over seeds, filled with privacy, hollow without, a diamond for the public-only model. Bars: the envelope of the seeds' 95 % intervals over test patients."}, "image": {"alt": "Forest plot: one row an initialisation and level of privacy, one panel a pair of groups, a point and a horizontal interval bar on either side of a line at zero. The sentence below counts the bars that miss zero."}}
gaps = tables.of_metric(by_seed, home, ["auroc_difference"], finding)
fig = fairness_figures.plot_panels(gaps, "group_column", fairness_figures.plot_gap_forest)

# %%
differences = tables.of_metric(conditions, home, ["auroc_difference"], finding)
display(Markdown(sentences.gaps(differences)))
display(fairness_tables.show_worst_groups(tables.of_metric(conditions, home, ["worst_group_auroc"], finding)))

# %%
tests = fairness.tested_gaps(focus[:2], places, home, contrasted, n_permutations)
Markdown(sentences.family_of_tests(tests))

# %% tags=["hide-output"]
fairness_tables.show_tests(tests, runs, finding)

# %% [markdown]
# ## Does privacy widen a gap, and does the initialisation change that?
#
# The gap with privacy minus the gap without it, of the same initialisation, seed and test patients, is a
# {term}`difference in differences`: what groups differ in anyway cancels. Where the gap without privacy is negative, a
# negative difference is a wider gap. Second, how far privacy moves a gap from each initialisation minus how far it does
# from the domain initialisation. Each table is one family.

# %% mystnb={"figure": {"name": "gap-movements", "caption": "AUROC gap with privacy minus the same gap without it. Thick bars: 95 % intervals over other patients. Thin bars: over other patients and other seeds."}, "image": {"alt": "Forest plot of differences in differences: one row an initialisation and epsilon, one panel a pair of groups, thick and thin bars around a line at zero. The tables below hold every number."}}
moved = fairness.gaps_moved_by_privacy(folders, runs, places, "auroc", finding)
fig = fairness_figures.plot_panels(moved, "group_column", fairness_figures.plot_contrast_forest)

# %%
display(Markdown(sentences.family_of_tests(moved)))
domain_label = runs.set_index("run_id").loc[focus[0].name, "init_label"]
changed = fairness.movements_changed_by_initialisation(folders, runs, places, "auroc", finding, domain_label)
display(Markdown(sentences.family_of_tests(changed)))

# %% tags=["hide-output"]
display(fairness_tables.show_movements(moved))
display(fairness_tables.show_movements(changed))

# %% [markdown]
# ## What do decisions look like?
#
# At the {term}`decision threshold`, frozen on validation images. The {term}`TPR difference`, the
# {term}`equalized odds difference` and their like are never negative; the grey line is the gap to expect with no true
# difference. PPV follows prevalence, and the selection rate too: equal ones are not owed where prevalence differs. Beside
# TPR and FPR they tell it, so they are not shown where the prevalence of any group is withheld.
#
# The table is {term}`underdiagnosis`: the share of images with a finding that the model calls healthy, the FPR of
# *no finding*.

# %% mystnb={"figure": {"name": "decision-gaps", "caption": "Largest minus smallest group: AUROC, rates at the frozen threshold, calibration in the large (log odds). Grey lines: the gap to expect with no true difference. A bar that touches zero does not show a difference."}, "image": {"alt": "Forest plots of gaps between groups, of AUROC, decisions and calibration, one row an initialisation and level of privacy, each with an interval bar and a short grey line where chance alone would put the gap."}}
decisions = tables.of_metric(by_seed, home, fairness_tables.MAX_MIN_GAPS, finding, [by])
fig = fairness_figures.plot_panels(decisions, "metric", fairness_figures.plot_gap_forest, n_columns=2)

# %%
underdiagnosis = tables.of_metric(conditions, home, ["fpr"], "no_finding", ["sex", "age_band"])
display(fairness_tables.show_rates(underdiagnosis))

# %% [markdown]
# The whole curves, of one finding and of the domain initialisation at the strictest epsilon (first seed). A threshold is
# one point of each ROC curve. Where a group's calibration curve lies below the diagonal, its patients have the finding
# less often than their scores say. Every step rests on ten images or more, every point on ten with the finding and ten
# without; there are no points where the prevalence of any group is withheld.

# %% mystnb={"figure": {"name": "curves-by-group", "caption": "Left: ROC curve of each group. Right: share of positives against mean score, in bins that the groups share, joined where they are small. Internal test set, without intervals."}, "image": {"alt": "Two panels with one line a group and a diagonal: TPR against FPR, and share of positives against mean score."}}
fig, axes = plt.subplots(1, 2, figsize=(9, 4))
fairness_figures.plot_curves(*curves_by_group(focus[0], places, by, curves_of), axes)

# %% [markdown]
# ## Is it the group, or what comes with it?
#
# Bedside images are of sicker and older patients. A gap that is gone within each view, or at equal ages, may have come with
# them; wider intervals there may also hide it.
# Age bands have edges that somebody chose; a window that slides along age has none. The table is PPV as it is, and at the
# prevalence that both groups have together; it is withheld where prevalences are.

# %% mystnb={"figure": {"name": "held-still", "caption": "Left: the AUROC difference as it is, within each view, and with both groups weighted to the same prevalence and ages. Right: AUROC of patients within 15 years of age; bands are the seeds' 95 % intervals. Domain initialisation."}, "image": {"alt": "Left: points with interval bars, one row a way to hold something still, one colour a level of privacy. Right: one line with a band for each level of privacy, AUROC against age."}}
held = pd.concat([metrics, fairness.held_still(focus, places, [by])], ignore_index=True)
held = held[held["run_id"].isin([folder.name for folder in focus])]
still = metrics_with_runs(held, runs)
shown = [by, f"{by} within AP", f"{by} within PA", f"{by} at equal prevalence and age"]
windows = metrics_with_runs(fairness.along_age(focus, places), runs).query("finding == @finding")
fig, axes = plt.subplots(1, 2, figsize=(9, 4))
fairness_figures.plot_held_still(tables.of_metric(still, home, ["auroc_difference"], finding, shown), axes[0])
fairness_figures.plot_age_windows(windows, axes[1])

# %%
at_one = held[~held["group_column"].str.contains(" within | and age")]  # not in the table: they need hide nothing
rates = over_seeds(metrics_with_runs(at_one, runs), CONDITION)
display(fairness_tables.show_rates(tables.of_metric(rates, home, ["ppv"], finding, [by, f"{by} at equal prevalence"])))

# %% [markdown]
# ## What is seen where the truth is zero?
#
# In the null world the same hospital's images are drawn without any effect of sex or age, so the true difference
# is zero for every model. Of one model, intervals should cross zero about nineteen times in twenty. Those counted
# here are envelopes over seeds, which do so at least as often; the conditions share their test patients, so they miss
# together. Real radiographs have no null world, and the table below is then empty.

# %%
null_gaps = tables.of_metric(conditions, places.null_dataset, ["auroc_difference"], finding, ["sex", "age_band"])
display(Markdown(sentences.gaps(null_gaps)))
display(fairness_tables.show_gaps(null_gaps))
null_tests = fairness.tested_gaps(focus[:2], places, places.null_dataset, ["sex", "age_band"], n_permutations)
display(Markdown(sentences.family_of_tests(null_tests)))

# %% [markdown]
# ## What would the same scores have given as published?
#
# The authors' public code resamples images, picks the threshold on the test images again in each resample, and gives gaps
# without an interval. Same scores, same groups, both ways; differences come from these choices alone.

# %%
display(fairness_tables.show_published(fairness.beside_published(focus[0], places), finding))

# %% [markdown]
# ## What this does not show
#
# - No setting was chosen by what this page shows. {ref}`tuned-or-not` says what such a choice would cost.
# - Groups are as recorded. Nothing here speaks for patients whose sex or age is missing.
# - Intervals in the first figure are not adjusted for their number; the families of tests are, one by one.
# - What is not recorded (devices, drains, who was sent for a radiograph) cannot be held still.
# - A difference in AUROC is not a harm by itself, and its absence is no proof of fairness.

# %% [markdown]
# ## Record

# %%
len(folders), places.test_datasets, places.evaluation
