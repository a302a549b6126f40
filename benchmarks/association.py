"""Does `radnet associate` find planted biology, and how much else? Power and false discovery at q < 0.1, seed by seed.

usage: python benchmarks/association.py [--seeds 20] [--nulls 200] [--work FOLDER] [--out FILE.csv]

Cohorts without images: 18 of 181 molecular columns follow the texture latent (r = 0.5), 163 follow nothing. Beside all
181 stands, per cohort of 240 (the preset `paper`), 100, 60 and 40 patients, the patients' own latent, and the mean of
their lesions' latents, which is what a perfect reader would see in images. Both stand in `truth/`, which training may
not read and a benchmark may. Where nothing is planted (strict_null), the 181 columns stand beside response and beside
progression; the share of cohorts in which anything at all is called is then the false discovery rate, 0.1 at most.
"""

import argparse
import json
import shutil
from math import sqrt
from pathlib import Path

import pandas as pd

from radnet.association.plan import read_plan
from radnet.association.run import carry_out
from radnet.data.simulate import simulate, simulation_settings

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seeds", type=int, default=20)
parser.add_argument("--nulls", type=int, default=200)
parser.add_argument("--work", type=Path, default=Path(".cache/association"))
parser.add_argument("--out", type=Path, default=Path("benchmarks/results/association.csv"))
options = parser.parse_args()
SIZES = (240, 100, 60, 40)
HIGHEST_Q = 0.1
TABLES = """\
output: results
seed: 1
tables:
  scores: {file: scores.csv, patients: rows, id: patient_id}
  clinical: {file: cohort/clinical.csv, patients: rows, id: patient_id}
  biology: {file: cohort/biology.csv, patients: rows, id: patient_id}
steps:
"""
PLANTED = """\
  latent: {do: correlate, x: {from: scores, columns: [t]}, y: biology, method: spearman, family: latent}
  lesions: {do: correlate, x: {from: scores, columns: [lesions]}, y: biology, method: spearman, family: lesions}
"""
NULL = """\
  response:
    {do: compare, variables: biology, group: {from: clinical, column: response}, groups: [1, 0], test: mann_whitney,
     family: response}
  progression:
    {do: survival, variables: biology, outcome: {from: clinical, event: pfs_event, time: pfs_months, endpoint: pfs},
     family: progression}
"""


def associated(steps: str, **knobs: object) -> tuple[pd.DataFrame, set[str]]:
    """Return the associations of one simulated cohort, and the columns planted."""
    folder = options.work / "one"
    shutil.rmtree(folder, ignore_errors=True)
    simulate(simulation_settings("paper", biology=True, images=False, **knobs), folder / "cohort")
    truth = json.loads((folder / "cohort" / "truth" / "truth.json").read_text(encoding="utf-8"))
    scores = pd.DataFrame(truth["patients"]).set_index("patient_id")[["t"]]
    scores["lesions"] = pd.DataFrame(truth["lesions"]).groupby("patient_id")["t"].mean()
    scores.to_csv(folder / "scores.csv")
    (folder / "plan.yaml").write_text(TABLES + steps, encoding="utf-8")
    carried = carry_out(read_plan(folder / "plan.yaml"))
    if carried.refused:
        raise SystemExit(f"refused: {dict(carried.refused)}")
    return carried.table, set(truth["biology"]["planted"])


def counted(table: pd.DataFrame, planted: set[str]) -> list[dict[str, object]]:
    """Return, of each family, how many were called, and how many of these were planted."""
    rows = []
    for family, own in table.groupby("family", sort=False):
        called = set(own.loc[own["q_value"] < HIGHEST_Q, "y"])
        rows.append({"beside": family, "tests": len(own), "called": len(called), "planted": len(called & planted)})
    return rows


rows = []
for n in SIZES:
    for seed in range(1, options.seeds + 1):
        table, planted = associated(PLANTED, n=n, seed=seed)
        rows += [{"kind": "planted", "n": n, "seed": seed, **one} for one in counted(table, planted)]
for seed in range(1, options.nulls + 1):
    table, _ = associated(NULL, n=240, seed=seed, strict_null=True)
    rows += [{"kind": "strict_null", "n": 240, "seed": seed, **one} for one in counted(table, set())]

found = pd.DataFrame(rows)
options.out.parent.mkdir(parents=True, exist_ok=True)
found.to_csv(options.out, index=False)
found["power"] = found["planted"] / 18
found["false"] = (found["called"] - found["planted"]) / found["called"].clip(lower=1)
for (kind, n, beside), part in found.groupby(["kind", "n", "beside"], sort=False):
    cohorts = len(part)
    if kind == "planted":
        told = [
            f"{name} {part[name].mean():.3f} (standard error {part[name].std() / sqrt(cohorts):.3f})"
            for name in ("power", "false")
        ]
        print(f"{kind}, {n} patients, {beside}: {', '.join(told)}; {cohorts} cohorts")
    else:
        share = float((part["called"] > 0).mean())
        error = sqrt(share * (1 - share) / cohorts)
        print(f"{kind}, {n} patients, {beside}: any called in {share:.3f} (standard error {error:.3f}) of {cohorts}")
