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
# (claims)=
# # Do the paper's claims hold in these runs?
#
# **Question.** For each claim of the study {cite}`tayebi2026role`: is it supported, contradicted or not decided, by a
# test fixed in code, the same for every study?
#
# - **Reads** the runs of {ref}`study`; trains nothing
# - **Writes** nothing but evaluations not made yet
# - **Expect** more claims not decided than decided: few seeds and small sets leave most contrasts open
# - **Needs** one core, seconds
#
# A claim "in all regimes" is supported only if every one of its contrasts is in favour of it after Holm's correction, and
# contradicted if a single one is against it. What has not run is shown as missing, and decides nothing. What ran and
# cannot be measured, as where age bands share no finding, is left out and counted.

# %% tags=["parameters"]
dataset: str = ""  # the data set of the study whose contrasts are drawn; empty: the first
run_dir: str = "../runs/demo"  # where results go

# %% tags=["hide-input"]
from pathlib import Path

from IPython.display import Markdown, display

from dpcxr_core.planning.study_file import read_study
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import answer_figures, answer_sentences, answer_tables
from dpcxr_core.study.handover import find_study
from dpcxr_core.study.scored_cells import scored_cells
from dpcxr_core.study.verdicts import claims_table, verdict_per_claim

figures.use_house_style()
found = find_study(Path(run_dir))
study, scored = read_study(found.file), scored_cells(found.folders, found.cells, found.places)
drawn = dataset or next(iter(study.data))
display(Markdown(answer_sentences.what_is_tested(study)))
display(Markdown(answer_sentences.missing(scored.of_grids("main", "scale", "capacity"))))

# %% [markdown]
# ## What is the verdict on each claim?
#
# Contrasts subtract the scores of two runs on the same resamples of test patients, and count the spread between
# seeds, pooled over the regimes of one contrast and data set. All contrasts of a claim are one family.

# %%
claims = claims_table(scored, study.roles)
verdicts = verdict_per_claim(claims)
display(Markdown(answer_sentences.verdicts(verdicts)))
display(answer_tables.show_verdicts(verdicts), answer_tables.show_tests_of_claims(verdicts))

# %% [markdown]
# ## Which initialisation is better, at home and abroad?
#
# Claims 1, 2 and 5. Every contrast is turned so that a point right of the line is in favour of the claim.

# %% mystnb={"figure": {"name": "claims-on-accuracy", "caption": "Contrasts behind the claims on accuracy. Green: in favour of the claim; orange: against it; grey: cannot be told from zero, all after Holm's correction. Hollow: not tested, for want of a second seed. Thick bars: 95 % intervals over test patients. Thin bars: over other patients and other seeds. Bars are not corrected."}, "image": {"alt": "Forest plots, one panel a claim: a row for each contrast and regime with a point and two bars beside a line at zero, or words that say what is missing. The tables below hold every number."}}
rows = answer_tables.claim_rows(claims, (1, 2, 5), drawn)
fig = answer_figures.plot_contrasts(
    rows, answer_figures.VERDICT_COLOURS, "verdict", "macro AUROC in favour of the claim"
)

# %% tags=["hide-output"]
display(*(answer_tables.show_claim(claims, number) for number in (1, 2, 5)))

# %% [markdown]
# ## Are gaps between groups smaller?
#
# Claims 3 and 4. A gap that is the largest of several groups minus the smallest is never negative, and is wider where scores
# are noisier. What noise may explain is therefore taken off each contrast before it is tested.
#
# The paper's definitions of its gaps are not known. Tested here are equalized odds as the larger and as the mean of the
# gaps in TPR and FPR, the gap in TPR alone, and statistical parity. Parity of accuracy, as in the group's code, is not.

# %% mystnb={"figure": {"name": "claims-on-fairness", "caption": "Contrasts behind the claims on fairness: gaps with supervised weights minus gaps with self-supervised ones, less what unequal noise may explain. Colours and bars as above."}, "image": {"alt": "Forest plots, one panel a claim: a row for each gap and regime with a point and two bars beside a line at zero, or words that say what is missing."}}
rows = answer_tables.claim_rows(claims, (3, 4), drawn)
fig = answer_figures.plot_contrasts(rows, answer_figures.VERDICT_COLOURS, "verdict", "gap in favour of the claim")

# %% tags=["hide-output"]
display(*(answer_tables.show_claim(claims, number) for number in (3, 4)))

# %% [markdown]
# ## Does the initialisation change what data and capacity are worth?
#
# Claim 6. It is supported by a difference either way, and never contradicted: no test shows that nothing changes.
# {ref}`data-scale` and {ref}`capacity` show the gains themselves.

# %% mystnb={"figure": {"name": "claims-on-gains", "caption": "Contrasts behind the claim on data and capacity: macro AUROC gained with each doubling of the patients, or with the other network, of one initialisation minus that of another. Colours and bars as above."}, "image": {"alt": "Forest plot: a row for each contrast with a point and two bars beside a line at zero, or words that say what is missing."}}
rows = answer_tables.claim_rows(claims, (6,), drawn)
fig = answer_figures.plot_contrasts(
    rows, answer_figures.VERDICT_COLOURS, "verdict", "difference of gains in macro AUROC"
)

# %%
display(answer_tables.show_claim(claims, 6))

# %% [markdown]
# ## What this does not show
#
# - "Not decided" is not "there is no difference". It says that these runs cannot tell.
# - Simulated hospitals and stand-ins test whether the machinery reaches a verdict. Only runs on the paper's data
#   sets, from its weights, speak about the paper.
# - The paper's values for single cells cannot be had, nor its splits and weights; as far as the code of a follow-up shows, each
#   cell was trained once. A contradiction here may come from what it does not say.
# - Tables of several hospitals put together by `dpcxr collect` keep the claims and verdicts of each. A verdict on all
#   their runs together would need the resamples of every run, which stay in the hospitals, and is not made.
# - Each claim is a family of its own. Six claims are six chances of a false verdict.
# - Claims known from a second-hand digest may not be in the paper's words. A size given there, up to 15 points less
#   disparity between ages, is not tested.
# - Claim 2's "closest" is read as the smallest cost of privacy, each initialisation against its own run without. Claim
#   5's "generalise better" is read as the higher AUROC abroad, and not as the smaller loss on the way there.

# %% [markdown]
# ## Record

# %%
study.name, len(found.folders), study.roles
