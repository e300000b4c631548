"""How many images a study trains on and scores, from manifests and choices: no image is looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from dpcxr_core.data.cohort import SplitChoice
from dpcxr_core.data.manifests import MANIFESTS, facts_of, manifest
from dpcxr_core.data.simulation.simulated_hospitals import HOSPITALS
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.study.data_choice import OWN, SIMULATED, VALID_FRACTION, DataChoice


@dataclass(frozen=True, kw_only=True)
class SetSize:
    """The images of one data job; NaN where nobody knows before the files are read.

    Attributes:
        train: Training images, of the private part.
        valid: Validation images.
        test: Test images.
        patients: Patients of the training images.
        further: Test and validation images of the sets that the job makes beside this one, to test on.
        made: Images that the job draws, or makes of files.
        stored: Images that it writes: a real set's parts beside the whole.
        source: Where these numbers are from.
    """

    train: float
    valid: float
    test: float
    patients: float = math.nan
    further: float = 0.0
    made: float
    stored: float
    source: str

    @property
    def held_out(self) -> float:
        """Images that every run of a study scores."""
        return self.valid + self.test

    @property
    def in_store(self) -> float:
        """Images of the store that is trained on."""
        return self.train + self.held_out


def set_size(choice: DataChoice) -> SetSize:
    """The images of ``choice``, before any is prepared."""
    if choice.data_source == SIMULATED:
        return _simulated(choice)
    if choice.data_source == OWN:
        unknown = dict.fromkeys(("train", "valid", "test", "made", "stored"), math.nan)
        return SetSize(**unknown, source="not known before the hospital's tables are read")
    facts = facts_of(choice.data_source)
    counted = _listed(choice, facts) or _by_policy(choice, facts) or manifest("expected_sizes.yaml")[choice.data_source]
    return _parted(_split(counted, facts["default_split"]), choice.public_fraction)


def _simulated(choice: DataChoice) -> SetSize:
    n_others = len(HOSPITALS) - 2  # neither the public one nor this
    n_further = n_others * (choice.n_valid + choice.n_external_test) + choice.n_external_test  # and the null world
    drawn = choice.n_train + choice.n_valid + choice.n_test + n_further + n_others * choice.n_train + choice.n_public
    return SetSize(
        train=choice.n_train,
        valid=choice.n_valid,
        test=choice.n_test,
        further=n_further,
        made=drawn,
        stored=drawn,
        source="as asked for",
    )


def _listed(choice: DataChoice, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Lengths of the official lists in the source, where they are there: it may be a sample of the set."""
    files, source = facts["files"], PROJECT_FOLDER / choice.source_dir
    lists = [files.get("train_valid_list"), files.get("test_list")]
    if not all(name is not None and (source / name).is_file() for name in lists):
        return None
    train, test = (len((source / name).read_text(encoding="utf-8").split()) for name in lists)
    return {"train": train, "test": test, "source": f"lengths of the lists in {choice.source_dir}"}


def _by_policy(choice: DataChoice, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Counts of the images that the label policy keeps, where a correct reading was counted."""
    policy = choice.label_policy or facts["default_policy"]
    splits = _golden_counts().get(choice.data_source, {}).get("policies", {}).get(policy)
    if splits is None:
        return None
    train, valid, test = (splits[name] for name in ("train", "valid", "test"))
    return {
        "train": train["images"] + valid["images"],
        "test": test["images"],
        "patients": train["patients"] + valid["patients"],
        "source": f"golden_counts.json, policy {policy}",
    }


@cache
def _golden_counts() -> dict[str, Any]:
    return json.loads((MANIFESTS / "golden_counts.json").read_text(encoding="utf-8"))


def _split(counted: Mapping[str, Any], recipe: str) -> SetSize:
    """The three splits, where validation images come out of the others as ``SplitChoice`` takes them."""
    whole, test = float(counted["train"]), float(counted["test"])
    patients = counted.get("patients") or math.nan
    if "valid" in counted:
        share = 0.0
    else:
        share = VALID_FRACTION if recipe == "official" else VALID_FRACTION / (1 - SplitChoice.test_fraction)
    valid = counted.get("valid", share * whole)
    kept = (1 - share) * whole + valid + test
    return SetSize(
        train=(1 - share) * whole,
        valid=valid,
        test=test,
        patients=(1 - share) * patients,
        made=kept,
        stored=kept,
        source=" ".join(counted["source"].split()),
    )


def _parted(size: SetSize, public_fraction: float) -> SetSize:
    """The private part; where there is a public one too, both are stores of their own beside the whole."""
    private = 1 - public_fraction
    n_copies = 2 if public_fraction else 1
    return replace(size, train=private * size.train, patients=private * size.patients, stored=n_copies * size.stored)
