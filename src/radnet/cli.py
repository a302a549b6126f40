"""The radnet command: one verb per task; each imports only what it needs."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from radnet import __version__

EXTRAS = {
    "torch": "train",
    "pytorch_lightning": "train",
    "lightning_fabric": "train",
    "torchmetrics": "train",
    "monai": "train",
    "safetensors": "train",
    "wandb": "train",
    "radiomics": "reference",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 for a fault of the input (one message on stderr), 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["train"]:
            return _train(given[1:])
        if given[:1] == ["evaluate"]:
            return _evaluate(given[1:])
        options = _parser().parse_args(given)
        return int(options.run(options))
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        print(f'error: this needs the extra "{extra}": pip install "radnet[{extra}]" ({error})', file=sys.stderr)
        return 1
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("RADNET_TRACEBACK"):
            raise
        print(f"error: {_innermost(error)}", file=sys.stderr)
        return 2 if getattr(error, "from_command_line", False) else 1


def _innermost(error: BaseException) -> str:
    """Return the message of a fault, without the wrapper Hydra puts around a failing constructor."""
    return str(error.__cause__ if type(error).__name__ == "InstantiationException" and error.__cause__ else error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="radnet", description="Radiomics signatures that hold up at another hospital."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    check = verbs.add_parser("check", help="read a cohort folder and list every fault of its tables")
    check.add_argument("folder", type=Path)
    check.set_defaults(run=_check)

    simulate = verbs.add_parser("simulate", help="write a simulated cohort folder")
    simulate.add_argument("folder", type=Path, metavar="OUT")
    simulate.add_argument("--preset", default="small", help="small, paper or multicentre")
    simulate.add_argument("--set", nargs="+", action="extend", default=[], metavar="KNOB=VALUE", dest="knobs")
    simulate.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    simulate.set_defaults(run=_simulate)

    extract = verbs.add_parser("extract", help="measure the radiomics features of every lesion")
    extract.add_argument("folder", type=Path)
    extract.add_argument("--settings", default="zhao", help="a name in conf/radiomics or a YAML file")
    extract.add_argument("--out", type=Path, required=True, metavar="features.parquet")
    extract.add_argument("--engine", default="pyradiomics")
    extract.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    extract.add_argument("--cache", type=Path, default=Path(os.environ.get("RADNET_CACHE", ".cache")) / "features")
    extract.set_defaults(run=_extract)

    report = verbs.add_parser("report", help="write report.html anew from the tables of an evaluation")
    report.add_argument("folder", type=Path, metavar="METRICS_FOLDER")
    report.set_defaults(run=_report)

    for verb, what in (
        ("train", "train an experiment: experiment=NAME [key=value …]"),
        ("evaluate", "judge predictions"),
    ):
        verbs.add_parser(verb, help=what, add_help=False)
    return parser


def _train(overrides: Sequence[str]) -> int:
    from radnet.config import describe, load_config

    if {"-h", "--help"} & set(overrides):
        print(describe("train"))
        return 0
    config = load_config("train", overrides)
    from radnet.experiment import run_experiment

    folder = run_experiment(config)
    print(f"run: {folder}")
    print(f"judge it: python evaluate.py run={folder}")
    return 0


def _evaluate(overrides: Sequence[str]) -> int:
    from radnet.config import describe, load_config

    if {"-h", "--help"} & set(overrides):
        print(describe("evaluate"))
        return 0
    config = load_config("evaluate", overrides)
    from radnet.judgement import headline, judge

    folder, assessment = judge(config)
    print("\n".join(headline(folder, assessment)))
    print(f"metrics: {folder / 'metrics.csv'}")
    print(f"report: {folder / 'report.html'}")
    failed = [message for message in assessment.messages if message["severity"] == "failed"]
    for one in failed:
        where = " · ".join(str(one[key]) for key in ("endpoint", "model", "partition") if one[key])
        print(f"error: {where}: {one['message']}", file=sys.stderr)
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> int:
    from radnet.data.manifest import read_manifest

    cohort = read_manifest(options.folder)
    lesions = [lesion for patient in cohort.patients for lesion in patient.lesions]
    rows = sum(len(lesion.delineations) for lesion in lesions)
    centres = sorted(set(cohort.centres))
    print(f"{options.folder}: {len(cohort)} patients of {len(centres)} centres ({', '.join(centres[:8])})")
    print(f"{len(lesions)} lesions, {rows} delineations; features measured: {'yes' if cohort.features else 'no'}")
    print("the tables have no fault")
    return 0


def _simulate(options: argparse.Namespace) -> int:
    from radnet.console import progress
    from radnet.data.simulate import simulate, simulation_settings

    pairs = [knob.partition("=") for knob in options.knobs]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"--set takes KNOB=VALUE, got {', '.join(wrong)}")
    settings = simulation_settings(options.preset, **{name: value for name, _, value in pairs})
    with progress("Simulating lesions") as show:
        simulate(settings, options.folder, workers=options.workers, progress=show)
    print(f"cohort: {options.folder}")
    return 0


def _extract(options: argparse.Namespace) -> int:
    from radnet.config import config_folder
    from radnet.console import progress
    from radnet.data.features import write_features
    from radnet.data.manifest import read_manifest
    from radnet.radiomics.extract import extract_cohort
    from radnet.radiomics.settings import read_settings

    named = config_folder() / "radiomics" / f"{options.settings}.yaml"
    settings = read_settings(named if named.is_file() else Path(options.settings))
    cohort = read_manifest(options.folder)
    with progress("Measuring lesions") as show:
        features = extract_cohort(
            cohort, settings, engine=options.engine, workers=options.workers, cache=options.cache, progress=show
        )
    write_features(features, options.out)
    failed = features.rows[features.rows["status"] != "ok"]
    for row in failed.itertuples():
        print(f"patient {row.patient_id}, lesion {row.lesion_id}, {row.region}: {row.status}", file=sys.stderr)
    print(f"{len(features.rows)} rows × {len(features.names)} features, {len(failed)} not measured: {options.out}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from radnet.report.html import write_report

    print(f"report: {write_report(options.folder)}")
    return 0
