"""Does Han's forest foretell lung metastasis of sarcoma from T1 MRI, and does the ring around the lesion add?

usage: python benchmarks/sarcoma.py --data FOLDER [--work FOLDER] [--out FILE.csv] [--repeats 5]

Real patients: those of the TCIA collection Soft-tissue-Sarcoma (Vallieres 2015) whose T1 MRI lies in FOLDER, with
`cases.csv` (patient, modality, lung_metastasis) and `PATIENT/MR_T1_image.nii.gz`, `PATIENT/MR_T1_mask.nii.gz`, cropped
to the mask and 15 mm. The cohort folder that is written points to these files; no image is copied.

Each run is `train.py` as a user types it: the features of han479a in lesion and ring, and the random forest of han_tme,
in five stratified folds (split=kfold), each chosen and read by folds within its training side; several draws of the
folds, on which a mean rests that depends less on one of them. The same once more with the lesion's features only
(model.regions=[lesion]), and with the lesion's volume only (control_volume), in the same folds. Nobody was delineated
twice, so the filter of reproducible features is left out (model.steps.reproducible=null), and 9 events are too few for
five folds within folds within folds: three choose a forest. Nothing is tuned to these patients. `evaluate.py` then
gives the mean of the folds' AUCs (bootstrap of patients within folds), and the differences (corrected resampled t-test
over folds, Nadeau and Bengio 2003). Seconds are of the wall clock; the second run finds its lesions in the cache.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

EVENT = "lung_metastasis"
MODELS = {"sarcoma_lesion_and_ring": "[lesion,ring]", "sarcoma_lesion": "[lesion]"}
CONTROLS = [
    *("falsification=true", "falsification.voxels=null", "falsification.permutations=0"),
    "falsification.random_signatures=0",
]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv and a folder per patient")
parser.add_argument("--work", type=Path, default=Path(".cache/sarcoma"))
parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sarcoma.csv"))
parser.add_argument("--repeats", type=int, default=5, help="draws of the five folds")
parser.add_argument("--seed", type=int, default=7)


def write_cohort(data: Path, folder: Path) -> Path:
    """Write the tables of a cohort whose lesions.csv points to the files in ``data``."""
    cases = pd.read_csv(data / "cases.csv")
    cases = cases[cases["modality"] == "MR_T1"]
    folder.mkdir(parents=True, exist_ok=True)
    clinical = pd.DataFrame({"patient_id": cases["patient"], "centre": "unknown", EVENT: cases[EVENT]})
    clinical.to_csv(folder / "clinical.csv", index=False)
    files = str(data.resolve()) + "/" + cases["patient"] + "/MR_T1_"
    lesions = {"patient_id": cases["patient"], "lesion_id": "L1", "site": "soft_tissue"}
    lesions |= {"image": files + "image.nii.gz", "mask": files + "mask.nii.gz"}
    pd.DataFrame(lesions).to_csv(folder / "lesions.csv", index=False)
    return folder


def python(script: str, *words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, script, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def train(root: Path, run: Path, name: str, regions: str, options: argparse.Namespace) -> None:
    python(
        "train.py",
        *("experiment=han_tme", f"name={name}", "data=manifest", f"data.root={root}", f"output={run}"),
        *(f"endpoint.name={EVENT}", f"endpoint.event={EVENT}", "split=kfold", f"split.folds.repeats={options.repeats}"),
        *("model.steps.reproducible=null", "model.steps.forest.n_folds=3", f"model.regions={regions}"),
        *(f"seed={options.seed}", *CONTROLS),
    )


def rows_of(metrics: pd.DataFrame) -> list[dict[str, object]]:
    """Return the out-of-fold AUCs and their differences, as they stand in metrics.csv."""
    everybody = (metrics["centre"] == "") & (metrics["subgroup"] == "") & (metrics["level"] == "patient")
    judged = metrics[everybody & (metrics["partition"] == "out_of_fold")]
    wanted = judged[judged["metric"].isin(["auc", "auc_difference"])]
    numbers = ["estimate", "lower", "upper", "p_value", "n", "n_event"]
    wanted = wanted.assign(**{name: pd.to_numeric(wanted[name]) for name in numbers})
    return wanted[["model", "versus", "metric", "method", *numbers]].to_dict("records")


if __name__ == "__main__":
    options = parser.parse_args()
    root = write_cohort(options.data, options.work / "cohort")
    runs = {name: options.work / name for name in MODELS}
    seconds = {}
    for name, regions in MODELS.items():
        if not (runs[name] / "run.json").is_file():
            train(root, runs[name], name, regions, options)
        about = json.loads((runs[name] / "run.json").read_text(encoding="utf-8"))
        seconds[name] = about["seconds"]
    tables = ",".join(str(run / "predictions.parquet") for run in runs.values())
    judged = options.work / "judged"
    python("evaluate.py", f"predictions=[{tables}]", f"output={judged}", "evaluation.thresholds=[]", "report=false")
    found = pd.DataFrame(rows_of(pd.read_csv(judged / "metrics.csv", keep_default_na=False)))
    for stage in ("features", "folds"):
        found[f"seconds_{stage}"] = found["model"].map({name: of_run[stage] for name, of_run in seconds.items()})
    found["workers"] = os.environ.get("RADNET_WORKERS", "0")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found.to_csv(options.out, index=False, float_format="%.4f")
    print(found.to_string(index=False))
