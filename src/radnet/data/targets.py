"""Which lesions of a patient a model reads: the largest of each site before a second of any, some sites first."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from radnet.cohort import FEATURE_KEYS, Cohort, FeatureTable
from radnet.tables import TableFault

DIAMETER = "original_shape_Maximum2DDiameterSlice"
"""The feature lesions are compared by: the largest diameter within an axial slice, in mm."""
SIZE_COLUMNS = ("patient_id", "lesion_id", "site", "diameter_mm")
"""Columns of a table of lesion sizes."""


@dataclass(frozen=True, slots=True)
class TargetRule:
    """How many lesions of a patient are targets, and which sites come first.

    Attributes:
        per_site: Most targets of one site.
        total: Most targets of a patient.
        first: Sites that come before all others, such as the visceral ones; their order says nothing.
    """

    per_site: int
    total: int
    first: Sequence[str]

    def __post_init__(self) -> None:
        counts = {"per_site": self.per_site, "total": self.total}
        faults = [
            f"{name} must be a whole number of 1 or more, got {count!r}"
            for name, count in counts.items()
            if isinstance(count, bool) or not isinstance(count, int) or count < 1
        ]
        if isinstance(self.first, str) or not all(isinstance(site, str) and site for site in self.first):
            faults.append(f"first must be a list of sites, such as [liver, lung], got {self.first!r}")
        if faults:
            raise ValueError(f"rule of target lesions: {'; '.join(faults)}")
        object.__setattr__(self, "first", tuple(self.first))


def target_lesions(sizes: pd.DataFrame, rule: TargetRule) -> pd.DataFrame:
    """Rank the lesions of each patient in the order they are taken, and mark the targets.

    A patient's sites stand in a row: those of ``rule.first``, then the others, each kind by the diameter of its largest
    lesion. The first pass takes the largest lesion of every site, the next the second of each, until ``per_site`` and
    ``total`` are reached. A patient with a lesion has a target.

    The smaller name goes first of two sites, and of two lesions of a site, that are alike in diameter. Lesions whose
    site is not known count as of one site, which is none of ``rule.first``: they may all lie in the same organ. Lesions
    without a diameter are ranked last, and are targets only of a patient in whom none has one.

    Args:
        sizes: A row per lesion: ``patient_id``, ``lesion_id``, ``site`` (empty or NaN where not known) and
            ``diameter_mm`` (NaN where not measured).
        rule: How many, and which sites first.

    Returns:
        The same rows in the same order, with ``rank`` (1 = taken first; every lesion of the patient has one) and
        ``target``.

    Raises:
        TableFault: If a column is missing, a lesion stands twice, a diameter is no length, or a site is spelt in two
            ways.

    References:
        Zhao et al. 2023, Methods (all but the order of other sites, the total and ties, which are not printed);
        Eisenhauer et al. Eur J Cancer 2009;45:228-247, RECIST 1.1 (two lesions per organ, five in all).

    Example:
        >>> rows = [("P1", "L1", "node", 40.0), ("P1", "L2", "liver", 20.0), ("P1", "L3", "node", 30.0)]
        >>> sizes = pd.DataFrame(rows, columns=list(SIZE_COLUMNS))
        >>> target_lesions(sizes, TargetRule(per_site=1, total=5, first=["liver"]))[["lesion_id", "rank", "target"]]
          lesion_id  rank  target
        0        L1     2    True
        1        L2     1    True
        2        L3     3   False
    """
    if missing := [column for column in SIZE_COLUMNS if column not in sizes.columns]:
        raise TableFault("lesion sizes", [f"column {column} is missing" for column in missing])
    kinds = {"patient_id": str, "lesion_id": str, "diameter_mm": float}
    lesions = sizes[list(SIZE_COLUMNS)].reset_index(drop=True).astype(kinds)
    lesions["site"] = lesions["site"].astype(object).where(lesions["site"].notna(), "")
    if faults := [*_size_faults(lesions), *_spelling_faults([*lesions["site"], *rule.first])]:
        raise TableFault("lesion sizes", faults)
    of_patient, of_site = lesions.groupby("patient_id"), lesions.groupby(["patient_id", "site"])
    measured = lesions["diameter_mm"].notna()
    by_size = lesions.sort_values(["diameter_mm", "lesion_id"], ascending=[False, True], na_position="last")
    ordered = lesions.assign(
        measured=measured,
        turn=by_size.groupby(["patient_id", "site"]).cumcount(),
        comes_first=lesions["site"].isin(rule.first),
        site_mm=of_site["diameter_mm"].transform("max"),
    ).sort_values(["measured", "turn", "comes_first", "site_mm", "site"], ascending=[False, True, False, False, True])
    ordered["rank"] = ordered.groupby("patient_id").cumcount() + 1
    ordered = ordered.sort_index()
    none_measured = of_patient["diameter_mm"].transform("count") == 0
    target = (ordered["turn"] < rule.per_site) & (ordered["rank"] <= rule.total) & (measured | none_measured)
    return sizes.assign(rank=ordered["rank"].to_numpy(), target=target.to_numpy())


def select_targets(cohort: Cohort, rule: TargetRule) -> tuple[Cohort, pd.DataFrame]:
    """Keep each patient's target lesions, by the diameters measured on the first channel.

    Where no patient has more lesions than may be targets of one site, all are, and no diameter is needed.

    Returns:
        The cohort with the lesions that are targets and their feature rows (every region, channel, reader and repeat)
        and patches, and the table of ``target_lesions`` over all lesions.

    Raises:
        ValueError: If lesions were not measured, or not their diameter.
    """
    if cohort.features is None:
        raise ValueError("targets are chosen by diameter, and no lesion is measured: run `radnet extract` first")
    most = min(rule.per_site, rule.total)
    if all(number <= most for number in _lesions_each(cohort, cohort.features)):
        sizes = _sizes(cohort, cohort.features) if DIAMETER in cohort.features.names else _unmeasured(cohort)
        return cohort, sizes.assign(rank=sizes.groupby("patient_id").cumcount() + 1, target=True)
    if DIAMETER not in cohort.features.names:
        raise ValueError(
            f"targets are chosen by diameter, and the feature table has no {DIAMETER}: measure shape features "
            "(radiomics=zhao has them), or keep every lesion (targets=all)"
        )
    table = target_lesions(_sizes(cohort, cohort.features), rule)
    kept = set(table.loc[table["target"], ["patient_id", "lesion_id"]].itertuples(index=False, name=None))
    patients = tuple(
        replace(patient, lesions=tuple(lesion for lesion in patient.lesions if (patient.id, lesion.id) in kept))
        for patient in cohort.patients
    )

    def of_targets(rows: pd.DataFrame) -> pd.DataFrame:
        is_target = [key in kept for key in zip(rows["patient_id"], rows["lesion_id"], strict=True)]
        return rows.loc[is_target].reset_index(drop=True)

    features = replace(cohort.features, rows=of_targets(cohort.features.rows))
    patches = cohort.patches and replace(cohort.patches, rows=of_targets(cohort.patches.rows))
    return Cohort(patients, features, patches), table


def _lesions_each(cohort: Cohort, features: FeatureTable) -> list[int]:
    keys = {(patient.id, lesion.id) for patient in cohort.patients for lesion in patient.lesions}
    keys |= set(features.rows[["patient_id", "lesion_id"]].itertuples(index=False, name=None))
    return list(Counter(patient for patient, _ in keys).values())


def _unmeasured(cohort: Cohort) -> pd.DataFrame:
    rows = [(patient.id, lesion.id, lesion.site, np.nan) for patient in cohort.patients for lesion in patient.lesions]
    return pd.DataFrame(rows, columns=list(SIZE_COLUMNS))


def _sizes(cohort: Cohort, features: FeatureTable) -> pd.DataFrame:
    """Return ``SIZE_COLUMNS`` of every lesion of the cohort, those too that only the feature table knows."""
    diameters = replace(features, rows=features.rows[[*FEATURE_KEYS, "status", DIAMETER]])
    diameter_mm = diameters.lesion_matrix()[DIAMETER].replace([np.inf, -np.inf], np.nan)
    sites = {(patient.id, lesion.id): lesion.site for patient in cohort.patients for lesion in patient.lesions}
    keys = list(dict.fromkeys([*sites, *diameter_mm.index]))
    rows = [(*key, sites.get(key, ""), diameter_mm.get(key, np.nan)) for key in keys]
    return pd.DataFrame(rows, columns=list(SIZE_COLUMNS)).astype({"diameter_mm": float})


def _size_faults(lesions: pd.DataFrame) -> list[str]:
    names = (lesions["patient_id"] + "/" + lesions["lesion_id"]).to_numpy()
    faults = [f"lesion {name} stands twice" for name in names[lesions.duplicated(["patient_id", "lesion_id"])]]
    diameter_mm = lesions["diameter_mm"].to_numpy()
    wrong = np.flatnonzero((diameter_mm < 0) | np.isinf(diameter_mm))
    return faults + [
        f"lesion {names[row]}: the diameter is {diameter_mm[row]:g} mm, expected a length" for row in wrong
    ]


def _spelling_faults(sites: Iterable[str]) -> list[str]:
    spellings: dict[str, set[str]] = defaultdict(set)
    for site in sites:
        spellings[site.casefold()].add(site)
    return [
        f"one site is spelt {' and '.join(sorted(found))}: write one name in lesions.csv and in targets.first"
        for found in spellings.values()
        if len(found) > 1
    ]
