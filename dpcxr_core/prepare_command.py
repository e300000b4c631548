"""The options of ``dpcxr prepare``, and what each of its ways does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dpcxr_core.config import UserError
from dpcxr_core.data.storing.shards import WHOLE, shard_of_text

if TYPE_CHECKING:  # the tables' packages take a second to import, which no other command should wait for
    from dpcxr_core.data.storing.prepare_report import PrepareReport

SIMULATED = "simulated"
DATASET_NAMES = [
    *("chestxray14", "chexpert", "padchest", "vindr_cxr", "mimic_cxr_jpg"),
    *("uka_cxr", "taix_ray", "chestmnist", "own"),
]
_DEFAULTS = {"size": 64, "recipe": "corrected", "seed": 0, "jobs": 2}
_DEFAULTS_SIMULATED = {"hospital": "sim-a", "world": "declared", "n_train": 3000, "n_valid": 500, "n_test": 6000}
_ANY_SET = ("out", "size", "seed", "jobs")
_OFFICIAL_ONLY = ("source", "recipe", "policy", "split", "valid_fraction", "test_fraction", "manifest", "shard")
EXAMPLES = """dpcxr prepare --dataset chestxray14 --source ~/CXR14 --out stores/cxr14 --size 224 --jobs 8
  dpcxr prepare --dataset chexpert --source ~/CheXpert-v1.0 --out stores/chexpert --policy u_one --split patients
  dpcxr prepare --dataset own --manifest my.yml --source ~/export --out stores/own
  dpcxr prepare --dataset simulated --hospital sim-a --out stores/sim-a
  dpcxr prepare --dataset padchest --source ~/PadChest --out stores/padchest --shard 3/8   (on each of 8 machines)
  dpcxr prepare --join stores/padchest                                                     (once all are there)
  dpcxr prepare --verify stores/padchest"""


_OUT_HELP = (
    "a folder for this data set with these choices alone. A later call compares choices, tables and the names of "
    "pictures, not what the pictures hold: if they changed, give another folder"
)


def add_prepare_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``dpcxr prepare`` to ``parser``."""
    what = parser.add_argument_group("what to prepare")
    what.add_argument("--dataset", choices=[*DATASET_NAMES, SIMULATED])
    what.add_argument("--source", type=Path, help="folder of the official files; without it, how to get them is said")
    what.add_argument("--out", type=Path, metavar="STORE", help=_OUT_HELP)
    what.add_argument("--size", type=int, help=f"side of the stored images in pixels (default: {_DEFAULTS['size']})")
    what.add_argument("--recipe", choices=["corrected", "as_published"], help=f"default: {_DEFAULTS['recipe']}")
    what.add_argument(
        "--policy", help="what label codes mean: as_published, u_zero, u_one, u_ignore, or the manifest's"
    )
    what.add_argument("--split", choices=["official", "patients"], help="the published split, or one drawn by patient")
    what.add_argument("--valid-fraction", type=float, help="share of the patients that validates (default: 0.1)")
    what.add_argument("--test-fraction", type=float, help="--split patients: share that tests (default: 0.2)")
    what.add_argument(
        "--seed", type=int, help=f"seeds the split, and the simulated hospital (default: {_DEFAULTS['seed']})"
    )
    what.add_argument("--manifest", type=Path, help="own: YAML file that maps columns, codes and terms")
    what.add_argument("--jobs", type=int, help=f"processes that read pictures (default: {_DEFAULTS['jobs']})")
    shards = parser.add_argument_group("on several machines, and afterwards")
    shards.add_argument("--shard", metavar="I/N", help="only part I of N of the images")
    shards.add_argument("--join", type=Path, metavar="STORE", help="make STORE of all its shards; they stay")
    shards.add_argument(
        "--remove-shards", action="store_true", default=None, help="--join: delete them once STORE is verified"
    )
    shards.add_argument("--verify", type=Path, metavar="STORE", help="read every image, name those that were damaged")
    simulated = parser.add_argument_group("simulated hospitals")
    here = _DEFAULTS_SIMULATED
    simulated.add_argument("--hospital", help=f"default: {here['hospital']}")
    simulated.add_argument("--world", choices=["declared", "null"], help=f"default: {here['world']}")
    simulated.add_argument("--n-train", type=int, help=f"training images (default: {here['n_train']})")
    simulated.add_argument("--n-valid", type=int, help=f"validation images (default: {here['n_valid']})")
    simulated.add_argument("--n-test", type=int, help=f"test images (default: {here['n_test']})")


def run_prepare(options: argparse.Namespace) -> int:
    """Exit code 0, once what ``options`` ask for is done and said.

    Raises:
        UserError: They do not go together, or what they ask for cannot be done.
    """
    ways = [name for name in ("dataset", "join", "verify") if getattr(options, name) is not None]
    if len(ways) != 1:
        raise UserError("give one of --dataset, --join and --verify" + (f"; got {' and '.join(ways)}" if ways else ""))
    _refuse_ignored(options, ways[0])
    if options.verify is not None:
        from dpcxr_core.data.store import verify_store

        store = verify_store(options.verify)
        print(f"{options.verify}: {len(store.images)} images, every byte as it was prepared")
    elif options.join is not None:
        print(_joined(options).text())
    else:
        if options.out is None:
            raise UserError("--dataset needs --out, the folder of the store to make")
        print((_simulated if options.dataset == SIMULATED else _official)(_filled(options)).text())
    return 0


def _refuse_ignored(options: argparse.Namespace, way: str) -> None:
    """An option that would be ignored was meant to do something."""
    simulated = options.dataset == SIMULATED
    with_dataset = (*_ANY_SET, *(_DEFAULTS_SIMULATED if simulated else _OFFICIAL_ONLY))
    heard = {"dataset": with_dataset, "join": ("remove_shards",), "verify": ()}[way]
    for name in (*_ANY_SET, *_OFFICIAL_ONLY, *_DEFAULTS_SIMULATED, "remove_shards"):
        if getattr(options, name) is None or name in heard:
            continue
        belongs = "--join" if name == "remove_shards" else "--dataset"
        if name in _DEFAULTS_SIMULATED:
            belongs = f"--dataset {SIMULATED}"
        elif name in _OFFICIAL_ONLY:
            belongs = f"a --dataset other than {SIMULATED}"
        here = f"--dataset {options.dataset}" if way == "dataset" else f"--{way}"
        raise UserError(f"--{name.replace('_', '-')} goes with {belongs}, not with {here}, where it would do nothing")


def _filled(options: argparse.Namespace) -> argparse.Namespace:
    given = {name: value for name, value in vars(options).items() if value is not None}
    return argparse.Namespace(**{**vars(options), **_DEFAULTS, **_DEFAULTS_SIMULATED, **given})


def _joined(options: argparse.Namespace) -> PrepareReport:
    from dpcxr_core.data.prepare import join_prepared
    from dpcxr_core.data.storing.shard_joining import remove_shards

    report = join_prepared(options.join)
    if options.remove_shards:
        remove_shards(options.join)
    return report


def _official(options: argparse.Namespace) -> PrepareReport:
    from dpcxr_core.data.cohort import SplitChoice
    from dpcxr_core.data.prepare import facts_for, prepare_official

    facts = facts_for(options.dataset, options.manifest)
    recipe = options.split or facts["default_split"]
    if recipe == "official" and options.test_fraction is not None:
        raise UserError("--test-fraction goes with --split patients; the official split has a test set of its own")
    fractions = {"valid_fraction": options.valid_fraction, "test_fraction": options.test_fraction}
    given = {name: value for name, value in fractions.items() if value is not None}
    return prepare_official(
        options.dataset,
        options.source,
        options.out,
        size=options.size,
        recipe=options.recipe,
        policy=options.policy,
        split=SplitChoice(recipe=recipe, seed=options.seed, **given),
        manifest=options.manifest,
        shard=shard_of_text(options.shard) if options.shard else WHOLE,
        jobs=options.jobs,
    )


def _simulated(options: argparse.Namespace) -> PrepareReport:
    from dpcxr_core.data.simulation.prepare_simulated import prepare_simulated

    return prepare_simulated(
        options.out,
        hospital=options.hospital,
        n_train=options.n_train,
        n_valid=options.n_valid,
        n_test=options.n_test,
        seed=options.seed,
        world=options.world,
        size=options.size,
        jobs=options.jobs,
    )
