"""The image stores of a whole study, from simulated hospitals or from one data set of real images."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dpcxr_core.config import content_key
from dpcxr_core.data.cohort import SplitChoice
from dpcxr_core.data.prepare import facts_for, prepare_official
from dpcxr_core.data.simulation.prepare_simulated import prepare_simulated
from dpcxr_core.data.simulation.simulated_hospitals import HOSPITALS
from dpcxr_core.data.sources.own_manifest import own_table_file
from dpcxr_core.data.splits import part_training_patients
from dpcxr_core.data.store import check_images, file_sha256, open_store, rows_of
from dpcxr_core.data.storing.store_finishing import made_by
from dpcxr_core.data.storing.store_writing import subset_store
from dpcxr_core.study.data_choice import OWN, PUBLIC_HOSPITAL, SIMULATED, VALID_FRACTION, DataChoice
from dpcxr_core.study.places import FOLDERS, StudyPlaces
from dpcxr_core.workers import worker_pool


def prepare_study(choice: DataChoice, cache_dir: Path, *, jobs: int) -> StudyPlaces:
    """The places of a study whose stores are ready, to be evaluated in the default way.

    A data set of real images is parted into two sets of patients, a public and a private one; without a public part
    it is private as a whole, and the name of the public data set is that of the private one.

    Stores are kept in ``cache_dir`` under a key of the choice, of what the data set's manifest states, of a hospital's
    own table, and of the code that draws or reads images, so that another choice never meets them. Every byte of a
    cached store is checked.

    Raises:
        UserError: The official files cannot be read, or a cached store was changed.
    """
    facts = {} if choice.data_source == SIMULATED else facts_for(choice.data_source, _manifest_of(choice))
    stated = json.dumps(facts, default=str)  # YAML reads some dates as dates
    table = own_table_file(facts, choice.source_dir) if choice.data_source == OWN else None
    of_table = [file_sha256(table)] if table is not None and table.is_file() else []
    stores = cache_dir / "stores" / content_key(choice, stated, made_by(), *of_table)
    prepare = _simulated_stores if choice.data_source == SIMULATED else _official_stores
    parts = prepare(choice, stores, jobs)
    folders: dict[str, Any] = {name: (cache_dir / name).resolve() for name in FOLDERS} | {"stores": stores.resolve()}
    places = StudyPlaces(**folders, **parts)
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
        split=SplitChoice(recipe=facts["default_split"], valid_fraction=VALID_FRACTION, seed=choice.seed),
        manifest=manifest,
        jobs=jobs,
    )
    if choice.public_fraction == 0:
        return {"public_dataset": dataset, "private_dataset": dataset}
    store = open_store(stores / dataset)
    rng = np.random.default_rng(choice.seed)
    public, private = part_training_patients(store.cohort, choice.public_fraction, rng)
    held_out = np.concatenate([rows_of(store, "valid"), rows_of(store, "test")])
    names = {"public_dataset": f"{dataset}-public", "private_dataset": choice.name_trained_on(dataset)}
    subset_store(store, public, stores / names["public_dataset"], names["public_dataset"])
    rest = np.sort(np.concatenate([private, held_out]))
    subset_store(store, rest, stores / names["private_dataset"], names["private_dataset"])
    return names


def _manifest_of(choice: DataChoice) -> Path | None:
    return Path(choice.manifest) if choice.manifest else None
