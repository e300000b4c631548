"""What a study's runs say about other hospitals: their scores at home and abroad, brought together over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.grouped import MACRO, joined, macro_reason
from dpcxr_core.evaluation.scored_images import scored_images, shared_resamples
from dpcxr_core.evaluation.transfer.abroad import APART, TOPICS, NamedDraws, compared, mean_over_findings
from dpcxr_core.evaluation.transfer.case_mix import case_mix_cells
from dpcxr_core.evaluation.transfer.conflicts import CELL, label_conflicts
from dpcxr_core.evaluation.transfer.interval_table import interval_table
from dpcxr_core.evaluation.transfer.one_half import beside_one_half
from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores, resampled_scores
from dpcxr_core.evaluation.transfer.shifts import NEGATIVES, POSITIVES
from dpcxr_core.study.evaluating import cohort_tested_on, draws_of, thresholds_chosen_on, thresholds_of, values_of
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.scores import scores_of_tests
from dpcxr_core.training.record import read_record


@dataclass(frozen=True)
class Abroad:
    """One kind of model, over its seeds, at home and in every other hospital; all intervals are by patient.

    Attributes:
        tables: By topic of ``abroad.TOPICS``: ``dataset finding``, the topic's own columns and those of
            ``paired.over_seeds_of_draws``; for "hospitals apart" those of ``one_half.beside_one_half``. The others also
            have rows of the mean over findings, "macro", whose ``reason`` names the findings it covers, if not all.
        covered: Share of the images at home with a counterpart abroad of the same view, sex and age band, by data set
            and finding.
        unmeasured: Why a data set and finding is in none of the tables.
    """

    tables: dict[str, pd.DataFrame]
    covered: dict[tuple[str, str], float]
    unmeasured: dict[tuple[str, str], str]


def hospitals_of(places: StudyPlaces) -> tuple[str, ...]:
    """The hospitals tested on, the one trained on first; the world without group effects is none of them."""
    return (places.private_dataset, *places.external_datasets)


def transfer_matrix(folders: Sequence[Path], places: StudyPlaces) -> pd.DataFrame:
    """AUROC of each hospital's model on each hospital's test images, by finding, with notes on cells near chance.

    Args:
        folders: Records of runs that differ in their data set and seed alone.
        places: Of the study.

    Returns:
        As ``label_conflicts``, whose family are the cells of single findings. The rows of the mean, "macro", have
        neither note nor test.
    """
    cells: dict[tuple[str, str, str], list[NDArray]] = defaultdict(list)
    for folder in folders:
        trained_on, draws = read_record(folder).config.dataset, draws_of(folder, places)
        for dataset in hospitals_of(places):
            for finding in draws[dataset].findings:
                cells[trained_on, dataset, finding].append(draws[dataset].of("auroc", finding, "all", "all"))
    means = {key: cells.pop(key) for key in [*cells] if key[-1] == MACRO}
    # all runs have the same test images
    tested = _scored(folders[0], places)
    n_patients = {key: min(tested[key[1]][key[2]].n_patients(label) for label in (0, 1)) for key in cells}
    single = label_conflicts(cells, n_patients)
    return pd.concat([single, interval_table(means, CELL).assign(note="")], ignore_index=True)


def compared_abroad(folders: Sequence[Path], places: StudyPlaces) -> Abroad:
    """Thresholds, prevalence, images and case mix of one kind of model at home and abroad.

    Args:
        folders: Records of runs on the private data set that differ in their seed alone.
        places: Of the study; with no external data set all tables are empty.
    """
    runs = [_of_run(folder, places) for folder in folders]
    draws: dict[str, dict[tuple[str, ...], NDArray]] = {topic: {} for topic in TOPICS}
    means: dict[tuple[str, str], list[str]] = {}
    for dataset, topic in runs[0].draws:
        by_finding = _over_seeds([run.draws[dataset, topic] for run in runs])
        if topic != APART:
            by_finding[MACRO], means[topic, dataset] = mean_over_findings(by_finding)
        for finding, named in by_finding.items():
            draws[topic] |= {(dataset, finding, *key): each for key, each in named.items()}
    columns = {topic: ("dataset", "finding", *names) for topic, names in TOPICS.items()}
    tables = {topic: interval_table(draws[topic], names) for topic, names in columns.items()}
    tables[APART] = beside_one_half(draws[APART], columns[APART], runs[0].n_patients)
    for (topic, dataset), covered in means.items():
        rows = (tables[topic]["dataset"] == dataset) & (tables[topic]["finding"] == MACRO)
        reasons = tables[topic].loc[rows, "reason"]
        tables[topic].loc[rows, "reason"] = [joined(macro_reason(covered), reason) for reason in reasons]
    # of test images and their labels alone, which all seeds share
    return Abroad(tables, runs[0].covered, runs[0].unmeasured)


def _over_seeds(runs: Sequence[Mapping[str, NamedDraws]]) -> dict[str, NamedDraws]:
    """Draws by finding and key, ``(n_seeds, 1 + n_resamples)``, from those of each run."""
    return {
        finding: {key: np.stack([run[finding][key] for run in runs]) for key in named}
        for finding, named in runs[0].items()
    }


@dataclass(frozen=True)
class _Run:
    """What one run has to ``Abroad``.

    Attributes:
        draws: By (data set, topic), then by finding.
        n_patients: By (data set, finding, "positives" or "negatives"): those of the hospital with fewer.
        covered: As ``Abroad.covered``.
        unmeasured: As ``Abroad.unmeasured``.
    """

    draws: dict[tuple[str, str], dict[str, NamedDraws]]
    n_patients: dict[tuple[str, str, str], int]
    covered: dict[tuple[str, str], float]
    unmeasured: dict[tuple[str, str], str]


def _of_run(folder: Path, places: StudyPlaces) -> _Run:
    scored = _scored(folder, places)
    home = scored.pop(places.private_dataset)
    at_home = values_of(thresholds_of(folder, places))
    run = _Run(defaultdict(dict), {}, {}, {})
    for dataset, abroad in scored.items():
        retuned = _retuned(folder, dataset, places)
        for finding in home:
            if finding not in abroad:
                run.unmeasured[dataset, finding] = "not labelled there"
            elif reason := home[finding].too_few or abroad[finding].too_few:
                run.unmeasured[dataset, finding] = reason
            else:
                thresholds = (each.get(finding, np.nan) for each in (at_home, retuned))
                topics, run.covered[dataset, finding] = compared(home[finding], abroad[finding], *thresholds)
                for topic, named in topics.items():
                    run.draws[dataset, topic][finding] = named
                for name, label in ((POSITIVES, 1), (NEGATIVES, 0)):
                    fewest = min(each[finding].n_patients(label) for each in (home, abroad))
                    run.n_patients[dataset, finding, name] = fewest
    return run


def _scored(folder: Path, places: StudyPlaces) -> dict[str, dict[str, ResampledScores]]:
    """Test scores of every hospital, by data set and finding, under the resamples that all runs share."""
    scores, cohort = scores_of_tests(folder, places), cohort_tested_on(places)
    scores, cohort = (table[table["dataset"].isin(hospitals_of(places))] for table in (scores, cohort))
    by_image, choice = cohort.set_index("image_id"), places.evaluation
    found = {}
    for images in scored_images(scores, cohort, choice):
        cells = case_mix_cells(by_image.loc[list(images.image_ids)], choice.age_band_edges)
        resamples = shared_resamples(images, choice)
        found[images.dataset] = {name: resampled_scores(images, name, cells, resamples) for name in images.findings}
    return found


def _retuned(folder: Path, dataset: str, places: StudyPlaces) -> dict[str, float]:
    """Decision thresholds chosen on ``dataset``, for findings with 10 positives and 10 negatives to choose them on."""
    thresholds = thresholds_chosen_on(folder, dataset, places)
    return {finding: thresholds.values[finding] for finding in thresholds.n} if thresholds else {}
