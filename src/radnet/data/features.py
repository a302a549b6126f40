"""features.parquet: measured features on disk, with the settings they were made with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from radnet.cohort import FEATURE_KEYS, FeatureTable
from radnet.files import write_atomically
from radnet.tables import TableFault, read_table, with_numbers

_METADATA = b"radnet"


def write_features(features: FeatureTable, path: Path) -> None:
    """Write a feature table atomically; settings, engine and hashes go into the file's metadata."""
    table = pa.Table.from_pandas(features.rows, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), _METADATA: json.dumps(features.provenance).encode()}
    write_atomically(path, lambda temporary: pq.write_table(table.replace_schema_metadata(metadata), temporary))


def read_features(path: Path) -> FeatureTable:
    """Read a feature table, radnet's own or a published one in the same columns, as .parquet or .csv.

    Columns of the key but ``patient_id`` and ``lesion_id`` may be absent (region lesion, channel image, reader and
    repeat 1), and so may ``status`` (ok).

    Raises:
        TableFault: If a key is missing or doubled, or a feature is not a number.
    """
    rows, provenance = _read_csv(path) if path.name.endswith((".csv", ".csv.gz")) else _read_parquet(path)
    if missing := [key for key in ("patient_id", "lesion_id") if key not in rows.columns]:
        raise TableFault(path, [f"column {key} is missing" for key in missing])
    defaults = {"region": "lesion", "channel": "image", "reader": "1", "repeat": "1", "status": "ok"}
    for column, value in defaults.items():
        if column not in rows.columns:
            rows[column] = value
    keys = [*FEATURE_KEYS, "status"]
    names = [column for column in rows.columns if column not in keys]
    faults = [
        f"column {name} holds text, not numbers" for name in names if not pd.api.types.is_numeric_dtype(rows[name])
    ]
    double = rows.duplicated(list(FEATURE_KEYS))
    faults += [
        f"row {row + 1}: stands twice for the same {', '.join(FEATURE_KEYS)}" for row in np.flatnonzero(double)[:20]
    ]
    if faults:
        raise TableFault(path, faults)
    rows[keys] = rows[keys].astype(str)
    values = rows[names].astype(float)
    return FeatureTable(pd.concat([rows[keys], values], axis=1), provenance)


def _read_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read as parquet: {error}") from error
    return table.to_pandas(), json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))


def _read_csv(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    texts = read_table(path)
    keys = [column for column in (*FEATURE_KEYS, "status") if column in texts.columns]
    return with_numbers(texts.drop(columns=keys)).assign(**{key: texts[key] for key in keys}), {}
