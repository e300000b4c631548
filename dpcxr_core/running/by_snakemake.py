"""A study by Snakemake, which knows what can run beside what, on this machine or a cluster."""

from __future__ import annotations

import importlib.util
import json
import shutil
from contextlib import chdir
from pathlib import Path

import yaml

from dpcxr_core.config import UserError

_FOLDER = Path(__file__).resolve().parent
PROFILES = _FOLDER / "profiles"
LOCAL = PROFILES / "local"
_SNAKEFILE = "Snakefile"
_MOST_LOOKED_AT = 200  # more than our profiles run side by side


def snakemake_is_here() -> bool:
    """Whether the extra ``cluster`` is installed."""
    return importlib.util.find_spec("snakemake") is not None


def profile_folder(name_or_folder: str) -> Path:
    """The folder of a Snakemake profile: of the three that come with the project by name, or any other.

    Raises:
        UserError: It holds no ``config.yaml``.
    """
    for folder in (Path(name_or_folder), PROFILES / name_or_folder):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    known = sorted(folder.name for folder in PROFILES.iterdir())
    raise UserError(f"{name_or_folder!r} is no folder with a config.yaml of Snakemake, nor one of {', '.join(known)}")


def do_by_snakemake(study_dir: Path, *, cache_dir: Path, n_cores: int | None, profile: Path) -> int:
    """Snakemake's exit code, after all jobs of the plan in ``study_dir`` that can be done; what fails has no result.

    Snakemake runs within this process, so that both end together, and without its own lock, which outlives a process
    that was killed: the caller holds the study.

    Args:
        study_dir: Holds ``plan.json``.
        cache_dir: As ``do_job`` takes it.
        n_cores: Cores of this machine; None leaves it to the profile.
        profile: Folder of a ``config.yaml`` for Snakemake.

    Raises:
        UserError: Pods could not find ``study_dir``.
    """
    from snakemake.cli import main

    # in the study's folder: where pods have no folder in common, Snakemake hands them sources from below it only
    shutil.copyfile(_FOLDER / _SNAKEFILE, study_dir / _SNAKEFILE)
    with chdir(study_dir):
        try:
            main(snakemake_words(study_dir, cache_dir=cache_dir, n_cores=n_cores, profile=profile))
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 1
    return 0


def snakemake_words(study_dir: Path, *, cache_dir: Path, n_cores: int | None, profile: Path) -> list[str]:
    """The words of Snakemake's command line, arguments as of ``do_by_snakemake``."""
    return [
        *("--snakefile", str(study_dir / _SNAKEFILE), "--directory", str(study_dir), "--profile", str(profile)),
        # what was killed is done again, one failure stops nothing else, and only results that are missing are made
        *("--rerun-incomplete", "--keep-going", "--rerun-triggers", "mtime", "--nolock"),
        # looking at every ready cell whenever one ends takes time that grows faster than their number
        *("--scheduler", "greedy", "--scheduler-subsample", str(_MOST_LOOKED_AT)),
        *("--quiet", "rules", "reason", "host"),
        *_storage_words(study_dir, profile),
        *(() if n_cores is None else ("--cores", str(n_cores))),
        *("--config", f"study_dir={json.dumps(str(study_dir))}", f"cache_dir={json.dumps(str(cache_dir))}"),
    ]


def _storage_words(study_dir: Path, profile: Path) -> list[str]:
    """Where results go of jobs that have no working folder in common with us: to where the study expects them."""
    try:
        stated = yaml.safe_load((profile / "config.yaml").read_text(encoding="utf-8"))
    except yaml.YAMLError:  # Snakemake says what is wrong
        return []
    if not isinstance(stated, dict) or stated.get("default-storage-provider") != "fs":
        return []
    if any(letter.isspace() for letter in str(study_dir)):
        raise UserError(f"the folder {study_dir} has a blank in its path, which Snakemake splits in pods; name another")
    return ["--default-storage-prefix", str(study_dir)]
