"""Draw the pictures of docs/figures.md: judge the reference data of the tests' oracles, and make each figure small.

Run it in the repository: ``python docs/gallery.py ORACLES`` names the folder of the oracles' JSON files, beside the
checkout by default; ``--keep FOLDER`` leaves what was judged there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

HERE = Path(__file__).resolve().parent
WIDEST = 640  # pixels of a picture
COLOURS = 48  # a figure has few, and a palette keeps its file small


def main() -> None:
    """Judge the oracles' data and write docs/figures/*.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("oracles", nargs="?", type=Path, default=HERE.parent.parent / "shared" / "oracles")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        judged = judge_all(options.oracles, work)
        for name, (folder, figure) in PICTURES.items():
            make_small = keep_voxels if name == "attribution" else shrink
            make_small(judged[folder] / "figures" / f"{figure}.png", HERE / "figures" / f"{name}.png")


def judge_all(oracles: Path, work: Path) -> dict[str, Path]:
    """Judge each set of patients as a user would, and return the evaluations' folders by name."""
    folders = {}
    for name, (make, options) in EVALUATIONS.items():
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        make(oracles, folder)
        lesions = folder / "lesion_predictions.csv"
        radnet(
            *("evaluate", f"predictions={folder / 'predictions.csv'}", f"output={folder}", "evaluation.bootstrap=500"),
            *([f"lesion_predictions={lesions}"] if lesions.is_file() else []),
            *options,
        )
        folders[name] = folder
    return folders


def radnet(*arguments: str) -> None:
    """Run one command of radnet."""
    subprocess.run([Path(sys.executable).with_name("radnet"), *arguments], check=True, cwd=HERE.parent)  # noqa: S603


def case(oracles: Path, file: str, name: str) -> dict:
    """Read the inputs of an oracle's case."""
    cases = json.loads((oracles / f"{file}.json").read_text(encoding="utf-8"))["cases"]
    return next(one["inputs"] for one in cases if one["id"] == name)


def pima(oracles: Path, folder: Path) -> None:
    """Diabetes in 332 women: a logistic model learned from others, and glucose by itself as a cruder model."""
    known = case(oracles, "04_decision_curve", "pima_external")
    patients = pd.DataFrame(case(oracles, "10_table_one", "pima_te")["data"])
    groups = {"age": np.where(patients["age"] < 30, "below 30", "30 or older"), "pregnancies": "0 to 3"}
    groups["pregnancies"] = np.where(patients["npreg"] > 3, "more than 3", "0 to 3")
    whole = predictions(known["y"], known["p"], probability=known["p"], cutoff=0.35, model="logistic", **groups)
    glucose = predictions(known["y"], patients["glu"], cutoff=125.0, model="glucose", **groups)
    write(pd.concat([whole, glucose]).assign(endpoint="diabetes"), folder)
    write_clinical(patients, folder, ["dm", "glu", "bmi", "ped", "age"], "--event", "dm")
    write_importance(patients, folder)


def lung(oracles: Path, folder: Path) -> None:
    """Death within a year in 227 patients with lung cancer, by a Cox model's probability."""
    known = case(oracles, "04_decision_curve", "surv_lung_365")
    patients = pd.DataFrame(case(oracles, "12_nomogram", "lung_cox")["data"])
    table = predictions(
        known["event"],
        known["p"],
        cutoff=float(np.median(known["p"])),
        model="Cox model",
        sex=patients["sex"],
        ecog=patients["ph.ecog"].clip(upper=2).map({0.0: "0", 1.0: "1", 2.0: "2 or 3"}),
        age=np.where(patients["age"] < 65, "below 65", "65 or older"),
    )
    table = table.assign(endpoint="os", time=known["time"], time_unit="days", probability_365=known["p"])
    write(table, folder)
    write_clinical(
        patients, folder, ["time", "event", "age", "sex", "ph.ecog"], "--event", "event", "--time", "time",
        "--times", "182", "365",
    )  # fmt: skip


def lesions(oracles: Path, folder: Path) -> None:
    """Patients with several lesions each: weights as attention gives them, a softmax of one feature."""
    table = pd.DataFrame(case(oracles, "09_glmm", "lesions236_85patients")["data"])
    weight = np.exp(table["f1"]) / np.exp(table["f1"]).groupby(table["patient"]).transform("sum")
    of_patient = table.groupby("patient")
    score = (weight * table["f2"]).groupby(table["patient"]).transform("sum")
    event = (of_patient["y"].transform("mean") >= 0.5).astype(int)
    each = pd.DataFrame({"patient_id": table["patient"], "event": event, "score": score}).drop_duplicates("patient_id")
    write(predictions(each["event"], each["score"], cutoff=0.0, model="attention").assign(
        endpoint="response", patient_id=each["patient_id"].to_numpy()), folder)  # fmt: skip
    number = of_patient.cumcount() + 1
    every = predictions(event, table["f2"], cutoff=0.0, model="attention").assign(
        endpoint="response", patient_id=table["patient"], lesion_id=number.map("L{}".format), site=table["loc"],
        weight=weight,
    )  # fmt: skip
    every.drop(columns=["probability", "time_unit"]).to_csv(folder / "lesion_predictions.csv", index=False)
    write_attribution(folder)


def predictions(event, score, *, cutoff: float, model: str, probability=np.nan, **groups) -> pd.DataFrame:
    """Return a prediction table of held-out patients, who are numbered."""
    table = pd.DataFrame({"event": np.asarray(event), "score": np.asarray(score), "probability": probability})
    names = [f"P{number:03d}" for number in range(1, len(table) + 1)]
    fixed = {"model": model, "partition": "held_out", "fold": "", "repeat": "", "centre": "", "cutoff": cutoff}
    return table.assign(patient_id=names, time=np.nan, time_unit="", **fixed).assign(**groups)


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write predictions where ``judge_all`` looks for them."""
    table.to_csv(folder / "predictions.csv", index=False)


def write_clinical(patients: pd.DataFrame, folder: Path, columns: list[str], *options: str) -> None:
    """Write the multivariable model of clinical variables and its nomogram as a run's tables are."""
    clinical = folder / "clinical.csv"
    patients[columns].assign(patient_id=[f"P{n:03d}" for n in range(len(patients))], centre="A").to_csv(
        clinical, index=False
    )
    (folder / "tables").mkdir(exist_ok=True)
    radnet(
        *("regression", str(clinical), *options, "--out", str(folder / "tables" / "regression.csv")),
        *("--nomogram", str(folder / "tables" / "nomogram.csv")),
        *("--variables", *(name for name in columns if name not in options)),
    )


def write_importance(patients: pd.DataFrame, folder: Path) -> None:
    """Permute one variable at a time before a logistic model's score is judged, as a run does with its features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = patients.drop(columns="dm"), patients["dm"]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    whole = roc_auc_score(y, model.decision_function(X))
    parts = {("feature", name): [name] for name in X.columns}
    parts |= {("group", "laboratory"): ["glu"], ("group", "body"): ["bmi", "bp"]}
    parts |= {("group", "history"): ["npreg", "ped", "age"]}
    rng, rows = np.random.default_rng(0), []
    for (kind, name), columns in parts.items():
        drops = []
        for _ in range(20):
            order = rng.permutation(len(X))
            moved = X.assign(**{column: X[column].to_numpy()[order] for column in columns})
            drops.append(whole - roc_auc_score(y, model.decision_function(moved)))
        lower, upper = np.quantile(drops, [0.025, 0.975])
        row = {"kind": kind, "name": name, "importance": np.mean(drops), "lower": lower, "upper": upper}
        rows.append(row | {"partition": "apparent", "method": "permutation, drop in AUC"})
    pd.DataFrame(rows).to_csv(folder / "tables" / "importance.csv", index=False)


def write_attribution(folder: Path) -> None:
    """Attribute the spread of the intensities in simulated lesions to their voxels, as a run does with its network."""
    import torch
    from omegaconf import OmegaConf

    from radnet.config import build
    from radnet.data.manifest import read_manifest
    from radnet.learning.patches import cohort_patches
    from radnet.models.attribution import attribution_table, lesions_to_show

    def spread(image: torch.Tensor) -> torch.Tensor:
        return torch.stack([patch[intensities][patch[outline] > 0.5].std() for patch in image])

    radnet("simulate", str(folder / "simulated"), "--preset", "small", "--set", "n=12")
    settings = OmegaConf.load(HERE.parent / "conf" / "imaging" / "ct_1mm.yaml")
    settings.size_voxels = [40, 40, 40]  # within the simulated scans
    cohort = read_manifest(folder / "simulated")
    patches = cohort_patches(cohort, build(settings), cache=folder / "cache")
    sites = [lesion.site for patient in cohort.patients for lesion in patient.lesions]
    places = [place for place, site in zip(patches.rows["place"], sites, strict=True) if site == "liver"][:5]
    names = list(patches.channels)
    intensities, outline = names.index("soft_tissue"), names.index("lesion")
    image = torch.from_numpy(patches.array()[places].astype(np.float32))
    roles = lesions_to_show(spread(image))
    shown = image[list(roles)]
    table = attribution_table(spread, shown, patches.channels, shown[:, outline] > 0.5, list(roles.values()))
    (folder / "tables").mkdir(exist_ok=True)
    table.to_csv(folder / "tables" / "attribution.csv", index=False)


def shrink(picture: Path, small: Path) -> None:
    """Write a picture on white with few colours and at most ``WIDEST`` pixels across."""
    opaque = on_white(picture)
    scale = min(1, WIDEST / opaque.width)
    resized = opaque.resize((round(opaque.width * scale), round(opaque.height * scale)), Image.Resampling.LANCZOS)
    small.parent.mkdir(exist_ok=True)
    resized.quantize(COLOURS).save(small, optimize=True)


def keep_voxels(picture: Path, small: Path) -> None:
    """Write a picture of scans on white at its size and with many colours: a few would be greys alone."""
    small.parent.mkdir(exist_ok=True)
    on_white(picture).quantize(256, method=Image.Quantize.MAXCOVERAGE).save(small, optimize=True)


def on_white(picture: Path) -> Image.Image:
    """Return a picture without what shines through."""
    with Image.open(picture) as image:
        opaque = Image.new("RGB", image.size, "white")
        opaque.paste(image, mask=image.getchannel("A") if "A" in image.getbands() else None)
    return opaque


EVALUATIONS = {
    "pima": (pima, ["evaluation=binary", "evaluation.subgroups=[age,pregnancies]"]),
    "lung": (lung, ["evaluation=survival", "evaluation.horizons=[365]", "evaluation.subgroups=[sex,ecog,age]"]),
    "lesions": (lesions, ["evaluation=binary"]),
}
PICTURES = {
    "roc": ("pima", "roc"),
    "precision_recall": ("pima", "precision_recall"),
    "scores": ("pima", "scores"),
    "waterfall": ("pima", "waterfall"),
    "confusion": ("pima", "confusion"),
    "cutoff_search": ("pima", "cutoff_search"),
    "calibration": ("pima", "calibration"),
    "calibration_survival": ("lung", "calibration"),
    "decision": ("pima", "decision"),
    "impact": ("pima", "impact"),
    "km": ("lung", "km"),
    "forest": ("lung", "forest"),
    "forest_auc": ("pima", "forest"),
    "multivariable": ("lung", "multivariable"),
    "nomogram": ("pima", "nomogram"),
    "nomogram_survival": ("lung", "nomogram"),
    "importance": ("pima", "importance"),
    "lesion_weights": ("lesions", "lesion_weights"),
    "attribution": ("lesions", "attribution"),
}

if __name__ == "__main__":
    main()
