"""Patients who are one and the same: images, or features of lesions, that stand under two names."""

from pathlib import Path

import pandas as pd

from radnet.cohort import Cohort
from radnet.files import content_hash

_LEAST_VALUES = 5  # lesions of fewer different values may agree by chance


def shared_images(cohort: Cohort) -> list[set[str]]:
    """Return the patients who share an image, by path or by content; only files of one size are read."""
    owners: dict[Path, set[str]] = {}
    for patient in cohort.patients:
        for path in {one.image for lesion in patient.lesions for one in lesion.delineations if one.image is not None}:
            owners.setdefault(path.resolve(), set()).add(patient.id)
    by_size: dict[tuple[int, ...], list[Path]] = {}
    for path in owners:
        if (size := _size(path)) is not None:
            by_size.setdefault(size, []).append(path)
    by_content: dict[object, set[str]] = {path: set(who) for path, who in owners.items()}
    for paths in by_size.values():
        if len(set().union(*(owners[path] for path in paths))) > 1:
            for path in paths:
                by_content.setdefault(content_hash(path), set()).update(owners[path])
    found = {frozenset(who): None for who in by_content.values() if len(who) > 1}
    return [set(who) for who in found]


def shared_features(cohort: Cohort) -> list[set[str]]:
    """Return the patients who have a lesion of equal features, as the same scan gives that was stored twice."""
    if cohort.features is None:
        return []
    rows = cohort.features.rows
    values = rows[cohort.features.names]
    telling = values.nunique(axis=1) >= _LEAST_VALUES
    hashed = pd.util.hash_pandas_object(values[telling], index=False)
    owners = rows.loc[telling, "patient_id"].groupby([hashed, rows.loc[telling, "region"]]).agg(set)
    return [set(who) for who in {frozenset(one): None for one in owners if len(one) > 1}]


def _size(path: Path) -> tuple[int, ...] | None:
    try:
        files = [one for one in path.iterdir() if one.is_file()] if path.is_dir() else [path]
        return tuple(sorted(one.stat().st_size for one in files))
    except OSError:
        return None
