"""Do networks that see T1 MRI and PET foretell lung metastasis of sarcoma, beside radiomics alone?

usage: python benchmarks/sarcoma_network.py --data FOLDER [--work FOLDER] [--out FILE.csv] [--repeats 3]

The patients of sarcoma.py, with PET as a second channel: of features (han479a, z-scored channels) and of patches
(imaging=mr_pet_2mm, resampled to one grid). Each run is `train.py` as a user types it, in five stratified folds
(split=kfold), drawn several times and alike for every model: the hybrid, its image branch alone (cnn_patch), its
radiomics branch alone (radiomics_attention). 9 events are too few to set patients aside, within folds, for a decision
when to stop: 30 epochs for all (trainer.valid_share=0), and no cut-off within folds (split.inner=null). Nothing is
tuned to these patients. `evaluate.py` then gives the mean of the folds' AUCs (bootstrap of patients within folds), and
the differences from radiomics alone (corrected resampled t-test over folds, Nadeau and Bengio 2003).
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from sarcoma import EVENT, python, rows_of

MODELS = {
    "radiomics_attention": [],
    "cnn_patch": ["imaging=mr_pet_2mm"],
    "hybrid": ["imaging=mr_pet_2mm", "model.clinical=[]"],
}


def write_cohort(data: Path, folder: Path) -> Path:
    """Write the tables of a cohort whose lesions.csv points to the MRI and the PET of every patient with an MRI."""
    cases = pd.read_csv(data / "cases.csv")
    with_mri = cases.loc[cases["modality"] == "MR_T1", "patient"]
    cases = cases[cases["patient"].isin(with_mri) & cases["modality"].isin(["MR_T1", "PET"])]
    cases = cases.sort_values(["patient", "modality"])  # the MRI first
    folder.mkdir(parents=True, exist_ok=True)
    patients = cases.drop_duplicates("patient")
    clinical = pd.DataFrame({"patient_id": patients["patient"], "centre": "unknown", EVENT: patients[EVENT]})
    clinical.to_csv(folder / "clinical.csv", index=False)
    files = str(data.resolve()) + "/" + cases["patient"] + "/" + cases["modality"]
    lesions = {"patient_id": cases["patient"], "lesion_id": "L1", "site": "soft_tissue", "channel": cases["modality"]}
    lesions |= {"image": files + "_image.nii.gz", "mask": files + "_mask.nii.gz"}
    pd.DataFrame(lesions).to_csv(folder / "lesions.csv", index=False)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv and a folder per patient")
    parser.add_argument("--work", type=Path, default=Path(".cache/sarcoma_network"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sarcoma_network.csv"))
    parser.add_argument("--repeats", type=int, default=3, help="draws of the five folds")
    options = parser.parse_args()
    root = write_cohort(options.data, options.work / "cohort")
    for name, words in MODELS.items():
        python(
            "train.py",
            *(f"experiment={name}", "data=manifest", f"data.root={root}", f"output={options.work / name}"),
            *(f"endpoint.name={EVENT}", f"endpoint.event={EVENT}", "radiomics=han479a", "radiomics.regions=[lesion]"),
            *("split=kfold", f"split.folds.repeats={options.repeats}", "split.inner=null"),
            *("trainer.valid_share=0", "trainer.max_epochs=30", "falsification=false", "overwrite=true", *words),
        )
    tables = ",".join(str(options.work / name / "predictions.parquet") for name in MODELS)
    python(
        "evaluate.py",
        *(f"predictions=[{tables}]", f"output={options.work / 'judged'}", "evaluation.versus=radiomics_attention"),
        *("evaluation.thresholds=[]", "report=false"),
    )
    found = pd.DataFrame(rows_of(pd.read_csv(options.work / "judged" / "metrics.csv", keep_default_na=False)))
    seconds = {
        name: json.loads((options.work / name / "run.json").read_text(encoding="utf-8"))["seconds"]["folds"]
        for name in MODELS
    }
    found["seconds_folds"] = found["model"].map(seconds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found.to_csv(options.out, index=False, float_format="%.4f")
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
