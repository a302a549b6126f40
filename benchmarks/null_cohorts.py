"""Where nothing is to be found, does an experiment find nothing, and say how sure it is of that?

usage: python benchmarks/null_cohorts.py [--experiments zhao_mlp …] [--seeds 20] [--work FOLDER] [--out FILE.csv]

Twenty cohorts per experiment in which no outcome depends on anything (strict_null), drawn with another seed each, and
the strict protocol on each. Held-out discrimination must be 0.5 on average, within 3 standard errors of the mean (from
the spread between cohorts), and its 95 % interval must hold 0.5 in at least 16 of 20: fewer happen to an honest one
in 0.3 % of such series. Two folds only, and none within them: they fit the cut-off, which discrimination does not see.
Zhao's cohorts have 100 patients of the preset `small`, or 400 of `paper` where no image is read (the combined positive
score is known of half of them, and DeLong's interval needs ten with the event); Wang's 185, half the study, of `wang`;
Han's half the study, the forest of phenotype judged on CD8 and on response (of phenotype there are 12 held out);
Ligero's the whole study, of four lesions a patient at most.
"""

import argparse
import time
from pathlib import Path

import pandas as pd

from radnet.config import load_config
from radnet.experiment import run_experiment
from radnet.judgement import judge

IMAGES = ["preset=small", "data.knobs.n=100", "data.knobs.exact_counts=false"]
TABLES = ["preset=paper", "data.knobs.n=400", "data.knobs.images=false"]
WANG = ["data.knobs.n=185"]
HAN = ["data.knobs.n=176"]
LIGERO = ["data.knobs.max_lesions=4"]  # the 30 lesions delineated again are then of patients in both folds
ALSO = {
    "han_tme": {"han_tme": "cd8", "han_response": "response"}
}  # one forest, judged on two endpoints it did not learn
COHORTS = {
    "zhao_clinical": TABLES,
    "zhao_mlp": IMAGES,
    "zhao_combined": IMAGES,
    "zhao_stacking": IMAGES,
    "zhao_pdl1": TABLES,
    "zhao_pdl1_ge10": TABLES,
    "zhao_clinical_pdl1": TABLES,
    "wang_score": WANG,
    "wang_nomogram": WANG,
    "wang_tnm": WANG,
    "wang_clinical": WANG,
    "han_tme": HAN,
    "ligero_radiomics": LIGERO,
    "ligero_combined": LIGERO,
    "ligero_clinical": LIGERO,
}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--experiments", nargs="+", default=list(COHORTS), choices=list(COHORTS))
parser.add_argument("--seeds", type=int, default=20)
parser.add_argument("--work", type=Path, default=Path(".cache/null_cohorts"))
parser.add_argument("--out", type=Path, default=Path("benchmarks/results/null_cohorts.csv"))
options = parser.parse_args()


def held_out(name: str, seed: int) -> list[dict[str, object]]:
    run = options.work / f"{name}-{seed}"
    words = ["data.knobs.strict_null=true", f"data.knobs.seed={seed}", f"seed={seed}", *COHORTS[name]]
    quick = ["falsification=false", "optimism=none", "split.folds.n_folds=2", "split.inner=null"]
    quick += [f"output={run}", "overwrite=true"]
    start = time.perf_counter()
    run_experiment(load_config("train", [f"experiment={name}", *words, *quick]))
    judge(load_config("evaluate", [f"run={run}", "report=false"]))
    metrics = pd.read_csv(run / "evaluation" / "metrics.csv", keep_default_na=False)
    rows = metrics[(metrics["model"] == name) & (metrics["partition"] == "held_out") & (metrics["level"] == "patient")]
    rows = rows[(rows["centre"] == "") & (rows["subgroup"] == "") & rows["method"].isin(["delong", "harrell"])]
    rows = rows[rows["metric"].isin(["auc", "c_index"])]
    learned = load_config("train", [f"experiment={name}"]).endpoint.name
    found = []
    for experiment, endpoint in ALSO.get(name, {name: learned}).items():
        row = rows[rows["endpoint"] == endpoint].iloc[0]
        lower, upper = float(row["lower"] or "nan"), float(row["upper"] or "nan")
        estimate = float(row["estimate"])
        of_row = {"experiment": experiment, "seed": seed, "metric": row["metric"], "n": row["n"]}
        of_row |= {"n_event": row["n_event"], "estimate": estimate, "lower": lower, "upper": upper}
        of_row["holds_half"] = lower <= 0.5 <= upper or estimate == 0.5  # a model that selects nothing has no interval
        found.append(of_row | {"seconds": round(time.perf_counter() - start, 1)})
    return found


def main() -> None:
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for seed in range(1, options.seeds + 1):
        for name in options.experiments:
            rows += held_out(name, seed)
            print(rows[-1], flush=True)
            table = pd.DataFrame(rows)
            table.to_csv(options.out, index=False, float_format="%.4f")  # what there is, if a later run fails
    for name, part in table.groupby("experiment", sort=False):
        mean, error = part["estimate"].mean(), part["estimate"].sem()
        print(
            f"{name}: mean held-out {part['metric'].iloc[0]} {mean:.3f}, standard error {error:.3f}, "
            f"{abs(mean - 0.5) / error if error else 0.0:.1f} from 0.5; the interval holds 0.5 in "
            f"{part['holds_half'].sum()} of {len(part)}"
        )


if __name__ == "__main__":  # worker processes import this file
    main()
