"""What radnet's statistics cost and how far they are from other packages', in one run on the same patients.

usage: python benchmarks/statistics_peers.py --peers PYTHON [--cases delong icc] [--sizes 100 1000] [--rscript Rscript]

PYTHON is the interpreter of an environment that holds the peers; none but the first two is a dependency of radnet:

    python -m venv .cache/peers
    .cache/peers/bin/pip install scikit-learn lifelines MLstatkit confidenceinterval dcurves pingouin statsmodels

R's pROC is asked where Rscript is found. A package that is not there is told in the table.

Each measurement is a process of its own with one thread. It asks for 100 patients first, so that imports are paid for,
then for all, three times or more (for 0.3 s) unless the limit comes before; the least CPU and wall seconds are kept.
One more call under tracemalloc gives the most memory that the call held at once beyond its input. A process that is not
done by `--limit-s`, start included, or asks for more than `--memory-gib`, is stopped, and larger sizes are not tried.

`ratio` is the peer's CPU seconds over radnet's; `difference` is the largest absolute difference of what both return
and `of` says in which number. Numbers that are drawn at random (the bootstrap) differ by chance.

Scores have four decimals, so there are ties; times are whole days within five years. The end of the run holds radnet
to its budgets in CPU seconds, and its DeLong to memory that grows no faster than the patients; the exit status is 1
where one is missed.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
LESIONS, READERS, FEATURES = 30, 2, 1130
RESAMPLES, LEVEL, SEED = 2_000, 0.95, 1
REPEATS = 3
THRESHOLDS = np.arange(1, 100) / 100
COVARIATES = ("score", "x1", "x2", "x3", "x4")
BUDGETS = {("delong", 1_000_000): 2.0, ("icc", LESIONS): 1.0, ("auc_bootstrap", 1_000): 2.0}
Cohort = Mapping[str, NDArray]
Values = dict[str, float | list[float]]
Work = Callable[[], Values]


def main() -> None:
    """Measure what was asked for, print it as it comes, write the table, and hold radnet to its budgets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--rscript", default="Rscript")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--limit-s", type=float, default=60.0, help="how long a process may take")
    parser.add_argument("--memory-gib", type=float, default=8.0, help="what a process may ask for")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "statistics_peers.csv")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        _measure(Task(**json.loads(chosen.measure)))
        return
    import pandas as pd

    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        pythons = {"peers": chosen.peers, "R": shutil.which(chosen.rscript) or ""}
        for case in chosen.cases:
            sizes = FIXED_SIZES.get(case, sorted(chosen.sizes))
            for row in _case(case, sizes, Path(folder), pythons, chosen.limit_s, chosen.memory_gib):
                print({key: value for key, value in row.items() if value != ""}, flush=True)
                rows.append(row)
    table = pd.DataFrame(rows).assign(machine=_machine())
    table.to_csv(chosen.out, index=False)
    print(table.drop(columns=["machine", "remark"]).to_string(index=False))
    print(f"{_machine()}; {chosen.out}")
    if not _within_budgets(rows):
        sys.exit(1)


@dataclass(frozen=True)
class Task:
    """What one process measures: a case on the patients of a file, by one engine."""

    case: str
    n: int
    engine: str
    folder: str
    limit_s: float
    memory_gib: float


def _case(
    case: str, sizes: Sequence[int], folder: Path, pythons: Mapping[str, str], limit_s: float, memory_gib: float
) -> Iterator[dict[str, object]]:
    """Yield a row for each size and engine; radnet comes first, and the others are held against it."""
    stopped: dict[str, int] = {}
    for n in sizes:
        known: Values = {}
        own_s = float("nan")
        for engine in (*CASES[case], *(["pROC"] if case in R_SCRIPTS else [])):
            row: dict[str, object] = {"case": case, "n": n, "engine": engine}
            row |= dict.fromkeys(("version", "cpu_s", "wall_s", "runs", "peak_mib", "ratio"), "")
            row |= dict.fromkeys(("difference", "of", "remark"), "")
            if engine in stopped:
                yield row | {"remark": f"not tried: stopped at {stopped[engine]}"}
                continue
            found = _in_a_process(Task(case, n, engine, str(folder), limit_s, memory_gib), pythons)
            if "remark" in found:
                stopped[engine] = n
                yield row | found
                continue
            values = found.pop("values")
            row |= found
            if engine == "radnet":
                known, own_s = values, found["cpu_s"]
            elif known:
                row |= {"ratio": float(f"{found['cpu_s'] / own_s:.2g}")} | _difference(values, known)
            yield row


def _difference(values: Values, known: Values) -> dict[str, object]:
    """Return the largest absolute difference, and the name of the number it is in."""
    apart = {
        name: float(np.max(np.abs(np.subtract(values[name], known[name])))) for name in values if known.get(name) != []
    }
    worst = max(apart, key=lambda name: (apart[name] != apart[name], apart[name]))
    return {"difference": f"{apart[worst]:.1e}", "of": worst}


def _in_a_process(task: Task, pythons: Mapping[str, str]) -> dict:
    _write(Path(task.folder), 100)
    _write(Path(task.folder), task.n)
    python = sys.executable if task.engine == "radnet" else pythons["peers"]
    command = [python, __file__, "--measure", json.dumps(asdict(task))]
    if task.engine == "pROC":
        if not pythons["R"]:
            return {"remark": "not there: Rscript is not found"}
        script = Path(task.folder, f"{task.case}.R")
        script.write_text(R_ASK + R_SCRIPTS[task.case], encoding="utf-8")
        command = [pythons["R"], str(script), f"{task.folder}/{task.n}.csv"]
    limit_bytes = int(task.memory_gib * 2**30)
    try:
        done = subprocess.run(
            command,
            check=True, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, timeout=task.limit_s,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes)),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"remark": f"stopped: not done in {task.limit_s:g} s"}
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or str(error)).strip().splitlines()
        said = [line for line in lines if "Error" in line] or lines
        return {"remark": ("stopped: " if "MemoryError" in said[-1] else "could not: ") + said[-1][-200:]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _within_budgets(rows: list[dict[str, object]]) -> bool:
    own = {(row["case"], row["n"]): row for row in rows if row["engine"] == "radnet"}
    kept = True
    for (case, n), budget_s in BUDGETS.items():
        if (case, n) not in own:
            continue
        cpu_s = own[case, n]["cpu_s"]
        good = cpu_s != "" and float(str(cpu_s)) <= budget_s
        kept &= good
        print(f"{'kept' if good else 'MISSED'}: {case} of {n:,} takes {cpu_s} s of {budget_s:g} s")
    mib = {n: float(str(row["peak_mib"])) for (case, n), row in own.items() if case == "delong" and row["peak_mib"]}
    if len(large := [n for n in mib if n >= 10_000]) > 1:
        few, many = min(large), max(large)
        each = {n: mib[n] * 2**20 / n for n in (few, many)}
        good = each[many] <= 1.1 * each[few]
        kept &= good
        print(
            f"{'kept' if good else 'MISSED'}: delong holds {each[few]:.0f} bytes a score at {few:,} and "
            f"{each[many]:.0f} at {many:,}: its memory grows no faster than the patients"
        )
    return kept


def _machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].split(":", 1)[1].strip() if names else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, one thread"


# The patients.


def _write(folder: Path, n: int) -> None:
    """Write a cohort of n patients, and its scores as a table, unless they are there."""
    if (folder / f"{n}.npz").is_file():
        return
    cohort = _cohort(n)
    np.savez(folder / f"{n}.npz", **cohort)
    columns = np.column_stack([cohort["event"], cohort["score"], cohort["versus"]])
    np.savetxt(folder / f"{n}.csv", columns, fmt="%.10g", delimiter=",", header="event,score,versus", comments="")


def _cohort(n: int) -> dict[str, NDArray]:
    """Make n patients with an outcome, two scores, a probability and follow-up, and readings of n lesions."""
    rng = np.random.default_rng(n)
    event = rng.random(n) < 0.3
    score = np.round(rng.normal(size=n) + 0.8 * event, 4)
    versus = np.round(0.7 * score + 0.7 * rng.normal(size=n) + 0.2 * event, 4)
    probability = 1 / (1 + np.exp(-(np.log(0.3 / 0.7) + 0.8 * score - 0.32)))
    x = np.column_stack([score, rng.normal(size=(n, 4))])
    until_event = rng.exponential(1500 / np.exp(x @ [0.5, 0.3, -0.2, 0.1, 0.0]))
    leaving = rng.uniform(200, 1826, n)
    cohort = {"event": event.astype(int), "score": score, "versus": versus, "probability": probability, "x": x}
    cohort |= {"time": np.ceil(np.minimum(until_event, leaving)), "died": (until_event <= leaving).astype(int)}
    cohort["group"] = (score > np.median(score)).astype(int)
    if n <= 100:
        spread = rng.uniform(0.1, 2.0, FEATURES)
        readings = rng.normal(size=(n, 1, FEATURES)) + spread * rng.normal(size=(n, READERS, FEATURES))
        cohort["readings"] = 100 * readings
    return cohort


# What one process does.


def _measure(task: Task) -> None:
    """Measure one task in this process, and print what it took and found."""
    begun = time.perf_counter()
    warnings.simplefilter("ignore")
    prepare, package = CASES[task.case][task.engine]
    try:
        installed = version(package)
    except PackageNotFoundError:
        sys.stdout.write(json.dumps({"remark": f"not there: {package} is not installed"}) + "\n")
        return
    prepare(_read(task.folder, 100))()
    work = prepare(_read(task.folder, task.n))
    took: list[tuple[float, float]] = []
    while not took or (not _enough(took) and _time_left(task, begun) > 2 * took[-1][1]):
        cpu, wall = time.process_time(), time.perf_counter()
        values = work()
        took.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu_s, wall_s = (min(column) for column in zip(*took, strict=True))
    peak_mib: object = ""
    if _time_left(task, begun) > 10 * wall_s:  # tracing slows work that makes many objects
        tracemalloc.start()
        work()
        peak_mib = float(f"{tracemalloc.get_traced_memory()[1] / 2**20:.4g}")
    found = {"version": installed, "cpu_s": float(f"{cpu_s:.3g}"), "wall_s": float(f"{wall_s:.3g}"), "runs": len(took)}
    sys.stdout.write("\n" + json.dumps({**found, "peak_mib": peak_mib, "values": values}) + "\n")


def _enough(took: list[tuple[float, float]]) -> bool:
    return len(took) >= REPEATS and (sum(wall for _, wall in took) >= 0.3 or len(took) >= 300)


def _time_left(task: Task, begun: float) -> float:
    return task.limit_s - (time.perf_counter() - begun) - 2.0


def _read(folder: str, n: int) -> Cohort:
    with np.load(Path(folder, f"{n}.npz")) as arrays:
        return {name: arrays[name] for name in arrays.files}


# How each package is asked: what is prepared here is called again and again.


def _delong_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.discrimination import delong

    def work() -> Values:
        found = delong(of["event"], of["score"])
        return {"auc": found.auc} | _bounds(found.interval(LEVEL))

    return work


def _delong_of_scikit_learn(of: Cohort) -> Work:
    from sklearn.metrics import roc_auc_score

    return lambda: {"auc": float(roc_auc_score(of["event"], of["score"]))}


def _delong_of_confidenceinterval(of: Cohort) -> Work:
    from confidenceinterval import roc_auc_score

    def work() -> Values:
        auc, bounds = roc_auc_score(of["event"], of["score"], LEVEL)
        return {"auc": float(auc)} | _bounds(bounds)

    return work


def _paired_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.discrimination import compare_paired

    def work() -> Values:
        found = compare_paired(of["event"], of["score"], of["versus"], LEVEL)
        return {"difference": found.difference, "z": found.statistic, "p": found.p_value}

    return work


def _paired_of_mlstatkit(of: Cohort) -> Work:
    from MLstatkit import Delong_test

    def work() -> Values:
        z, p, _, _, versus, auc, _ = Delong_test(of["event"], of["versus"], of["score"])
        return {"difference": auc - versus, "z": z, "p": p}

    return work


def _bootstrap_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.discrimination import auc_bootstrap

    def work() -> Values:
        found = auc_bootstrap(of["event"], of["score"], resamples=RESAMPLES, seed=SEED, level=LEVEL)
        return {"auc": found.value} | _bounds((found.lower, found.upper))

    return work


def _bootstrap_of_scikit_learn(of: Cohort) -> Work:
    from sklearn.metrics import roc_auc_score

    event, score = of["event"], of["score"]
    classes = [np.flatnonzero(event == 0), np.flatnonzero(event == 1)]

    def work() -> Values:
        rng = np.random.default_rng(SEED)
        drawn = []
        for _ in range(RESAMPLES):
            who = np.concatenate([rng.choice(members, members.size) for members in classes])
            drawn.append(roc_auc_score(event[who], score[who]))
        return {"auc": float(roc_auc_score(event, score))} | _bounds(np.quantile(drawn, [0.025, 0.975]))

    return work


def _bootstrap_of_confidenceinterval(of: Cohort) -> Work:
    from confidenceinterval import roc_auc_score

    def work() -> Values:
        auc, bounds = roc_auc_score(
            of["event"], of["score"], LEVEL, method="bootstrap_percentile", n_resamples=RESAMPLES, random_state=SEED
        )
        return {"auc": float(auc)} | _bounds(bounds)

    return work


def _net_benefit_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.decision.net_benefit import decision_curve

    def work() -> Values:
        curve = decision_curve(of["event"], of["probability"], THRESHOLDS, "ge")
        return {"model": curve.net_benefit.tolist(), "all": curve.net_benefit_all.tolist()}

    return work


def _net_benefit_of_dcurves(of: Cohort) -> Work:
    import pandas as pd
    from dcurves import dca

    table = pd.DataFrame({"event": of["event"], "model": of["probability"]})

    def work() -> Values:
        found = dca(table, "event", ["model"], thresholds=THRESHOLDS).set_index("model")["net_benefit"]
        return {name: found[name].tolist() for name in ("model", "all")}

    return work


def _kaplan_meier_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.survival.kaplan_meier import kaplan_meier

    at = _times(of)

    def work() -> Values:
        curve = kaplan_meier(of["time"], of["died"], LEVEL, "log-log")
        found = [curve.at(time) for time in at]
        return {
            "survival": [one.value for one in found],
            "lower": [one.lower for one in found],
            "upper": [one.upper for one in found],
            "median": curve.median.value,
        }

    return work


def _kaplan_meier_of_lifelines(of: Cohort) -> Work:
    from lifelines import KaplanMeierFitter

    at = _times(of)

    def work() -> Values:
        curve = KaplanMeierFitter(alpha=1 - LEVEL).fit(of["time"], of["died"])
        bounds = curve.confidence_interval_.loc[at]
        return {
            "survival": curve.survival_function_at_times(at).tolist(),
            "lower": bounds.iloc[:, 0].tolist(),
            "upper": bounds.iloc[:, 1].tolist(),
            "median": float(curve.median_survival_time_),
        }

    return work


def _logrank_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.survival.logrank import logrank

    def work() -> Values:
        found = logrank(of["time"], of["died"], of["group"])
        return {"chi2": found.chi2, "p": found.p_value}

    return work


def _logrank_of_lifelines(of: Cohort) -> Work:
    from lifelines.statistics import logrank_test

    one, other = of["group"] == 0, of["group"] == 1

    def work() -> Values:
        time, died = of["time"], of["died"]
        found = logrank_test(time[one], time[other], died[one], died[other])
        return {"chi2": float(found.test_statistic), "p": float(found.p_value)}

    return work


def _cox_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.survival.proportional_hazards import cox

    def work() -> Values:
        fit = cox(of["time"], of["died"], of["x"])
        return {"coefficient": fit.coefficient.tolist(), "standard error": fit.standard_error.tolist()}

    return work


def _cox_of_lifelines(of: Cohort) -> Work:
    import pandas as pd
    from lifelines import CoxPHFitter

    table = pd.DataFrame(of["x"], columns=COVARIATES).assign(time=of["time"], died=of["died"])

    def work() -> Values:
        fit = CoxPHFitter().fit(table, "time", "died")
        return {
            "coefficient": fit.params_[list(COVARIATES)].tolist(),
            "standard error": fit.standard_errors_[list(COVARIATES)].tolist(),
        }

    return work


def _c_index_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.survival.concordance import harrell

    return lambda: {"c": harrell(of["time"], of["died"], of["score"]).value}


def _c_index_of_lifelines(of: Cohort) -> Work:
    from lifelines.utils import concordance_index

    return lambda: {"c": float(concordance_index(of["time"], -of["score"], of["died"]))}


def _icc_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.agreement.intraclass import icc

    readings = of["readings"][:LESIONS]

    def work() -> Values:
        found = icc(readings, "ICC(2,1)", LEVEL)
        return {"icc": found.icc.tolist(), "p": found.p_value.tolist(), "lower": found.lower.tolist()}

    return work


def _icc_of_pingouin(of: Cohort) -> Work:
    import pandas as pd
    import pingouin

    pingouin.options["round.column.CI95"] = None  # the two decimals it prints would be the difference
    readings = of["readings"][:LESIONS]
    lesion, reader = (place.ravel() for place in np.indices(readings.shape[:2]))

    def work() -> Values:
        rows = []
        for values in readings.reshape(-1, FEATURES).T:
            table = pd.DataFrame({"lesion": lesion, "reader": reader, "value": values})
            rows.append(pingouin.intraclass_corr(table, "lesion", "reader", "value").iloc[1])
        return {
            "icc": [float(row["ICC"]) for row in rows],
            "p": [float(row["pval"]) for row in rows],
            "lower": [float(row["CI95"][0]) for row in rows],
        }

    return work


def _intervals_of_radnet(of: Cohort) -> Work:
    from radnet.evaluation.confusion import Share, clopper_pearson, wilson

    n = of["event"].size
    shares = [Share(count, n) for count in _counts(n)]

    def work() -> Values:
        exact = [bound for share in shares for bound in clopper_pearson(share, LEVEL)]
        return {"clopper_pearson": exact, "wilson": [bound for share in shares for bound in wilson(share, LEVEL)]}

    return work


def _intervals_of_statsmodels(of: Cohort) -> Work:
    from statsmodels.stats.proportion import proportion_confint

    n = of["event"].size
    counts = _counts(n)

    def of_each(method: str) -> list[float]:
        return [float(bound) for count in counts for bound in proportion_confint(count, n, 1 - LEVEL, method)]

    return lambda: {"clopper_pearson": of_each("beta"), "wilson": of_each("wilson")}


def _intervals_of_statsmodels_at_once(of: Cohort) -> Work:
    from statsmodels.stats.proportion import proportion_confint

    n = of["event"].size
    counts = np.array(_counts(n))

    def of_all(method: str) -> list[float]:
        return np.column_stack(proportion_confint(counts, n, 1 - LEVEL, method)).ravel().tolist()

    return lambda: {"clopper_pearson": of_all("beta"), "wilson": of_all("wilson")}


def _bounds(pair: Sequence[float]) -> Values:
    return {"lower": float(pair[0]), "upper": float(pair[1])}


def _times(of: Cohort) -> list[float]:
    """Times within the follow-up at which somebody had the event, so that a curve has bounds there."""
    seen = np.sort(of["time"][of["died"] == 1])
    return seen[(np.linspace(0.05, 0.95, 19) * seen.size).astype(int)].tolist()


def _counts(n: int) -> list[int]:
    return [int(count) for count in np.linspace(0, n, 101)]


R_ASK = """
suppressMessages(library(pROC))
d <- read.csv(commandArgs(TRUE)[1])
best <- function(f) {
  in_a_row <- max(1, 1e5 %/% nrow(d))  # its clock has milliseconds
  took <- sapply(1:3, function(i) {
    s <- proc.time()
    for (j in 1:in_a_row) f()
    e <- proc.time() - s
    c(e[[1]] + e[[2]], e[[3]]) / in_a_row
  })
  apply(took, 1, min)
}
say <- function(took, values) cat(sprintf(
  '{"version": "%s", "cpu_s": %.3g, "wall_s": %.3g, "runs": 3, "values": {%s}}\\n', packageVersion("pROC"),
  took[1], took[2], paste(sprintf('"%s": %.17g', names(values), values), collapse = ", ")))
made <- function(x) roc(d$event, x, levels = c(0, 1), direction = "<", quiet = TRUE)
"""
R_SCRIPTS = {
    "delong": """
f <- function() as.numeric(ci.auc(made(d$score), method = "delong"))
took <- best(f)
v <- f()
say(took, c(auc = v[2], lower = v[1], upper = v[3]))
""",
    "paired_delong": """
f <- function() roc.test(made(d$score), made(d$versus), method = "delong", paired = TRUE)
took <- best(f)
v <- f()
say(took, c(difference = v$estimate[[1]] - v$estimate[[2]], z = v$statistic[[1]], p = v$p.value))
""",
}

CASES: dict[str, dict[str, tuple[Callable[[Cohort], Work], str]]] = {
    "delong": {
        "radnet": (_delong_of_radnet, "radnet"),
        "scikit-learn (no variance)": (_delong_of_scikit_learn, "scikit-learn"),
        "confidenceinterval": (_delong_of_confidenceinterval, "confidenceinterval"),
    },
    "paired_delong": {
        "radnet": (_paired_of_radnet, "radnet"),
        "MLstatkit": (_paired_of_mlstatkit, "MLstatkit"),
    },
    "auc_bootstrap": {
        "radnet": (_bootstrap_of_radnet, "radnet"),
        "scikit-learn in a loop": (_bootstrap_of_scikit_learn, "scikit-learn"),
        "confidenceinterval": (_bootstrap_of_confidenceinterval, "confidenceinterval"),
    },
    "net_benefit": {
        "radnet": (_net_benefit_of_radnet, "radnet"),
        "dcurves": (_net_benefit_of_dcurves, "dcurves"),
    },
    "kaplan_meier": {
        "radnet": (_kaplan_meier_of_radnet, "radnet"),
        "lifelines": (_kaplan_meier_of_lifelines, "lifelines"),
    },
    "logrank": {
        "radnet": (_logrank_of_radnet, "radnet"),
        "lifelines": (_logrank_of_lifelines, "lifelines"),
    },
    "cox": {
        "radnet": (_cox_of_radnet, "radnet"),
        "lifelines": (_cox_of_lifelines, "lifelines"),
    },
    "c_index": {
        "radnet": (_c_index_of_radnet, "radnet"),
        "lifelines": (_c_index_of_lifelines, "lifelines"),
    },
    "icc": {
        "radnet": (_icc_of_radnet, "radnet"),
        "pingouin": (_icc_of_pingouin, "pingouin"),
    },
    "intervals": {
        "radnet": (_intervals_of_radnet, "radnet"),
        "statsmodels": (_intervals_of_statsmodels, "statsmodels"),
        "statsmodels, all at once": (_intervals_of_statsmodels_at_once, "statsmodels"),
    },
}
FIXED_SIZES = {"auc_bootstrap": (1_000,), "icc": (LESIONS,)}


if __name__ == "__main__":
    main()
