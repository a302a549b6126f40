"""Do the controls say what is true of simulated cohorts? Where volume, the centre or nothing carries the outcome.

usage: python benchmarks/falsification.py [--seeds 1 2 3] [--null 50] [--kinds signal volume centre nothing]
           [--work FOLDER] [--out FILE.csv]

Per seed a run of zhao_mlp on the `multicentre` preset, with smaller lesions and two at most (120 patients learn, 200
are held out): with an effect planted in texture and ring (signal 1.9922), in volume alone (signal_in=volume), and in
the centre alone (centre_outcome=2, and no other effect). Read from evaluation/metrics.csv: the model's held-out AUC
less that of `control_volume`, which must not be above 0 by more than chance where volume alone carries the outcome;
from falsification.json: whether the centre is suspicious, as it must be where it carries the outcome, and the
permutation p-value.

Then as many cohorts in which nothing depends on the outcome (strict_null, 60 patients with one small lesion each), and
of each the permutation p-value of the ridge logistic model with 99 permutations. Their distribution must be uniform
(Kolmogorov-Smirnov p > 0.01).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kstest
from threadpoolctl import threadpool_limits

from radnet.cohort import Cohort, Endpoint
from radnet.config import build, load_config
from radnet.data.manifest import read_manifest
from radnet.data.source import simulated_folder
from radnet.data.split import stratified_folds
from radnet.falsification.permutation import permutation_test
from radnet.falsification.ridge import ridge_discrimination
from radnet.predictors.base import lesion_features
from radnet.radiomics.extract import extract_cohort

WORKERS = int(os.environ.get("RADNET_WORKERS", "0")) or os.cpu_count() or 1
KINDS = {
    "signal": ["data.knobs.signal=1.9922"],
    "volume": ["data.knobs.signal=1.9922", "data.knobs.signal_in=volume"],
    "centre": [
        *("data.knobs.signal=0", "data.knobs.clinical=0"),
        *("data.knobs.covariates=pooled", "data.knobs.centre_outcome=2"),
    ],
}
COHORT = [
    *("data.preset=multicentre", "data.knobs.max_lesions=2"),
    *("data.knobs.size_voxels=36", "data.knobs.radius_mm=[5,10]"),
]
NULL = {"strict_null": True, "max_lesions": 1, "size_voxels": 32, "radius_mm": [5, 8]}
RESPONSE = Endpoint("response", "response")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
parser.add_argument("--null", type=int, default=50, help="cohorts without any effect")
parser.add_argument("--kinds", nargs="+", choices=[*KINDS, "nothing"], default=[*KINDS, "nothing"])
parser.add_argument("--work", type=Path, default=Path(".cache/falsification"))
parser.add_argument("--out", type=Path, default=Path("benchmarks/results/falsification.csv"))


def run(folder: Path, *typed: str) -> dict:
    """Train, unless the folder holds the run already; return its falsification.json."""
    if not (folder / "run.json").is_file():
        words = [sys.executable, "train.py", "experiment=zhao_mlp", "optimism=none", *typed, f"output={folder}"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads((folder / "falsification.json").read_text(encoding="utf-8"))


def judged(folder: Path) -> pd.DataFrame:
    """Evaluate a run; return its rows on all held-out patients."""
    words = [sys.executable, "evaluate.py", f"run={folder}"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = pd.read_csv(folder / "evaluation" / "metrics.csv", keep_default_na=False)
    everybody = (metrics["centre"] == "") & (metrics["subgroup"] == "") & (metrics["level"] == "patient")
    return metrics[everybody & (metrics["partition"] == "held_out")]


def with_effect(kind: str, seed: int, work: Path) -> dict:
    """Return what the controls say of one cohort with an effect planted."""
    start = time.perf_counter()
    folder = work / f"{kind}-{seed}"
    told = run(folder, *COHORT, f"data.knobs.seed={seed}", f"seed={seed}", *KINDS[kind])
    rows = judged(folder)
    auc = rows[(rows["metric"] == "auc") & (rows["method"] == "delong")].set_index("model")["estimate"].astype(float)
    pair = rows[(rows["metric"] == "auc_difference") & (rows["method"] == "delong_paired")]
    pair = pair[(pair["model"] == "zhao_mlp") & (pair["versus"] == "control_volume")].iloc[0]
    suspicious = [one["cause"] for one in told["leak_checks"] if one["suspicious"]]
    return {
        "kind": kind,
        "seed": seed,
        "auc": auc["zhao_mlp"],
        "auc_volume": auc["control_volume"],
        "beats_volume_by": float(pair["estimate"]),
        "lower": float(pair["lower"]),
        "upper": float(pair["upper"]),
        "beats_volume": float(pair["lower"]) > 0,
        "auc_clinical": auc.get("control_clinical"),
        "auc_random_features": auc.get("control_random_features"),
        "auc_same_patients": auc.get("control_same_patients"),
        "auc_shuffled_voxels": auc.get("control_shuffled_voxels"),
        "auc_random_region": auc.get("control_random_region"),
        "permutation_p": told["permutation"]["p_value"],
        "suspicious": " ".join(suspicious),
        "seconds": round(time.perf_counter() - start, 1),
    }


def without(seed: int, work: Path) -> dict:
    """Return the permutation p-value of one cohort without any effect, as a run computes it."""
    start = time.perf_counter()
    knobs = {**NULL, "seed": seed}
    root = simulated_folder("small", str(work / "cohorts"), workers=WORKERS, knobs=knobs)
    cohort = read_manifest(root, [RESPONSE]).evaluable("response")
    settings = build(load_config("train", ["experiment=zhao_mlp"]).radiomics)
    table = extract_cohort(cohort, settings, engine="native", workers=WORKERS, cache=work / "features")
    features = lesion_features(cohort.with_features(table), ("lesion",), "mean").patients

    def auc(permuted: Cohort, number: int) -> float:  # noqa: ARG001 - draws nothing
        folds = stratified_folds(permuted, "response", n_folds=5, seed=seed)
        return ridge_discrimination(features, (), permuted, "response", folds)

    with threadpool_limits(1):
        test = permutation_test(cohort, "response", auc, permutations=99, seed=seed)
    seconds = round(time.perf_counter() - start, 1)
    found = {"kind": "nothing", "seed": seed, "auc_ridge": test.observed, "auc_permuted": np.mean(test.null)}
    return {**found, "permutation_p": test.p_value, "seconds": seconds}


if __name__ == "__main__":
    options = parser.parse_args()
    found = []
    for kind in options.kinds:
        for seed in options.seeds if kind != "nothing" else range(1, options.null + 1):
            found.append(without(seed, options.work) if kind == "nothing" else with_effect(kind, seed, options.work))
            print(found[-1], flush=True)
    table = pd.DataFrame(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out, index=False, float_format="%.4f")
    for kind, part in table.groupby("kind", sort=False):
        if kind == "nothing":
            test = kstest(part["permutation_p"], "uniform")
            low = (part["permutation_p"] <= 0.05).mean()
            print(f"nothing: {len(part)} cohorts, {low:.0%} with p ≤ 0.05, Kolmogorov-Smirnov p {test.pvalue:.3f}")
        else:
            flagged = part["suspicious"].str.contains("centre").sum()
            print(f"{kind}: beats volume in {part['beats_volume'].sum()} of {len(part)}; centre flagged in {flagged}")
