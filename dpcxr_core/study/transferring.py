"""What a study's runs say about other hospitals: their scores at home and abroad, brought together over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.draws import Draws
from dpcxr_core.evaluation.scored_images import scored_images, shared_resamples
from dpcxr_core.evaluation.thresholds import choose_thresholds
from dpcxr_core.evaluation.transfer.abroad import APART, TOPICS, NamedDraws, compared, mean_over_findings
from dpcxr_core.evaluation.transfer.case_mix import case_mix_cells
from dpcxr_core.evaluation.transfer.conflicts import CELL, label_conflicts
from dpcxr_core.evaluation.transfer.interval_table import interval_table
from dpcxr_core.evaluation.transfer.one_half import beside_one_half
from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores, resampled_scores
from dpcxr_core.study.evaluating import cohort_tested_on, draws_of, thresholds_of
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.training.record import read_record, read_table


@dataclass(frozen=True)
class Abroad:
    """One kind of model, over its seeds, at home and in every other hospital; all intervals are by patient.

    Attributes:
        tables: By topic of ``abroad.TOPICS``: ``dataset finding``, the topic's own columns and those of
            ``paired.over_seeds_of_draws``; for "hospitals apart" those of ``one_half.beside_one_half``. The others also
            have rows of the mean over findings, "macro".
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


def draws_by_run(folders: Sequence[Path], places: StudyPlaces) -> dict[str, dict[str, Draws]]:
    """The draws of every run, by ``run_id`` and data set."""
    return {read_record(folder).run_id: draws_of(folder, places) for folder in folders}


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
    means = {key: seeds for key, seeds in cells.items() if key[-1] == MACRO}
    single = label_conflicts({key: seeds for key, seeds in cells.items() if key[-1] != MACRO})
    return pd.concat([single, interval_table(means, CELL).assign(note="")], ignore_index=True)


def compared_abroad(folders: Sequence[Path], places: StudyPlaces) -> Abroad:
    """Thresholds, prevalence, images and case mix of one kind of model at home and abroad.

    Args:
        folders: Records of runs on the private data set that differ in their seed alone.
        places: Of the study; with no external data set all tables are empty.
    """
    covered: dict[tuple[str, str], float] = {}
    unmeasured: dict[tuple[str, str], str] = {}
    runs = [_of_run(folder, places, covered, unmeasured) for folder in folders]
    draws: dict[str, dict[tuple[str, ...], NDArray]] = {topic: {} for topic in TOPICS}
    for dataset, topic in runs[0]:
        by_finding = _over_seeds([run[dataset, topic] for run in runs])
        if topic != APART:
            by_finding[MACRO] = mean_over_findings(by_finding)
        for finding, named in by_finding.items():
            draws[topic] |= {(dataset, finding, *key): each for key, each in named.items()}
    columns = {topic: ("dataset", "finding", *names) for topic, names in TOPICS.items()}
    tables = {topic: interval_table(draws[topic], names) for topic, names in columns.items()}
    tables[APART] = beside_one_half(draws[APART], columns[APART])
    return Abroad(tables, covered, unmeasured)


def _over_seeds(runs: Sequence[Mapping[str, NamedDraws]]) -> dict[str, NamedDraws]:
    """Draws by finding and key, ``(n_seeds, 1 + n_resamples)``, from those of each run."""
    return {
        finding: {key: np.stack([run[finding][key] for run in runs]) for key in named}
        for finding, named in runs[0].items()
    }


def _of_run(
    folder: Path,
    places: StudyPlaces,
    covered: dict[tuple[str, str], float],
    unmeasured: dict[tuple[str, str], str],
) -> dict[tuple[str, str], dict[str, NamedDraws]]:
    """Draws by (data set, topic), then by finding; fills ``covered`` and ``unmeasured``."""
    scored = _scored(folder, places)
    home = scored.pop(places.private_dataset)
    thresholds = thresholds_of(folder, places)
    at_home = {} if thresholds is None else thresholds.values
    found: dict[tuple[str, str], dict[str, NamedDraws]] = defaultdict(dict)
    for dataset, abroad in scored.items():
        retuned = _retuned(folder, dataset, places)
        for finding in home:
            if finding not in abroad:
                unmeasured[dataset, finding] = "not labelled there"
            elif reason := home[finding].too_few or abroad[finding].too_few:
                unmeasured[dataset, finding] = reason
            else:
                cuts = (each.get(finding, np.nan) for each in (at_home, retuned))
                topics, covered[dataset, finding] = compared(home[finding], abroad[finding], *cuts)
                for topic, named in topics.items():
                    found[dataset, topic][finding] = named
    return found


def _scored(folder: Path, places: StudyPlaces) -> dict[str, dict[str, ResampledScores]]:
    """Test scores of every hospital, by data set and finding, under the resamples that all runs share."""
    scores, cohort = read_table(folder, "scores"), cohort_tested_on(places)
    scores, cohort = (table[table["dataset"].isin(hospitals_of(places))] for table in (scores, cohort))
    by_image, choice = cohort.set_index("image_id"), places.evaluation
    found = {}
    for images in scored_images(scores, cohort, choice):
        cells = case_mix_cells(by_image.loc[list(images.image_ids)], choice.age_band_edges)
        resamples = shared_resamples(images, choice)
        found[images.dataset] = {name: resampled_scores(images, name, cells, resamples) for name in images.findings}
    return found


def _retuned(folder: Path, dataset: str, places: StudyPlaces) -> dict[str, float]:
    valid = read_table(folder, "scores_valid")
    there = valid[valid["dataset"] == dataset]
    return choose_thresholds(there, places.evaluation).values if len(there) else {}
