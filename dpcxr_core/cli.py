"""The ``dpcxr`` command: thin, it calls the rooms."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from dpcxr_core.accounting.certificate import AccountantsDisagreeError
from dpcxr_core.accounting.solving import SOLVED_FOR
from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.privacy.errors import PrivacyEngineError
from dpcxr_core.provenance import PROJECT_FOLDER


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command ``arguments``: 0 only on success; a user's mistake is one line."""
    options = _parser().parse_args(arguments)
    # nbformat imports jsonschema, which compiles a grammar of IRIs if it finds this one, for seconds at the start of
    # every job; no notebook has an IRI
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    try:
        return options.run(options)
    except UserError as error:
        print(f"dpcxr: {error}", file=sys.stderr)
        return 1
    except PrivacyEngineError as error:
        print(f"dpcxr: the privacy engine failed its check, nothing was released: {error}", file=sys.stderr)
        return 1
    except AccountantsDisagreeError as error:
        print(f"dpcxr: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"dpcxr: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dpcxr: stopped; what was finished is kept, call again to go on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dpcxr", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_prepare,
        _add_calibrate,
        _add_selfcheck,
        _add_train,
        _add_execute,
        _add_book,
        _add_study,
        _add_job,
        _add_collect,
        _add_release,
    ):
        add(commands)
    return parser


def _command(commands: Any, name: str, description: str, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=description,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_prepare(commands: Any) -> None:
    from dpcxr_core.prepare_command import EXAMPLES, add_prepare_options, run_prepare

    parser = _command(
        commands,
        "prepare",
        "Turn official files, a hospital's own, or a simulated hospital into a cohort table and an image store; a run "
        "that was killed goes on when called again. Or join shards, or verify a store.",
        EXAMPLES,
    )
    add_prepare_options(parser)
    parser.set_defaults(run=run_prepare)


def _add_calibrate(commands: Any) -> None:
    parser = _command(
        commands,
        "calibrate",
        "Find the least noise that keeps a run within a target epsilon, and print its certificate; or, for a given "
        "noise, the most steps, the largest batch or the epsilon. An answer given before is remembered.",
        "dpcxr calibrate --target-epsilon 0.9 --delta 6e-6 --n-units 86524 "
        "--expected-batch-size 1024 --steps 2000 --json\n  "
        "dpcxr calibrate --solve steps --noise-multiplier 1.1 --target-epsilon 3 --delta 6e-6 --n-units 86524 "
        "--expected-batch-size 1024",
    )
    parser.add_argument("--solve", choices=list(SOLVED_FOR), default="noise", help="what to find")
    parser.add_argument("--target-epsilon", type=float, help="unless solved for, as the three below")
    parser.add_argument("--noise-multiplier", type=float)
    parser.add_argument("--expected-batch-size", type=int, help="privacy units")
    parser.add_argument("--steps", type=int, dest="n_steps")
    parser.add_argument("--delta", type=float, required=True)
    parser.add_argument("--n-units", type=int, required=True, help="declared size of the training set, privacy units")
    parser.add_argument("--max-grad-norm", type=float, default=1.0)
    parser.add_argument("--privacy-unit", choices=["image", "patient"], default="image")
    parser.add_argument("--max-images-per-patient", type=int, help="in one step; for the patient unit")
    parser.add_argument("--clipping", choices=["flat", "automatic"], default="flat")
    parser.add_argument("--time-limit", type=float, default=60.0, metavar="SECONDS", help="of the whole (default: 60)")
    parser.add_argument("--json", action="store_true", help="the certificate as JSON instead of a paragraph")
    parser.set_defaults(run=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    from dpcxr_core.accounting.certificate import PrivacyCertificate, privacy_statement
    from dpcxr_core.accounting.deadline import ended_after
    from dpcxr_core.accounting.remembered import remembered
    from dpcxr_core.accounting.solving import Problem, solved_certificate

    for unknown, name in SOLVED_FOR.items():
        given, flag = getattr(options, name), "--" + name.removeprefix("n_").replace("_", "-")
        if (given is None) != (unknown == options.solve):
            raise UserError(
                f"to solve for {options.solve}, {flag} must be given"
                if given is None
                else f"{flag} is what is solved for; got {given}. Leave it out, or --solve another"
            )
    problem = Problem(**{field.name: getattr(options, field.name) for field in fields(Problem)})

    def answer_in_time() -> dict[str, Any]:
        return asdict(ended_after(options.time_limit, lambda: solved_certificate(problem, options.time_limit)))

    answer = remembered("calibrate", asdict(problem), answer_in_time)
    print(json.dumps(answer, indent=1) if options.json else privacy_statement(PrivacyCertificate(**answer)))
    return 0


def _add_selfcheck(commands: Any) -> None:
    parser = _command(
        commands,
        "selfcheck",
        "Prove the privacy engine on this machine; exit 1 when anything fails.",
        "dpcxr selfcheck --architecture convnext_tiny",
    )
    parser.add_argument("--architecture", default="convnext_mini", help="timm name, or convnext_mini")
    parser.set_defaults(run=_selfcheck)


def _selfcheck(options: argparse.Namespace) -> int:
    from dpcxr_core.privacy.selfcheck import full_selfcheck
    from dpcxr_core.publishing.tables import show_checks
    from dpcxr_core.training.architectures import build_architecture, fitting_image_size, per_image_input

    architecture = options.architecture.partition(".")[0]  # the weights tag of a name changes no layer
    check_size = fitting_image_size(architecture, 64)
    model = build_architecture(architecture, n_outputs=len(FINDINGS), seed=0, image_size=check_size)
    checks = full_selfcheck(model, (per_image_input(architecture).in_chans, check_size, check_size))
    print(show_checks([asdict(check) for check in checks]).to_string())
    failed = [check.name for check in checks if not check.passed]
    print(f"FAILED: {', '.join(failed)}" if failed else f"all {len(checks)} checks passed for {architecture}")
    return 1 if failed else 0


def _add_train(commands: Any) -> None:
    parser = _command(
        commands,
        "train",
        "Train, score and record one run; a run that was killed goes on from its checkpoint.",
        "dpcxr train runs/demo/run.json --run-dir runs/demo\n  "
        "torchrun --nproc-per-node 2 -m dpcxr_core.cli train runs/demo/run.json --run-dir runs/demo",
    )
    parser.add_argument("config", type=Path, help="JSON of a RunConfig, or the record.json of a run to repeat")
    parser.add_argument(
        "--run-dir", type=Path, default=PROJECT_FOLDER / "runs" / "demo", help="where the data chapter left places.json"
    )
    parser.add_argument(
        "--checkpoint-every", type=float, default=60.0, metavar="SECONDS", help="0: after every step (default: 60)"
    )
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    from dpcxr_core.running.config_file import read_config
    from dpcxr_core.study.handover import find_places
    from dpcxr_core.study.runs import run_one
    from dpcxr_core.training.ranks import join_ranks
    from dpcxr_core.workers import keep_freed_memory

    keep_freed_memory()
    config = read_config(options.config)
    places = find_places(options.run_dir)
    with join_ranks() as ranks:
        folder = run_one(
            config, places, progress=ranks.is_first, ranks=ranks, checkpoint_every=options.checkpoint_every
        )
        if ranks.is_first:
            print(folder)
    return 0


def _add_execute(commands: Any) -> None:
    parser = _command(
        commands,
        "execute",
        "Run one chapter through papermill; unknown parameters are refused.",
        "dpcxr execute book/14_noise_calibration.py -p target_epsilon 0.9",
    )
    parser.add_argument("chapter", type=Path)
    parser.add_argument("-f", "--file", type=Path, help="YAML file of parameters")
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        dest="parameters",
    )
    parser.add_argument(
        "--run-dir", type=Path, default=PROJECT_FOLDER / "runs" / "demo", help="where earlier chapters left results"
    )
    parser.set_defaults(run=_execute)


def _execute(options: argparse.Namespace) -> int:
    from dpcxr_core.profiles import places_of_chapters
    from dpcxr_core.publishing.pages.execute import execute_chapter
    from dpcxr_core.publishing.pages.parameters import declared_parameters

    if not options.chapter.is_file():
        raise UserError(f"there is no chapter {options.chapter}")
    parameters: dict[str, Any] = {}
    if options.file is not None:
        if not options.file.is_file():
            raise UserError(f"there is no parameter file {options.file}")
        parameters = _parameters_in(options.file)
    parameters |= {name: _value(text) for name, text in options.parameters}
    declared = declared_parameters(options.chapter)
    for name, place in places_of_chapters(options.run_dir).items():
        if name in declared:
            parameters.setdefault(name, place)
    print(execute_chapter(options.chapter, options.run_dir / "notebooks", parameters, progress=True))
    return 0


def _parameters_in(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} must map parameters to values; it holds a {type(values).__name__}")
    return values


def _value(text: str) -> Any:
    """``text`` as a JSON value, or as it is: YAML would read 6e-6 as a word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _add_book(commands: Any) -> None:
    parser = _command(
        commands,
        "book",
        "Run every chapter of a profile, then build the HTML; a failing cell fails the command.",
        "dpcxr book --profile demo",
    )
    parser.add_argument("--profile", default="demo", help="a name in book/params, or a .yml file")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where executed chapters and results go")
    parser.add_argument("--out", type=Path, default=Path("_build"), help="where the HTML goes")
    parser.set_defaults(run=_book)


def _book(options: argparse.Namespace) -> int:
    from dpcxr_core.book import make_book

    print(f"the book is at {make_book(options.profile, options.runs, options.out)}")
    return 0


def _add_study(commands: Any) -> None:
    from dpcxr_core.study_command import EXAMPLES, add_study_options, run_study

    parser = _command(
        commands,
        "study",
        "Run every cell of a study file, here or on a cluster, and collect the tables; a study that was killed goes on "
        "when called again, and what is done is never done again.",
        EXAMPLES,
    )
    add_study_options(parser)
    parser.set_defaults(run=run_study)


def _add_job(commands: Any) -> None:
    from dpcxr_core.study_command import add_job_options, run_job

    parser = commands.add_parser("job")  # no help: it is for engines, not for people
    add_job_options(parser)
    parser.set_defaults(run=run_job)


def _add_collect(commands: Any) -> None:
    from dpcxr_core.collect_command import EXAMPLE, add_collect_options, run_collect

    parser = _command(
        commands,
        "collect",
        "Merge the tables of several hospitals, which hold no image and no small count; every certificate is computed "
        "anew, and what does not fit is refused.",
        EXAMPLE,
    )
    add_collect_options(parser)
    parser.set_defaults(run=run_collect)


def _add_release(commands: Any) -> None:
    from dpcxr_core.release_command import EXAMPLE, add_release_options, run_release

    parser = _command(
        commands,
        "release",
        "Make a folder to give away of a private run: weights, certificate and model card; a run without a valid "
        "certificate is refused.",
        EXAMPLE,
    )
    add_release_options(parser)
    parser.set_defaults(run=run_release)


if __name__ == "__main__":
    sys.exit(main())
