"""How new centres differ from the patients a model learned from: prevalence, features, and who could not be scored."""

from radnet.report.reading import Evaluation
from radnet.report.text import Table, decimal, percent


def drift_tables(evaluation: Evaluation) -> list[Table]:
    """Tabulate prevalence and drift of features per centre, and patients without a score; empty without a model."""
    drift = evaluation.about.get("drift") or {}
    if not drift:
        return []
    prevalence = [
        [
            one["centre"] or "All",
            str(one["n"]),
            str(one["n_event"]),
            percent(one["prevalence"], one["lower"], one["upper"]),
        ]
        for one in drift["prevalence"]
    ]
    tables = [Table("Share of patients with the event", ["Centre", "Patients", "Events", "Share (95% CI)"], prevalence)]
    if drift["features"]:
        rows = [
            [
                one["centre"] or "All",
                str(one["features"]),
                str(one["beyond_half"]),
                one["largest"],
                decimal(one["by"], 2),
            ]
            for one in drift["features"]
        ]
        columns = ["Centre", "Features", "Beyond ± 0.5", "Farthest feature", "By"]
        note = "Difference of means from training's in standard deviations; every feature in tables/drift.csv."
        tables.append(Table("Features", columns, rows, note=note))
    far = drift["far"]
    columns = ["Scored", "Far from training", "Not scored"]
    tables.append(Table("Patients", columns, [[str(far["scored"]), str(far["far"]), str(far["unscored"])]]))
    return tables
