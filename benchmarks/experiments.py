"""Every experiment on its simulated cohort, as it should be and as published: one table.

usage: python benchmarks/experiments.py [--experiments zhao_mlp wang_score …] [--protocols strict as_published]
                                        [--work FOLDER] [--out FILE.csv]

Zhao's on the preset `paper` with the effect of its validation AUC (signal 1.9922: image oracle 0.920), those of other
papers on the presets of their studies, our own networks on `small` with that effect (38 patients learn). Each run is
`train.py` and `evaluate.py` as a user types them, without controls and resampling (falsification=false optimism=none),
whose time says nothing of the model. Per run: patients learned from and their events, patients held out and theirs,
held-out discrimination with its interval beside the out-of-fold and the apparent one, the oracle (what no model can
exceed but by chance) and the reader (who measures what was planted), the value printed in the paper, seconds. Rows of
the file that are not run anew are kept.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

ZHAO = ["preset=paper", "data.knobs.signal=1.9922"]
OURS = ["preset=small", "data.knobs.signal=1.9922"]
# experiment: cohort, endpoint judged, oracle of truth.json, held-out value as published
EXPERIMENTS = {
    "zhao_clinical": (ZHAO, "response", "clinical", ".634 (.495-.772), Table 2"),
    "zhao_mlp": (ZHAO, "response", "image", ".920 (.824-1), Table 2"),
    "zhao_combined": (ZHAO, "response", "combined", ".961 (.885-1), Table 2"),
    "zhao_stacking": (ZHAO, "response", "combined", ".961 (.885-1), Table 2"),
    "zhao_pdl1": (ZHAO, "response", None, ".839 (.512-1), Table S3"),
    "zhao_pdl1_ge10": (ZHAO, "response", None, ".661 (.346-.976), Table S3"),
    "zhao_clinical_pdl1": (ZHAO, "response", "clinical", "no significant gain"),
    "wang_score": ([], "dfs", "image", ".614 (.522-.706)"),
    "wang_nomogram": ([], "dfs", "image", ".612 (.528-.696)"),
    "wang_tnm": ([], "dfs", None, ".516 (.426-.606)"),
    "wang_clinical": ([], "dfs", None, "not printed"),
    "han_tme": ([], "tme", "image_for_tme", ".844 (.606-1.000)"),
    "han_response": ([], "response", "image_for_response", ".784 (.643-.926)"),
    "ligero_radiomics": ([], "clinical_benefit", "image", "of lesions .67 (.58-.76), .67 (.56-.77)"),
    "ligero_combined": ([], "clinical_benefit", "combined", ".74 (.59-.89), .73 (.59-.88)"),
    "radiomics_attention": (OURS, "response", "image", None),
    "cnn_patch": (OURS, "response", "image", None),
    "hybrid": (OURS, "response", "combined", None),
    "hybrid_survival": (OURS, "pfs", "combined", None),
    "ligero_clinical": ([], "clinical_benefit", "clinical", ".67 (.50-.84), .65 (.49-.81)"),
}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), choices=list(EXPERIMENTS))
parser.add_argument("--protocols", nargs="+", default=["strict", "as_published"])
parser.add_argument("--work", type=Path, default=Path(".cache/experiments"))
parser.add_argument("--out", type=Path, default=Path("benchmarks/results/experiments.csv"))
options = parser.parse_args()


def python(script: str, *words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, script, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def discrimination(metrics: pd.DataFrame, endpoint: str, model: str, partition: str) -> pd.Series | None:
    """Return the row of a patient-level AUC or C-index; None where the endpoint is not judged there."""
    wanted = {"endpoint": endpoint, "model": model, "partition": partition, "level": "patient"}
    wanted |= dict.fromkeys(("centre", "subgroup", "versus"), "")
    rows = metrics[(metrics[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    methods = {"auc": ("delong", "bootstrap"), "c_index": ("harrell",)}
    found = rows[[row.method in methods.get(row.metric, ()) for row in rows.itertuples()]]
    return found.iloc[0] if len(found) else None


options.out.parent.mkdir(parents=True, exist_ok=True)
kept = pd.read_csv(options.out) if options.out.is_file() else pd.DataFrame(columns=["experiment", "protocol"])
for name in options.experiments:
    cohort, endpoint, oracle, published = EXPERIMENTS[name]
    for protocol in options.protocols:
        if published is None and protocol != "strict":
            continue  # no paper's
        run = options.work / f"{name}-{protocol}"
        quick = ["falsification=false", "optimism=none", f"output={run}", "overwrite=true"]
        seconds = python("train.py", f"experiment={name}", f"protocol={protocol}", *cohort, *quick)
        seconds += python("evaluate.py", f"run={run}")
        metrics = pd.read_csv(run / "evaluation" / "metrics.csv", keep_default_na=False)
        about = json.loads((run / "run.json").read_text(encoding="utf-8"))
        truth = json.loads((run / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))["truth"]
        model, counts = about["experiment"], about["counts"]
        row = {"experiment": name, "protocol": protocol}
        for part, column in (("development", "n_train"), ("held_out", "n_held_out")):
            row |= {column: counts[part]["patients"], f"{column}_event": counts[part]["events"]}
        for partition in ("held_out", "out_of_fold", "apparent"):
            found = discrimination(metrics, endpoint, model, partition)
            row[partition] = None if found is None else float(found["estimate"])
            if partition == "held_out":
                row |= {"metric": found["metric"], "lower": float(found["lower"]), "upper": float(found["upper"])}
                row |= {"n_held_out": found["n"], "n_held_out_event": found["n_event"]}
        planted = truth.get(f"oracle_{row['metric']}") or {}
        reader = truth.get(f"reader_{row['metric']}") or {}
        if oracle == "image_for_response":  # the reader too learned the phenotype
            reader = truth["transferred_reader_auc"]["response"]
        row["oracle"] = planted[oracle][row["metric"]] if oracle else 0.5 if endpoint == "dfs" else None
        seen = None if oracle in (None, "clinical") else reader.get(row["metric"])  # by who reads images
        row |= {"reader": seen, "published": published, "seconds": round(seconds, 1)}
        kept = kept[(kept["experiment"] != name) | (kept["protocol"] != protocol)]
        kept = pd.concat([kept, pd.DataFrame([row])], ignore_index=True) if len(kept) else pd.DataFrame([row])
        kept.to_csv(options.out, index=False, float_format="%.4f")
        print(row, flush=True)

print(kept.to_string(index=False, float_format="{:.3f}".format))
