"""Does an experiment find a planted effect, and nothing where there is none? Held-out AUC over several seeds.

usage: python benchmarks/signal_and_null.py [--experiment zhao_mlp] [--seeds 1 2 3] [--work FOLDER] [--out FILE.csv]

Per seed three runs on the `multicentre` preset (120 patients learn, 200 are held out): with the effect planted
(signal 1.9922, Zhao's validation level), with the same outcomes shuffled, and on a cohort in which nothing depends on
the outcome (strict_null). The mean of the last two must lie within 3 standard errors of 0.5.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--experiment", default="zhao_mlp")
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
parser.add_argument("--work", type=Path, default=Path(".cache/signal_and_null"))
parser.add_argument("--out", type=Path, default=Path("benchmarks/results/signal_and_null.csv"))
options = parser.parse_args()
SIGNAL = "data.knobs.signal=1.9922"
KINDS = {
    "signal": [SIGNAL],
    "shuffled": [SIGNAL, "shuffle_labels=true"],
    "strict_null": ["data.knobs.strict_null=true"],
}


def python(script: str, *words: str) -> None:
    subprocess.run([sys.executable, script, *words], check=True, stdout=subprocess.DEVNULL)


rows = []
for kind, changes in KINDS.items():
    for seed in options.seeds:
        run = options.work / f"{options.experiment}-{kind}-{seed}"
        start = time.perf_counter()
        cohort = ["data.preset=multicentre", f"data.knobs.seed={seed}", f"seed={seed}"]
        quick = ["falsification=false", "optimism=none", f"output={run}", "overwrite=true"]
        python("train.py", f"experiment={options.experiment}", *cohort, *changes, *quick)
        python("evaluate.py", f"run={run}")
        metrics = pd.read_csv(run / "evaluation" / "metrics.csv", keep_default_na=False)
        frozen = (metrics["partition"] == "held_out") & (metrics["centre"] == "") & (metrics["method"] == "delong")
        auc = metrics[frozen & (metrics["metric"] == "auc")].iloc[0]
        truth = json.loads((run / "evaluation" / "evaluation.json").read_text())["truth"]
        reader = truth["reader_auc"]["auc"]
        found = {
            "kind": kind,
            "seed": seed,
            "auc": float(auc["estimate"]),
            "lower": auc["lower"],
            "upper": auc["upper"],
        }
        oracle = 0.5 if kind == "shuffled" else truth["oracle_auc"]["image"]["auc"]
        rows.append({**found, "image_oracle": oracle, "reader": 0.5 if kind == "shuffled" else reader})
        rows[-1]["seconds"] = round(time.perf_counter() - start, 1)
        print(rows[-1], flush=True)

table = pd.DataFrame(rows)
options.out.parent.mkdir(parents=True, exist_ok=True)
table.to_csv(options.out, index=False, float_format="%.4f")
for kind, part in table.groupby("kind", sort=False):
    # DeLong's interval is ± 1.96 standard errors of one run; the mean of k independent runs has that over √k.
    single = (part["upper"].astype(float) - part["lower"].astype(float)) / (2 * 1.96)
    error = np.sqrt((single**2).sum()) / len(part)
    mean, away = part["auc"].mean(), abs(part["auc"].mean() - 0.5) / error
    print(f"{kind}: mean held-out AUC {mean:.3f}, standard error {error:.3f}, {away:.1f} standard errors from 0.5")
