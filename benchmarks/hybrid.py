"""The hybrid beside zhao_combined: frozen models of 1,000 patients, judged on a fresh cohort of 2,000.

usage: python benchmarks/hybrid.py [--patients 1000] [--judged 2000] [--work FOLDER] [--out FILE.csv] [--set key=value]

Preset `paper` with its own signal. Both models learn from all patients that are not held out, without folds and
controls; `evaluate.py model=…` then judges them on a cohort of other patients, other centres and another seed. The
hybrid must not be inferior: the lower end of the interval of its AUC less that of zhao_combined must be above -0.03
(paired DeLong). And it must go 90 % of the way from 0.5 to a reader who measures what was planted (the spread within
the lesion, the ring, the volume), averages over lesions, and fits these and the clinical variables to the same training
patients by logistic regression.

This takes a GPU (--set trainer.accelerator=gpu) or many hours. The result names the device; without one it is not run
by `make` anywhere.
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
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radnet.data.simulate import simulate, simulation_settings

CLINICAL = ["lines_ge2", "sites_ge3", "visceral", "subtype"]
READINGS = ["log_core_sd", "ring_contrast", "log_volume"]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--patients", type=int, default=1000)
parser.add_argument("--judged", type=int, default=2000)
parser.add_argument("--work", type=Path, default=Path(".cache/hybrid"))
parser.add_argument("--out", type=Path, default=Path("benchmarks/results/hybrid.csv"))
parser.add_argument("--set", nargs="*", default=[], help="settings of training, such as trainer.accelerator=gpu")


def python(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


def simulated(folder: Path, **knobs: int | str) -> Path:
    simulate(simulation_settings("paper", **knobs), folder, workers=os.cpu_count() or 1)
    return folder


def readable(folder: Path) -> pd.DataFrame:
    """Return what a reader measures, averaged over lesions, beside clinical values, outcome and split."""
    truth = json.loads((folder / "truth" / "truth.json").read_text(encoding="utf-8"))
    readings = pd.DataFrame(truth["lesions"]).groupby("patient_id")[READINGS].mean()
    clinical = pd.read_csv(folder / "clinical.csv").set_index("patient_id")
    return readings.join(pd.get_dummies(clinical[CLINICAL], dtype=float)).join(clinical[["response", "split"]])


def reader_with_clinical(learned: pd.DataFrame, judged: pd.DataFrame) -> float:
    inputs = [name for name in learned.columns if name not in ("response", "split")]
    learned = learned[learned["split"] == "train"]
    rule = make_pipeline(StandardScaler(), LogisticRegression(C=np.inf)).fit(learned[inputs], learned["response"])
    return float(
        roc_auc_score(judged["response"], rule.decision_function(judged.reindex(columns=inputs, fill_value=0.0)))
    )


def main() -> None:
    options = parser.parse_args()
    work, rows = options.work, []
    cohort = simulated(work / "cohort", n=options.patients, seed=31)
    fresh = simulated(work / "fresh", n=options.judged, seed=32, cohort="new")
    names = ["zhao_combined", "hybrid"]
    for name in names:
        run = work / name
        quick = ["falsification=false", "optimism=none", "split.folds=null", "split.inner=null", "overwrite=true"]
        start = time.perf_counter()
        of_network = options.set if name == "hybrid" else []
        python(
            "train.py",
            f"experiment={name}",
            "data=manifest",
            f"data.root={cohort}",
            f"output={run}",
            *quick,
            *of_network,
        )
        rows.append({"what": "seconds of training", "model": name, "estimate": time.perf_counter() - start})
        python(
            "evaluate.py",
            f"model={run / 'model'}",
            f"data.root={fresh}",
            f"output={work / 'judged' / name}",
            "report=false",
        )
    tables = ",".join(str(work / "judged" / name / "predictions.parquet") for name in names)
    python(
        *("evaluate.py", f"predictions=[{tables}]", f"output={work / 'compared'}", "report=false"),
        *("evaluation=binary", "evaluation.versus=zhao_combined"),
    )
    metrics = pd.read_csv(work / "compared" / "metrics.csv", keep_default_na=False)
    everybody = (metrics[["centre", "subgroup"]] == "").all(axis=1) & metrics["method"].isin(
        ["delong", "delong_paired"]
    )
    for row in metrics[everybody & metrics["metric"].isin(["auc", "auc_difference"])].itertuples():
        about = {"what": row.metric, "model": row.model, "versus": row.versus, "n": row.n, "n_event": row.n_event}
        rows.append(about | {"estimate": float(row.estimate), "lower": float(row.lower), "upper": float(row.upper)})
    reader = reader_with_clinical(readable(cohort), readable(fresh))
    hybrid = next(one["estimate"] for one in rows if one["what"] == "auc" and one["model"] == "hybrid")
    rows.append({"what": "auc", "model": "reader with clinical values", "estimate": reader})
    rows.append({"what": "way to the reader", "model": "hybrid", "estimate": (hybrid - 0.5) / (reader - 0.5)})
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    table = pd.DataFrame(rows).assign(device=device)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out, index=False, float_format="%.4f")
    print(table.to_string(index=False, float_format="{:.3f}".format, na_rep=""))


if __name__ == "__main__":
    main()
