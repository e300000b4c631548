"""The image stores of a whole study, from simulated hospitals or from one data set of real images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dpcxr_core.config import UserError, content_key
from dpcxr_core.data.cohort import SplitChoice
from dpcxr_core.data.prepare import DATASETS, OWN, facts_for, prepare_official
from dpcxr_core.data.simulation.prepare_simulated import prepare_simulated
from dpcxr_core.data.simulation.simulated import HOSPITALS
from dpcxr_core.data.splits import part_training_patients
from dpcxr_core.data.store import check_images, open_store, rows_of
from dpcxr_core.data.storing.store_finishing import made_by
from dpcxr_core.data.storing.store_writing import subset_store
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.workers import worker_pool

SIMULATED = "simulated"
PUBLIC_HOSPITAL = "sim-source"
_VALID_FRACTION = 0.15  # of the patients; enough images to choose a threshold on where the set is a sample


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which images a study uses.

    Attributes:
        data_source: "simulated", a data set of ``dpcxr_core.data.prepare.DATASETS`` for a folder in its official
            layout, or "own" for a hospital's own images.
        source_dir: That folder; empty for simulated hospitals, and where the manifest of "own" names it.
        manifest: own: the YAML file that says how the hospital's tables are read.
        label_policy: Real images: what the label codes mean, by its name in the manifest; empty for its default.
        image_recipe: Real images: "corrected" or "as_published", see ``dpcxr_core.data.pictures.recipes``.
        image_size: Side of the stored images, in pixels.
        private_hospital: Simulated: the hospital that is trained on with privacy.
        n_public: Simulated: images of the public hospital, for domain pretraining.
        n_train: Simulated: training images of each private hospital.
        n_valid: Simulated: validation images of each private hospital.
        n_test: Simulated: test images of the private hospital that is trained on.
        n_external_test: Simulated: test images of every other hospital and of the null world.
        public_fraction: Real images: share of the training patients that plays the public part.
        seed: Seeds the patients, or the split.
    """

    data_source: str
    source_dir: str = ""
    manifest: str = ""
    label_policy: str = ""
    image_recipe: str = "corrected"
    image_size: int = 64
    private_hospital: str = "sim-a"
    n_public: int = 600
    n_train: int = 2400
    n_valid: int = 400
    n_test: int = 5000
    n_external_test: int = 1000
    public_fraction: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        known = (SIMULATED, *DATASETS)
        if self.data_source not in known:
            raise UserError(f"data_source must be one of {', '.join(known)}; got {self.data_source!r}")
        if self.data_source == OWN:
            if not self.manifest:
                raise UserError("data_source 'own' needs manifest, the YAML file that maps the hospital's tables")
        elif self.data_source != SIMULATED and not self.source_dir:
            raise UserError(f"data_source {self.data_source!r} needs source_dir, the folder of the official files")
        if self.private_hospital not in HOSPITALS or self.private_hospital == PUBLIC_HOSPITAL:
            private = [name for name in HOSPITALS if name != PUBLIC_HOSPITAL]
            raise UserError(f"private_hospital must be one of {private}; got {self.private_hospital!r}")
        if not 0 < self.public_fraction < 1:
            raise UserError(f"public_fraction must be between 0 and 1; got {self.public_fraction}")


def prepare_study(choice: DataChoice, cache_dir: Path, *, jobs: int) -> StudyPlaces:
    """The places of a study whose stores are ready, to be evaluated in the default way.

    Stores are kept in ``cache_dir`` under a key of the choice, of what the data set's manifest states, and of the
    code that draws or reads images, so that another choice never meets them. Every byte of a cached store is checked.

    Raises:
        UserError: The official files cannot be read, or a cached store was changed.
    """
    facts = {} if choice.data_source == SIMULATED else facts_for(choice.data_source, _manifest_of(choice))
    stated = json.dumps(facts, default=str)  # YAML reads some dates as dates
    stores = cache_dir / "stores" / content_key(choice, stated, made_by())
    prepare = _simulated_stores if choice.data_source == SIMULATED else _official_stores
    parts = prepare(choice, stores, jobs)
    places = StudyPlaces(
        stores=stores.resolve(),
        weights=(cache_dir / "weights").resolve(),
        runs=(cache_dir / "runs").resolve(),
        evaluations=(cache_dir / "evaluations").resolve(),
        **parts,
    )
    for dataset in dict.fromkeys([places.public_dataset, *places.test_datasets]):
        check_images(open_store(places.store(dataset)))
    return places


def _simulated_stores(choice: DataChoice, stores: Path, jobs: int) -> dict[str, Any]:
    def hospital_store(name: str, n_train: int, n_valid: int, n_test: int, world: str = "declared") -> Callable:
        dataset = name if world == "declared" else f"{name}-{world}"
        return partial(
            prepare_simulated,
            stores / dataset,
            hospital=name,
            n_train=n_train,
            n_valid=n_valid,
            n_test=n_test,
            seed=choice.seed,
            world=world,
            size=choice.image_size,
            progress=False,
        )

    private = choice.private_hospital
    others = [name for name in HOSPITALS if name not in (PUBLIC_HOSPITAL, private)]
    n_train, n_valid, n_external = choice.n_train, choice.n_valid, choice.n_external_test
    tasks = [
        hospital_store(private, n_train, n_valid, choice.n_test),
        hospital_store(PUBLIC_HOSPITAL, choice.n_public, 0, 0),
        hospital_store(private, 0, 0, n_external, world="null"),
        *[hospital_store(name, n_train, n_valid, n_external) for name in others],
    ]
    with worker_pool(jobs) as pool:
        futures = [pool.submit(task) for task in tasks]
        for future in tqdm(futures, desc="hospitals", mininterval=5):
            future.result()
    return {
        "public_dataset": PUBLIC_HOSPITAL,
        "private_dataset": private,
        "external_datasets": tuple(others),
        "null_dataset": f"{private}-null",
    }


def _official_stores(choice: DataChoice, stores: Path, jobs: int) -> dict[str, Any]:
    manifest = _manifest_of(choice)
    facts = facts_for(choice.data_source, manifest)
    dataset = facts.get("dataset", choice.data_source)
    prepare_official(
        choice.data_source,
        Path(choice.source_dir) if choice.source_dir else None,
        stores / dataset,
        size=choice.image_size,
        recipe=choice.image_recipe,
        policy=choice.label_policy or None,
        split=SplitChoice(recipe=facts["default_split"], valid_fraction=_VALID_FRACTION, seed=choice.seed),
        manifest=manifest,
        jobs=jobs,
    )
    store = open_store(stores / dataset)
    rng = np.random.default_rng(choice.seed)
    public, private = part_training_patients(store.cohort, choice.public_fraction, rng)
    held_out = np.concatenate([rows_of(store, "valid"), rows_of(store, "test")])
    names = {"public_dataset": f"{dataset}-public", "private_dataset": f"{dataset}-private"}
    subset_store(store, public, stores / names["public_dataset"], names["public_dataset"])
    rest = np.sort(np.concatenate([private, held_out]))
    subset_store(store, rest, stores / names["private_dataset"], names["private_dataset"])
    return names


def _manifest_of(choice: DataChoice) -> Path | None:
    return Path(choice.manifest) if choice.manifest else None
