"""One row per lesion, for models that learn from lesions: features, site, and clinical columns of its patient."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from radnet.cohort import Cohort
from radnet.predictors.base import measured_lesions

Unit = Literal["patient", "lesion"]
"""What a model has a row of."""

OTHER = "other"
"""The site that stands, where it is listed, for every site that is not."""


def site_columns(sites: Sequence[str]) -> list[str]:
    """Return the 0/1 columns made of sites, the first of which is the reference and has none.

    Example:
        >>> site_columns(["node", "liver", "other"])
        ['site_liver', 'site_other']
    """
    return [f"site_{site}" for site in sites[1:]]


def of_lesions(inputs: pd.DataFrame) -> bool:
    """Return whether rows, as ``Frozen.inputs`` gives them, are of lesions; else they are of patients."""
    return inputs.index.nlevels > 1


def lesion_sites(cohort: Cohort) -> dict[tuple[str, str], str]:
    """Return the site of each lesion by (patient_id, lesion_id); empty where lesions.csv leaves it so."""
    return {(one.id, lesion.id): lesion.site for one in cohort.patients for lesion in one.lesions}


def strange_sites(of_lesion: Mapping[tuple[str, str], str], sites: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return the lesions of no site, or of one not listed, where a model reads sites; none where it does not."""
    return {
        key: site or "empty"
        for key, site in of_lesion.items()
        if sites and (not site or (site not in sites and OTHER not in sites))
    }


def refuse_sites(of_lesion: Mapping[tuple[str, str], str], sites: Sequence[str]) -> None:
    """Raise a ValueError that names lesions of no site, or of one not listed, where a model reads sites."""
    strange = [
        f"patient {patient}, lesion {lesion}: site {site}"
        for (patient, lesion), site in strange_sites(of_lesion, sites).items()
    ]
    if strange:
        or_else = "" if OTHER in sites else f", or list {OTHER} in model.sites"
        raise ValueError(
            f"the model reads where a lesion lies, one of {', '.join(sites)}; of {len(strange)} it cannot tell: "
            f"{'; '.join(strange[:5])}. Fill in the column site of lesions.csv{or_else}"
        )


def lesion_rows(cohort: Cohort, regions: Sequence[str], sites: Sequence[str], clinical: pd.DataFrame) -> pd.DataFrame:
    """Return features, site columns and clinical columns of each measured lesion.

    Args:
        cohort: With features.
        regions: Whose features enter.
        sites: Levels of a lesion's site, the reference first; none for a model that does not read it.
        clinical: Columns of each patient as numbers, indexed by patient_id in the cohort's order; may have no column.

    Returns:
        Indexed by (patient_id, lesion_id), patients in the cohort's order.

    Raises:
        ValueError: If the cohort has no features, a patient no measured lesion, or a site is not known.
    """
    if cohort.features is None:
        raise ValueError("this model reads radiomics features and the cohort has none: run `radnet extract` first")
    features = measured_lesions(cohort, regions)
    owner = features.index.get_level_values("patient_id")
    if absent := [patient for patient in cohort.ids if patient not in set(owner)]:
        raise ValueError(f"no measured lesion for {len(absent)} patients, such as {absent[0]}")
    features = features.iloc[np.argsort(pd.Index(cohort.ids).get_indexer(owner), kind="stable")]
    owner = features.index.get_level_values("patient_id")
    blocks = [features]
    if sites:
        known = lesion_sites(cohort)
        of_lesion = {key: known.get(key, "") for key in features.index}
        refuse_sites(of_lesion, sites)
        named = np.array([site if site in sites else OTHER for site in of_lesion.values()])
        lies = (named[:, None] == np.array(sites[1:])).astype(float)
        blocks.append(pd.DataFrame(lies, index=features.index, columns=site_columns(sites)))
    if clinical.shape[1]:
        blocks.append(clinical.loc[owner].set_index(features.index))
    return pd.concat(blocks, axis=1)
