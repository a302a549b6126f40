"""Do networks find what is planted around a lesion, and in one of several? On held-out patients of simulated cohorts.

usage: python benchmarks/planted.py [--cases ring carrier …] [--work FOLDER] [--out FILE.csv]

`ring`: the outcome changes the tissue around lesions alone (signal_in=ring). What sees that tissue (the features of a
ring from the border to 4 mm outside, or the whole patch) must find it; what sees the lesion alone (its features, or a
patch that is 0 outside it) must not.

`carrier`: one lesion of each patient, drawn at random, carries the effect (carrier=one), up to five lesions each.
Attention and the maximum must beat a mean: that of the lesions' features (zhao_mlp on the same features), and that of
what a network says of each lesion, which can let one lesion count as well. Differences in AUC are paired, by DeLong's
test. `strong_carrier` is the same with a greater effect, `clear_carrier` with one that leaves no doubt; `many_patients`
is strong_carrier with 900 patients to learn from and 1,500 to judge by. The weight of attention must tell the carrier
from a patient's other lesions. That can be told where the event came alone, since in all other patients the carrier is
as any lesion: per patient with the event and two lesions or more the share of other lesions that weigh less than the
carrier (ties half), averaged, with an interval over patients drawn anew. Rows of cases that are not run anew are kept.

Each model is `train.py` as a user types it, without folds, controls and resampling; 107 features (no filters) serve
both cases. One file holds every number.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from radnet.evaluation.bootstrap import bootstrap_interval

SHAPES_AND_TEXTURES = ["radiomics.log_sigma_mm=[]", "radiomics.wavelet=false"]
RING = [
    *SHAPES_AND_TEXTURES,
    *("radiomics.regions=[lesion,ring]", "radiomics.ring_inner_mm=0", "radiomics.ring_outer_mm=4"),
]
OUTSIDE_HIDDEN = [
    *("imaging.channels.about_lesion.within=true", "~imaging.channels.soft_tissue"),
    *("~imaging.channels.ring", "~imaging.channels.distance"),
]
COHORTS = {
    "ring": {"signal": 1.9922, "signal_in": "ring", "n": 600, "seed": 22},
    "carrier": {"signal": 1.9922, "carrier": "one", "n": 900, "max_lesions": 5, "seed": 21},
    "strong_carrier": {"signal": 3.0, "carrier": "one", "n": 900, "max_lesions": 5, "seed": 23},
    "clear_carrier": {"signal": 6.0, "carrier": "one", "n": 900, "max_lesions": 5, "seed": 25},
    "many_patients": {"signal": 3.0, "carrier": "one", "n": 2400, "max_lesions": 5, "seed": 24},
}
MODELS = {
    "ring": {
        "ring_features": ["experiment=radiomics_attention", *RING, "model.regions=[ring]"],
        "lesion_features": ["experiment=radiomics_attention", *RING, "model.regions=[lesion]"],
        "whole_patch": ["experiment=cnn_patch"],
        "lesion_patch": ["experiment=cnn_patch", *OUTSIDE_HIDDEN],
    },
    "carrier": {
        "features_averaged": ["experiment=zhao_mlp", "targets=all", *RING, "model.regions=[lesion,ring]"],
    }
    | {
        rule: ["experiment=radiomics_attention", *RING, "model.regions=[lesion,ring]", f"model.aggregate={rule}"]
        for rule in ("mean", "attention", "max", "set_transformer", "noisy_or")
    },
}
MODELS["strong_carrier"] = MODELS["clear_carrier"] = MODELS["many_patients"] = MODELS["carrier"]
QUICK = ["falsification=false", "optimism=none", "split.folds=null", "split.inner=null", "overwrite=true"]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--cases", nargs="+", choices=list(COHORTS), default=list(COHORTS))
parser.add_argument("--work", type=Path, default=Path(".cache/planted"))
parser.add_argument("--out", type=Path, default=Path("benchmarks/results/planted.csv"))


def python(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


def judged(case: str, work: Path) -> pd.DataFrame:
    """Train the models of a case and judge them together; return AUCs and differences from each mean."""
    knobs = [f"data.knobs.{key}={value}" for key, value in COHORTS[case].items()]
    for name, words in MODELS[case].items():
        python("train.py", *words, "preset=multicentre", *knobs, *QUICK, f"name={name}", f"output={work / case / name}")
    tables = ",".join(str(work / case / name / "predictions.parquet") for name in MODELS[case])
    found = []
    for versus in [next(iter(MODELS[case])), *(["mean"] if "mean" in MODELS[case] else [])]:
        judged_in = work / case / f"versus_{versus}"
        shutil.rmtree(judged_in, ignore_errors=True)
        python(
            *("evaluate.py", f"predictions=[{tables}]", f"output={judged_in}", "report=false"),
            *("evaluation=binary", f"evaluation.versus={versus}"),
        )
        found.append(pd.read_csv(judged_in / "metrics.csv", keep_default_na=False))
    metrics = pd.concat(found).drop_duplicates(ignore_index=True)
    everybody = (metrics[["centre", "subgroup"]] == "").all(axis=1) & (metrics["partition"] == "held_out")
    wanted = metrics["method"].isin(["delong", "delong_paired"]) & (metrics["level"] == "patient")
    ours = metrics["model"].isin(MODELS[case])
    return metrics[everybody & wanted & ours & metrics["metric"].isin(["auc", "auc_difference"])]


def share_outweighed(run: Path) -> dict[str, float]:
    """Return how much of the other lesions weighs less than the carrier, over held-out patients with the event."""
    cohort = run / json.loads((run / "run.json").read_text(encoding="utf-8"))["cohort"]
    truth = json.loads((cohort / "truth" / "truth.json").read_text(encoding="utf-8"))["lesions"]
    carries = {(one["patient_id"], one["lesion_id"]): bool(one["carries"]) for one in truth}
    lesions = pd.read_parquet(run / "lesion_predictions.parquet")
    lesions = lesions[(lesions["partition"] == "held_out") & (lesions["event"] == 1)]
    shares = []
    for patient, own in lesions.groupby("patient_id"):
        is_carrier = np.array([carries[patient, lesion] for lesion in own["lesion_id"]])
        if len(own) > 1 and is_carrier.any():
            less = own["weight"].to_numpy()[is_carrier].max() - own["weight"].to_numpy()[~is_carrier]
            shares.append(np.mean((less > 0) + 0.5 * (less == 0)))
    found = np.array(shares)
    bounds = bootstrap_interval(
        lambda weight: weight @ found / weight.sum(axis=1),
        np.zeros(found.size, dtype=int),
        resamples=2000,
        seed=0,
        level=0.95,
    )
    return {"estimate": found.mean(), "lower": bounds[0], "upper": bounds[1], "n": found.size}


def main() -> None:
    options = parser.parse_args()
    tables = []
    for case in options.cases:
        table = judged(case, options.work)
        table = table.assign(case=case)[
            ["case", "model", "versus", "metric", "estimate", "lower", "upper", "p_value", "n", "n_event", "method"]
        ]
        tables.append(table)
        if case != "ring":
            rows = [
                {"case": case, "model": rule, "metric": "carrier_outweighs", "method": "bootstrap"}
                | share_outweighed(options.work / case / rule)
                for rule in ("attention", "max", "set_transformer", "noisy_or")
            ]
            tables.append(pd.DataFrame(rows))
        run = options.work / case / next(iter(MODELS[case]))
        cohort = run / json.loads((run / "run.json").read_text(encoding="utf-8"))["cohort"]
        truth = json.loads((cohort / "truth" / "truth.json").read_text(encoding="utf-8"))
        planted = {"image oracle": truth["oracle_auc"]["image"]["auc"], "reader": truth["reader_auc"]["auc"]}
        tables += [
            pd.DataFrame([{"case": case, "model": name, "metric": "auc", "estimate": value, "method": "truth.json"}])
            for name, value in planted.items()
        ]
    if options.out.is_file():
        before = pd.read_csv(options.out)
        tables.insert(0, before[~before["case"].isin(options.cases)])
    whole = pd.concat(tables, ignore_index=True)
    whole[["estimate", "lower", "upper"]] = whole[["estimate", "lower", "upper"]].apply(pd.to_numeric).round(4)
    whole["p_value"] = pd.to_numeric(whole["p_value"]).map(lambda value: float(f"{value:.4g}"))
    whole[["n", "n_event"]] = whole[["n", "n_event"]].apply(pd.to_numeric).astype("Int64")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    whole.to_csv(options.out, index=False)
    print(whole.to_string(index=False, float_format="{:.3f}".format, na_rep=""))


if __name__ == "__main__":
    main()
