"""The radnet command: one verb per task; each imports only what it needs."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from radnet import __version__

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from pandas import DataFrame
    from rich.table import Table

    from radnet.prediction import Scored

_ADJUSTMENTS = ("none", "bonferroni", "holm", "hochberg", "BH", "BY")
_CODED = "columns of numbers that are codes, such as a stage"
_PER = "ratios per so many units of a number, such as score=0.1; else per 1"
_MODELS = "set each variable's model and that of all side by side by AIC, on the patients who have every variable"
_MODEL = "further models of --models"
EXTRAS = {
    "torch": "train",
    "pytorch_lightning": "train",
    "lightning_fabric": "train",
    "torchmetrics": "train",
    "monai": "train",
    "safetensors": "train",
    "wandb": "train",
    "optuna": "train",
    "radiomics": "reference",
}
_NOTES_SHOWN = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 for a fault of the input (one message on stderr), 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without our letters shall not end a run
    try:
        if given[:1] == ["train"]:
            return _train(given[1:])
        if given[:1] == ["evaluate"]:
            return _evaluate(given[1:])
        given, settings = _settings_apart(given) if given[:1] in (["compare"], ["sweep"]) else (given, [])
        options = _parser().parse_args(given, argparse.Namespace(train_settings=settings))
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


def _settings_apart(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the words key=value that end a command from those before; argparse would give them to the last option."""
    settings = list(takewhile(lambda word: "=" in word and not word.startswith("-"), reversed(given)))[::-1]
    return list(given[: len(given) - len(settings)]), settings


def _innermost(error: BaseException) -> str:
    """Return the message of a fault, without the wrapper Hydra puts around a failing constructor."""
    return str(error.__cause__ if type(error).__name__ == "InstantiationException" and error.__cause__ else error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="radnet", description="Radiomics signatures that hold up at another hospital."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    check = verbs.add_parser("check", help="list every fault of a cohort folder: tables, images, masks")
    check.add_argument("folder", type=Path)
    check.add_argument("--settings", help="extraction the lesions must be large enough for: a name in conf/radiomics")
    check.add_argument("--endpoint", nargs="+", action="extend", default=[], help="names in conf/endpoint")
    check.add_argument("--event", metavar="COLUMN", help="an outcome column of your own, 0 or 1")
    check.add_argument("--time", metavar="COLUMN", help="its follow-up time")
    check.add_argument("--time-unit", choices=("days", "months", "years"))
    check.add_argument("--csv", type=Path, metavar="FILE", help="write the findings as a table too")
    check.add_argument("--show", choices=("auto", "table", "lines"), default="auto", help="auto: a table on a terminal")
    check.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    check.set_defaults(run=_check)

    simulate = verbs.add_parser("simulate", help="write a simulated cohort folder")
    simulate.add_argument("folder", type=Path, metavar="OUT")
    simulate.add_argument("--preset", default="small", help="small, paper, multicentre, wang, han or ligero")
    simulate.add_argument("--set", nargs="+", action="extend", default=[], metavar="KNOB=VALUE", dest="knobs")
    simulate.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    simulate.set_defaults(run=_simulate)

    extract = verbs.add_parser("extract", help="measure the radiomics features of every lesion")
    extract.add_argument("folder", type=Path)
    extract.add_argument("--settings", default="zhao", help="a name in conf/radiomics or a YAML file")
    extract.add_argument("--out", type=Path, required=True, metavar="features.parquet")
    extract.add_argument("--engine", default="native", choices=("native", "pyradiomics"))
    extract.add_argument(
        "--perturb",
        metavar="NAMES",
        help="measure perturbed lesions too: default, or names like rotate_5deg,noise_1",
    )
    extract.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    extract.add_argument(
        "--limit", type=float, default=600.0, metavar="SECONDS", help="longest time for one row; it is then left empty"
    )
    extract.add_argument("--cache", type=Path, default=Path(os.environ.get("RADNET_CACHE", ".cache")) / "features")
    extract.set_defaults(run=_extract)

    predict = verbs.add_parser("predict", help="score new patients with a model folder")
    predict.add_argument("--model", type=Path, required=True, metavar="MODEL_FOLDER")
    predict.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    predict.add_argument("--out", type=Path, required=True, metavar="predictions.parquet")
    predict.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    predict.add_argument("--cache", type=Path, default=Path(os.environ.get("RADNET_CACHE", ".cache")) / "features")
    predict.set_defaults(run=_predict)

    agreement = verbs.add_parser("agreement", help="tell how alike readers, or repeats, measure each feature")
    agreement.add_argument("features", type=Path, metavar="FEATURES")
    agreement.add_argument(
        "--across", choices=("reader", "repeat", "perturbation"), help="default: readers, where there are several"
    )
    agreement.add_argument("--out", type=Path, required=True, metavar="icc.csv")
    agreement.set_defaults(run=_agreement)

    table_one = verbs.add_parser("table-one", help="describe the patients of each group, and test for differences")
    table_one.add_argument("clinical", type=Path, metavar="CLINICAL")
    table_one.add_argument("--by", required=True, metavar="COLUMN")
    table_one.add_argument("--number-test", default="wilcoxon", choices=("wilcoxon", "welch", "student", "shapiro"))
    table_one.add_argument("--category-test", default="expected", choices=("expected", "chi_square", "yates", "fisher"))
    table_one.add_argument("--variables", nargs="+", metavar="COLUMN", help="default: all but patient_id")
    table_one.add_argument("--categorical", nargs="+", action="extend", default=[], metavar="COLUMN", help=_CODED)
    table_one.add_argument("--adjust", default="none", choices=_ADJUSTMENTS, help="p-values for their number, as R's")
    table_one.add_argument("--overall", action="store_true", help="describe all patients as well")
    table_one.add_argument("--balance", type=Path, metavar="smd.csv", help="write standardised mean differences too")
    table_one.add_argument("--out", type=Path, required=True, metavar="table1.csv")
    table_one.set_defaults(run=_table_one)

    regression = verbs.add_parser("regression", help="odds or hazard ratios of clinical variables, and a nomogram")
    regression.add_argument("clinical", type=Path, metavar="CLINICAL")
    regression.add_argument("--event", required=True, metavar="COLUMN", help="0 or 1, empty where not known")
    regression.add_argument("--time", metavar="COLUMN", help="its follow-up: hazard ratios (Cox), not odds ratios")
    regression.add_argument("--variables", nargs="+", metavar="COLUMN", help="default: all but names and outcomes")
    regression.add_argument("--categorical", nargs="+", action="extend", default=[], metavar="COLUMN", help=_CODED)
    regression.add_argument("--reference", nargs="+", action="extend", default=[], metavar="COLUMN=LEVEL")
    regression.add_argument("--per", nargs="+", action="extend", default=[], metavar="COLUMN=UNITS", help=_PER)
    regression.add_argument("--enter-below", type=float, metavar="P", help="univariable p-value that enters the model")
    regression.add_argument("--adjust", default="none", choices=_ADJUSTMENTS, help="p-values for their number, as R's")
    regression.add_argument("--level", type=float, default=0.95, help="coverage of the intervals")
    regression.add_argument("--out", type=Path, required=True, metavar="table.csv")
    regression.add_argument("--models", type=Path, metavar="models.csv", help=_MODELS)
    regression.add_argument(
        "--model", nargs="+", action="extend", default=[], metavar="NAME=COLUMN,COLUMN", help=_MODEL
    )
    regression.add_argument("--nomogram", type=Path, metavar="points.csv", help="write the model as points, as R's rms")
    regression.add_argument("--times", type=float, nargs="+", default=[], metavar="T", help="of its survival axes")
    regression.set_defaults(run=_regression)

    compare = verbs.add_parser(
        "compare",
        help="train models, and every rule that pools lesions, on the same folds, and test their differences",
        epilog="Words key=value at the end are settings of training for every model, such as seed=3 split=kfold.",
    )
    compare.add_argument("folder", type=Path)
    compare.add_argument("--models", nargs="+", required=True, metavar="NAME", help="names in conf/experiment")
    compare.add_argument(
        "--aggregate",
        nargs="+",
        action="extend",
        default=[],
        metavar="RULE",
        help="rules that pool the lesions of a patient; default: all",
    )
    compare.add_argument("--out", type=Path, required=True, metavar="compare.csv")
    compare.add_argument("--work", type=Path, metavar="FOLDER", help="of the runs; default: <out>_runs")
    compare.set_defaults(run=_compare)

    sweep = verbs.add_parser(
        "sweep",
        help="search settings on the patients that are not held out, with a sweep file of W&B and without its server",
        epilog="Words key=value at the end are settings of training for every trial, such as data.root=FOLDER.",
    )
    sweep.add_argument("file", type=Path, metavar="SWEEP.yaml")
    sweep.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of trials.csv; gone on with if there")
    sweep.add_argument(
        "--trials", type=int, metavar="N", help="in all; default: run_cap of the file, or its whole grid"
    )
    sweep.add_argument("--seed", type=int, default=0, help="of the search; seed=… is that of training")
    sweep.set_defaults(run=_sweep)

    associate = verbs.add_parser("associate", help="set images beside biology: what a plan declares, and nothing else")
    associate.add_argument("plan", type=Path, metavar="PLAN.yaml")
    associate.set_defaults(run=_associate)

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
    from radnet.multirun import FLAGS, each_run

    if "--trial" in overrides:
        return _trial(load_config("train", [word for word in overrides if word != "--trial"]))
    several = bool({*FLAGS} & set(overrides))
    configs = [load_config("train", words) for words in (each_run(overrides) if several else [overrides])]
    from radnet.experiment import run_experiment

    as_script = Path(sys.argv[0]).name == "train.py"
    for config in configs:
        folder = run_experiment(config)
        print(f"run: {folder}")
        print(f"judge it: {'python evaluate.py' if as_script else 'radnet evaluate'} run={folder}")
    return 0


def _trial(config: "DictConfig") -> int:
    """Judge a configuration as a sweep's trial, and tell W&B if it is followed there."""
    from radnet.sweep.trial import inner_score

    score = inner_score(config)
    if str(config.logger.get("_target_")).endswith(".wandb_logger"):
        from radnet.tracking import send_trial

        send_trial(config, score.metric, score.estimate)
    print(f"{score.metric}: {score.estimate:.4f} ({score.n} patients; {score.held_out} held out and not looked at)")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from radnet.sweep.run import sweep

    if options.trials is not None and options.trials < 1:
        from radnet.config import ConfigFault

        raise ConfigFault(f"--trials must be 1 or more, got {options.trials}", from_command_line=True)
    found = sweep(options.file, options.out, options.trials, options.seed, options.train_settings)
    print(f"trials: {options.out / 'trials.csv'}")
    if not found.settings:
        print("error: no trial could be scored; trials.csv says why", file=sys.stderr)
        return 1
    print(f"best: {found.estimate:.4f}")
    print(f"train it: radnet train {shlex.join(found.settings)}")
    print("\n".join(found.limits()))
    return 0


def _evaluate(overrides: Sequence[str]) -> int:
    from radnet.config import describe, load_config

    if {"-h", "--help"} & set(overrides):
        print(describe("evaluate"))
        return 0
    config = load_config("evaluate", overrides)
    from radnet.judgement import headline, judge

    drift = _score_held_out(config) if config.model_folder else None
    folder, assessment = judge(config, drift)
    if config.run and (Path(config.run) / "wandb" / "run_id").is_file():
        from radnet.tracking import send_evaluation

        send_evaluation(Path(config.run), folder)
    print("\n".join(headline(folder, assessment)))
    print(f"metrics: {folder / 'metrics.csv'}")
    if config.report:
        print(f"report: {folder / 'report.html'}")
    return _tell(assessment.messages)


def _tell(messages: Sequence[Mapping[str, str]]) -> int:
    """Print the messages of an assessment on stderr, all warnings, and last all failures; return the exit code."""
    from radnet.tables import printable, standing

    def told(one: Mapping[str, str]) -> str:
        where = " · ".join(one[key] for key in ("endpoint", "model", "partition") if one[key])
        return printable(f"{where}: {one['message']}")

    messages = sorted(messages, key=lambda one: standing(one["model"]))  # stable: of controls last
    failed = [told(one) for one in messages if one["severity"] == "failed"]
    warnings = [told(one) for one in messages if one["severity"] == "warning"]
    notes = [told(one) for one in messages if one["severity"] not in ("failed", "warning")]
    lines = [f"note: {one}" for one in notes[:_NOTES_SHOWN]]
    lines += [f"note: {len(notes) - _NOTES_SHOWN} more stand in evaluation.json"] if len(notes) > _NOTES_SHOWN else []
    for line in [*lines, *(f"warning: {one}" for one in warnings), *(f"error: {one}" for one in failed)]:
        print(line, file=sys.stderr)
    return 1 if failed else 0


def _score_held_out(config: "DictConfig") -> dict[str, object]:
    """Score new centres with a model folder, point the evaluation at the table, and return the drift."""
    from radnet.config import ConfigFault
    from radnet.prediction import drift_lines, drift_summary, score, write_scored

    if config.predictions or config.run:
        raise ConfigFault("model=… brings its own predictions: leave out predictions=… and run=…", True)
    if not config.data.root or not config.output:
        raise ConfigFault("model=… needs data.root=FOLDER, the cohort to judge it on, and output=FOLDER", True)
    centres = [config.centres] if isinstance(config.centres, str) else config.centres
    scored = score(
        Path(config.model_folder),
        Path(config.data.root),
        Path(config.cache) / "features",
        workers=config.workers or os.cpu_count() or 1,
        centres=centres,
        refuse_learned=True,
    )
    _tell_left_out(scored)
    config.predictions = str(write_scored(scored, Path(config.output)))
    config.lesion_predictions = str(Path(config.output) / "lesion_predictions.parquet")
    summary = drift_summary(scored)
    print("\n".join(drift_lines(summary)))
    return summary


def _predict(options: argparse.Namespace) -> int:
    from radnet.prediction import score
    from radnet.tables import write_table

    scored = score(options.model, options.data, options.cache, workers=options.workers)
    write_table(scored.predictions, options.out)
    write_table(scored.lesions, options.out.with_name(f"{options.out.stem}_lesions{options.out.suffix}"))
    _tell_left_out(scored)
    one_each = scored.predictions.drop_duplicates("patient_id")  # a score is read on several endpoints
    far = one_each[one_each["far_from_training"] == 1]
    for row in far.itertuples():
        parts = [f"distance {row.distance:.2f}"] if row.distance == row.distance else []
        told = ", ".join([*parts, *([f"outside in {row.outside_training}"] if row.outside_training else [])])
        print(f"far from the training patients: patient {row.patient_id}: {told}", file=sys.stderr)
    known = one_each["far_from_training"].notna()
    how_far = f"{len(far)} far" if known.all() else f"{len(far)} far of {int(known.sum())} whose distance is measured"
    print(f"{len(one_each)} patients scored, {len(scored.unscored)} not, {how_far}: {options.out}")
    return 0


def _tell_left_out(scored: "Scored") -> None:
    """Print on stderr who is not scored, and which lesions of those who are have no part in it."""
    for row in scored.unscored.itertuples():
        print(f"not scored: patient {row.patient_id} of centre {row.centre}: {row.reason}", file=sys.stderr)
    for row in scored.unmeasured.itertuples():
        print(f"scored without lesion {row.lesion_id}: patient {row.patient_id}: {row.reason}", file=sys.stderr)


def _check(options: argparse.Namespace) -> int:
    from radnet.check.cohort_folder import check_cohort, chosen_endpoints, findings_table, write_findings
    from radnet.console import console, progress
    from radnet.radiomics.settings import named_settings

    endpoints = chosen_endpoints(options.folder, options.endpoint, options.event, options.time, options.time_unit)
    settings = named_settings(options.settings) if options.settings else None
    with progress("Reading images") as show:
        found = check_cohort(options.folder, endpoints, settings, workers=options.workers, progress=show)
    if options.csv:
        write_findings(found.findings, options.csv)
    if found.findings and (options.show == "table" or (options.show == "auto" and console.is_terminal)):
        console.print(findings_table(found.findings))
    else:
        for one in found.findings:
            print(f"{one.severity}: {one}", file=sys.stderr)
    print(f"{options.folder}: {found.summary}")
    return 1 if found.faults else 0


def _simulate(options: argparse.Namespace) -> int:
    from radnet.config import ConfigFault
    from radnet.console import progress
    from radnet.data.simulate import simulate, simulation_settings

    pairs = [knob.partition("=") for knob in options.knobs]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ConfigFault(f"--set takes KNOB=VALUE, got {', '.join(wrong)}", from_command_line=True)
    try:
        settings = simulation_settings(options.preset, **{name: value for name, _, value in pairs})
    except (ValueError, TypeError) as error:
        raise ConfigFault(str(error), from_command_line=True) from error
    with progress("Simulating lesions") as show:
        simulate(settings, options.folder, workers=options.workers, progress=show)
    print(f"cohort: {options.folder}")
    return 0


def _extract(options: argparse.Namespace) -> int:
    from radnet.config import ConfigFault
    from radnet.console import progress
    from radnet.data.features import write_features
    from radnet.data.manifest import read_manifest
    from radnet.radiomics.extract import extract_cohort
    from radnet.radiomics.perturbation import DEFAULT, perturbations_named
    from radnet.radiomics.robustness import extract_perturbed, with_perturbed
    from radnet.radiomics.settings import named_settings

    names = DEFAULT if options.perturb == "default" else (options.perturb or "").split(",")
    try:
        perturbations = perturbations_named(names) if options.perturb is not None else ()
    except ValueError as error:
        raise ConfigFault(f"--perturb: {error}", from_command_line=True) from error
    settings = named_settings(options.settings)
    cohort = read_manifest(options.folder)
    with progress("Measuring lesions") as show:
        features = extract_cohort(
            cohort,
            settings,
            engine=options.engine,
            workers=options.workers,
            limit_s=options.limit,
            cache=options.cache,
            progress=show,
        )
    if perturbations:
        with progress("Measuring perturbed lesions") as show:
            perturbed = extract_perturbed(
                cohort,
                settings,
                [str(one) for one in perturbations],
                engine=options.engine,
                workers=options.workers,
                limit_s=options.limit,
                cache=options.cache,
                seed=0,
                progress=show,
            )
        features = with_perturbed(features, perturbed)
    write_features(features, options.out)
    failed = features.rows[features.rows["status"] != "ok"]
    for row in failed.itertuples():
        which = row.region if row.repeat == "1" else f"{row.region}, repeat {row.repeat}"
        print(f"patient {row.patient_id}, lesion {row.lesion_id}, {which}: {row.status}", file=sys.stderr)
    print(f"{len(features.rows)} rows × {len(features.names)} features, {len(failed)} not measured: {options.out}")
    return 0


def _agreement(options: argparse.Namespace) -> int:
    from radnet.data.features import read_features
    from radnet.evaluation.agreement.table import agreement_table
    from radnet.tables import write_table

    table = agreement_table(read_features(options.features).rows, across=options.across)
    write_table(table, options.out)
    known = table[(table["form"] == "ICC(2,1)") & (table["n"] > 1)]
    print(f"{len(known)} features, of which {(known['icc'] > 0.75).sum()} have an ICC(2,1) above 0.75: {options.out}")
    return 0


def _table_one(options: argparse.Namespace) -> int:
    from radnet.evaluation.baseline.balance import balance
    from radnet.evaluation.baseline.shown import shown_table_one, told_tests
    from radnet.evaluation.baseline.table_one import table_one
    from radnet.evaluation.regression.design import with_categories
    from radnet.tables import write_table

    patients = with_categories(_patients(options.clinical), options.categorical, {})
    table = table_one(
        patients,
        options.by,
        variables=options.variables,
        number_test=options.number_test,
        category_test=options.category_test,
        adjust=options.adjust,
        overall=options.overall,
    )
    write_table(table, options.out)
    if options.balance:
        write_table(balance(patients, options.by, variables=options.variables), options.balance)
    _show(shown_table_one(table))
    print(told_tests(table))
    print(f"{table['variable'].nunique() - 1} variables by {options.by}: {options.out}")
    return 0


def _regression(options: argparse.Namespace) -> int:
    from radnet.config import ConfigFault
    from radnet.evaluation.regression.both import regression_table
    from radnet.evaluation.regression.design import with_categories
    from radnet.evaluation.regression.shown import shown_regression, told_model, told_notes
    from radnet.tables import write_table

    reference = _named(options.reference, "--reference takes COLUMN=LEVEL")
    units = _named(options.per, "--per takes COLUMN=UNITS, such as score=0.1")
    if wrong := [f"{name}={unit}" for name, unit in units.items() if not _is_number(unit)]:
        raise ConfigFault(f"--per takes COLUMN=UNITS, such as score=0.1, got {', '.join(wrong)}", True)
    further = _named(options.model, "--model takes NAME=COLUMN,COLUMN")
    if further and not options.models:
        raise ConfigFault("--model names further models of --models: give the file it writes", from_command_line=True)
    if not 0 < options.level < 1:
        raise ConfigFault(f"--level must lie between 0 and 1, got {options.level:g}", from_command_line=True)
    if options.nomogram and bool(options.time) != bool(options.times):
        told = "with --time needs --times" if options.time else "has --times only with --time"
        raise ConfigFault(f"--nomogram {told}", from_command_line=True)
    patients = with_categories(_patients(options.clinical), options.categorical, reference)
    table = regression_table(
        patients,
        _covariates(patients, options),
        event=options.event,
        time=options.time,
        level=options.level,
        enter_below=options.enter_below,
        adjust=options.adjust,
        per={name: float(unit) for name, unit in units.items()},
    )
    write_table(table, options.out)
    _show(shown_regression(table, options.level))
    print("\n".join([told_model(table), *told_notes(table)]))
    print(f"{table['variable'].nunique()} variables: {options.out}")
    if options.models:
        _models(patients, table, {name: columns.split(",") for name, columns in further.items()}, options)
    if options.nomogram:
        _nomogram(patients, table, options)
    return 0


def _models(
    patients: "DataFrame", table: "DataFrame", further: Mapping[str, Sequence[str]], options: argparse.Namespace
) -> None:
    from radnet.evaluation.regression.both import MULTIVARIABLE
    from radnet.evaluation.regression.models import models_table
    from radnet.evaluation.regression.shown import shown_models, told_models
    from radnet.tables import write_table

    names = list(dict.fromkeys(table["variable"]))
    model = table[(table["analysis"] == MULTIVARIABLE) & ~table["note"].str.startswith("left out")]
    together = list(dict.fromkeys(model["variable"]))
    models: dict[str, Sequence[str]] = {name: [name] for name in names}
    models |= {MULTIVARIABLE: together} if len(together) > 1 else {}
    compared = models_table(patients, {**models, **further}, event=options.event, time=options.time)
    write_table(compared, options.models)
    _show(shown_models(compared))
    print("\n".join([*told_models(compared), f"{len(compared)} models: {options.models}"]))


def _nomogram(patients: "DataFrame", table: "DataFrame", options: argparse.Namespace) -> None:
    from math import nan

    from radnet.evaluation.regression.both import MULTIVARIABLE
    from radnet.evaluation.regression.nomogram import cox_nomogram, logistic_nomogram
    from radnet.evaluation.regression.points import points_table
    from radnet.tables import write_table

    model = table[(table["analysis"] == MULTIVARIABLE) & table["estimate"].notna()]
    names = list(dict.fromkeys(model["variable"]))
    if not names:
        raise ValueError("a nomogram needs a multivariable model, but there is none: what was printed above tells why")
    whole = patients.dropna(subset=list(table.loc[table["analysis"] == MULTIVARIABLE, "variable"].unique()))
    event, time = options.event, options.time
    drawn = (
        {at: cox_nomogram(whole, names, event=event, time=time, horizon=at) for at in sorted(set(options.times))}
        if time
        else {nan: logistic_nomogram(whole, names, event=event)}
    )
    write_table(points_table(drawn), options.nomogram)
    print(f"nomogram: {options.nomogram}")


def _named(given: Sequence[str], expected: str) -> dict[str, str]:
    """Return what is typed as NAME=VALUE, by name; anything else is wrong usage."""
    from radnet.config import ConfigFault

    pairs = [one.partition("=") for one in given]
    if wrong := [one for one, (name, _, value) in zip(given, pairs, strict=True) if not (name and value)]:
        raise ConfigFault(f"{expected}, got {', '.join(wrong)}", from_command_line=True)
    return {name: value for name, _, value in pairs}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _covariates(patients: "DataFrame", options: argparse.Namespace) -> list[str]:
    """Return the variables asked for; else all columns but names, split and every outcome that is known as one."""
    from radnet.check.cohort_folder import reference_endpoints

    if options.variables:
        return list(options.variables)
    outcomes = {column for one in reference_endpoints().values() for column in one.columns}
    aside = {"patient_id", "centre", "split", options.event, options.time, *outcomes}
    return [name for name in patients.columns if name not in aside]


def _patients(path: Path) -> "DataFrame":
    """Read a clinical table, or that of a cohort folder: one row per patient."""
    from radnet.tables import read_table, with_numbers

    path = path / "clinical.csv" if path.is_dir() else path
    table = read_table(path)
    if len(table.columns) == 1 and ";" in str(table.columns[0]):
        raise ValueError(f"{path}: columns must be parted by commas, found semicolons; save it as CSV with commas")
    for name in table.select_dtypes(object).columns:
        table[name] = table[name].map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    key = [name for name in ("centre", "patient_id") if name in table.columns]
    if "patient_id" in key and (twice := table.loc[table.duplicated(key), "patient_id"].unique()).size:
        named = ", ".join(map(str, twice[:5]))
        raise ValueError(f"{path}: one row per patient is needed, but {twice.size} stand twice, such as {named}")
    return with_numbers(table)


def _show(table: "Table") -> None:
    from rich.console import Console

    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=100)).print(table)


def _compare(options: argparse.Namespace) -> int:
    from radnet.comparison.run import compare
    from radnet.comparison.table import shown_comparison

    work = options.work or options.out.with_name(f"{options.out.stem}_runs")
    found = compare(options.folder, options.models, options.aggregate, options.out, work, options.train_settings)
    _show(shown_comparison(found.table, found.reference))
    print("\n".join(found.limits()))
    print(f"comparison: {options.out}")
    print(f"page of all that was judged: radnet report {found.evaluation}")
    code = _tell(found.messages)
    for name, why in found.failed.items():
        print(f"error: {name}: {why}", file=sys.stderr)
    return 1 if found.failed else code


def _associate(options: argparse.Namespace) -> int:
    from radnet.association.run import run_plan
    from radnet.report.html import write_report

    carried = run_plan(options.plan)
    print("\n".join(carried.headline()))
    print(f"associations: {carried.plan.output / 'associations.parquet'}")
    print(f"report: {write_report(carried.plan.page)}")
    for name, result in carried.results.items():
        for table, patients in result.unmatched.items():
            print(f"step {name}: {len(patients)} of {table} are left out: another table lacks them", file=sys.stderr)
    for name, why in carried.refused.items():
        print(f"error: step {name}: {why}", file=sys.stderr)
    return 1 if carried.refused else 0


def _report(options: argparse.Namespace) -> int:
    from radnet.report.html import write_report

    print(f"report: {write_report(options.folder)}")
    return 0
