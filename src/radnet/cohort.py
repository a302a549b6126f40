"""What is known of patients before an image is read: outcomes, lesions, clinical values, measured features."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

FEATURE_KEYS = ("patient_id", "lesion_id", "region", "channel", "reader", "repeat")
"""Columns that name one measured row of a feature table."""

PATCH_COLUMNS = ("patient_id", "lesion_id", "place", "status", "spacing_mm", "remark")
"""Columns of a patch table's rows."""

TimeUnit = Literal["days", "months", "years"]
ChannelKind = Literal["image", "mask", "distance"]
"""What a patch's channel holds: intensities, a region as 0 and 1, or distances to the lesion's border."""


@dataclass(frozen=True, slots=True)
class BenefitColumns:
    """Columns of ``clinical.csv`` that tell, beside best response, whether a patient had clinical benefit.

    Attributes:
        stable_months: Months that stable disease lasted, or was seen to last; empty but for best response SD.
        stable_ended: Column of 0 and 1; 1 means that progression or death ended it, 0 that it held at the last look.
            None where no column tells: then short stable disease is never taken to have ended.
        response_months: Months until a complete or partial response; empty but for these. None where not written.
        months: How long stable disease has to last to be a benefit: longer than this.
    """

    stable_months: str
    stable_ended: str | None = None
    response_months: str | None = None
    months: float = 5.0

    def __post_init__(self) -> None:
        if not self.stable_months:
            raise ValueError("benefit needs the column of months in stable disease: endpoint.derive.stable_months=…")
        if not 0 < self.months < float("inf"):
            raise ValueError(f"months that stable disease has to last must be above 0, got {self.months}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read."""
        return tuple(one for one in (self.stable_months, self.stable_ended, self.response_months) if one)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is predicted, and in which columns of ``clinical.csv`` it stands.

    Attributes:
        name: Word used in every table (``response``, ``pfs`` …).
        event: Column of 0 and 1; 1 means that the event was seen. With ``derive``, the column of best response.
        time: Column of follow-up times, or None for a binary endpoint.
        time_unit: Unit of ``time``; never converted in silence.
        horizon: Time, in ``time_unit``, that a predicted probability refers to.
        derive: Further columns, where the event is clinical benefit and follows from best response and its duration.
    """

    name: str
    event: str
    time: str | None = None
    time_unit: TimeUnit | None = None
    horizon: float | None = None
    derive: BenefitColumns | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.event:
            raise ValueError("an endpoint needs a name and the column of its event: endpoint.name=… endpoint.event=…")
        if self.time is not None and self.time_unit not in ("days", "months", "years"):
            raise ValueError(
                f"endpoint {self.name}: a time column ({self.time}) needs endpoint.time_unit=days, months or years, "
                f"got {self.time_unit!r}"
            )
        if self.time is None and (self.time_unit is not None or self.horizon is not None):
            raise ValueError(f"endpoint {self.name}: time_unit and horizon belong to a time column, and none is named")
        if self.derive is not None and self.time is not None:
            raise ValueError(f"endpoint {self.name}: benefit is yes or no, and has no time: give endpoint.time=null")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of ``clinical.csv`` that are read."""
        further = () if self.derive is None else self.derive.columns
        return (self.event, *(() if self.time is None else (self.time,)), *further)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to a patient: whether the event was seen, and after how long."""

    event: bool
    time: float | None = None  # in the endpoint's unit; None for a binary endpoint

    def __post_init__(self) -> None:
        if self.time is not None and not self.time > 0:
            raise ValueError(f"follow-up must be longer than 0, got {self.time}")


@dataclass(frozen=True, slots=True)
class Delineation:
    """One contour of a lesion on one channel, by one reader, at one repeat; image and mask are files."""

    channel: str = "image"
    reader: str = "1"
    repeat: str = "1"
    image: Path | None = None
    mask: Path | None = None
    label: int = 1
    roi_name: str | None = None  # names the region in a DICOM SEG or RTSTRUCT, where a voxel value does not

    def __post_init__(self) -> None:
        if (self.image is None) != (self.mask is None):
            raise ValueError(f"an image and a mask come together, got image={self.image} and mask={self.mask}")
        if self.label < 1:
            raise ValueError(f"a label is a voxel value of 1 or more, got {self.label}")


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion of a patient with every delineation of it."""

    id: str
    site: str = ""
    delineations: tuple[Delineation, ...] = ()

    def __post_init__(self) -> None:
        keys = [(one.channel, one.reader, one.repeat) for one in self.delineations]
        if double := _doubles(keys):
            raise ValueError(f"lesion {self.id}: delineated twice for (channel, reader, repeat) {double}")


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient: centre, outcome per endpoint (None where it is unknown), lesions and clinical values."""

    id: str
    centre: str
    split: str | None = None
    outcomes: Mapping[str, Outcome | None] = field(default_factory=dict)
    lesions: tuple[Lesion, ...] = ()
    clinical: Mapping[str, float | str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.split not in (None, "train", "held_out"):
            raise ValueError(f"patient {self.id}: split must be train or held_out, got {self.split!r}")
        if double := _doubles([lesion.id for lesion in self.lesions]):
            raise ValueError(f"patient {self.id}: lesion ids stand twice: {double}")


@dataclass(frozen=True)
class FeatureTable:
    """Measured features: one row per lesion × region × channel × reader × repeat.

    Attributes:
        rows: The columns of ``FEATURE_KEYS`` as strings, ``status`` (``ok`` or the reason of a failure), then features.
        provenance: Settings, engine and hashes the rows were made with.
        channels: In order; the first has no prefix. A part of the table keeps those of the whole.
        regions: In order, likewise.
    """

    rows: pd.DataFrame
    provenance: Mapping[str, object] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if missing := [key for key in (*FEATURE_KEYS, "status") if key not in self.rows.columns]:
            raise ValueError(f"a feature table needs the columns {', '.join(missing)}")
        keys = list(self.rows[list(FEATURE_KEYS)].itertuples(index=False, name=None))
        if double := _doubles(keys):
            raise ValueError(f"feature rows stand twice: {double[:3]}")
        for column, found in (("channels", self.channels), ("regions", self.regions)):
            if not found:
                object.__setattr__(self, column, tuple(dict.fromkeys(self.rows[column.removesuffix("s")])))

    @cached_property
    def names(self) -> list[str]:
        """Feature columns in the order of the table."""
        return [name for name in self.rows.columns if name not in (*FEATURE_KEYS, "status")]

    def of(self, patient_ids: Iterable[str]) -> "FeatureTable":
        """Keep the rows of these patients."""
        keep = self.rows["patient_id"].isin(list(patient_ids))
        return replace(self, rows=self.rows.loc[keep].reset_index(drop=True))

    def lesion_matrix(self, regions: Sequence[str] = ("lesion",)) -> pd.DataFrame:
        """Return one row per lesion, indexed by (patient_id, lesion_id), NaN where a lesion could not be measured.

        Of several readers and repeats of a lesion those named 1 count, else the first of the table. A region other than
        ``lesion`` becomes a prefix (``ring__original_glcm_Contrast``), a channel other than the first of the table
        likewise (``PET__…``, ``PET__ring__…``).
        """
        rows = self.rows.assign(_later=(self.rows["reader"] != "1") * 2 + (self.rows["repeat"] != "1"))
        rows = rows.sort_values("_later", kind="stable")
        rows = rows.drop_duplicates(["patient_id", "lesion_id", "region", "channel"]).sort_index()
        return self._matrix(rows, ["patient_id", "lesion_id"], regions)

    def delineation_matrix(self, regions: Sequence[str] = ("lesion",)) -> pd.DataFrame:
        """Return one row per delineation, indexed by (patient_id, lesion_id, reader, repeat), columns of lesion_matrix.

        NaN where a delineation could not be measured, or was not in a region or channel.
        """
        return self._matrix(self.rows, ["patient_id", "lesion_id", "reader", "repeat"], regions)

    def _matrix(self, rows: pd.DataFrame, keys: list[str], regions: Sequence[str]) -> pd.DataFrame:
        if absent := [region for region in regions if region not in self.regions]:
            found = ", ".join(sorted(self.regions)) or "none"
            raise ValueError(f"the feature table has no region {', '.join(absent)}; it has {found}")
        index = pd.MultiIndex.from_frame(rows[keys].drop_duplicates())
        blocks = []
        for channel in self.channels:
            for region in regions:
                block = rows[(rows["channel"] == channel) & (rows["region"] == region)]
                block = block.set_index(keys)[self.names].reindex(index)
                blocks.append(block.add_prefix(_prefix(channel, self.channels[0], region)))
        return pd.concat(blocks, axis=1).astype(np.float64)


@dataclass(frozen=True)
class PatchTable:
    """Patches around lesions: one file of arrays, and which lesion's stands where in it.

    Attributes:
        file: NumPy's .npy of shape (rows, C, D, H, W). Rows of no lesion of this table are another's, or nobody's.
        rows: One per lesion: ``patient_id`` and ``lesion_id``; ``place``, the row of the file, -1 where there is none;
            ``status``, ``ok`` or the reason; ``spacing_mm``, the voxel size (Z, Y, X), None where there is no patch;
            ``remark``, what else is worth telling, or empty.
        channels: What each of the C channels holds, by name and in order.
        provenance: Settings, versions and hashes the patches were made with.
    """

    file: Path
    rows: pd.DataFrame
    channels: Mapping[str, ChannelKind]
    provenance: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if missing := [column for column in PATCH_COLUMNS if column not in self.rows.columns]:
            raise ValueError(f"a patch table needs the columns {', '.join(missing)}")
        keys = list(self.rows[["patient_id", "lesion_id"]].itertuples(index=False, name=None))
        if double := _doubles(keys):
            raise ValueError(f"lesions stand twice in the patch table: {double[:3]}")
        wrong = (self.rows["status"] == "ok") != (self.rows["place"] >= 0)
        if wrong.any():
            told = [f"{one.patient_id}/{one.lesion_id}" for one in self.rows[wrong].itertuples()]
            raise ValueError(f"a lesion has a place in the file exactly when its status is ok, not so: {told[:3]}")

    def of(self, patient_ids: Iterable[str]) -> "PatchTable":
        """Keep the rows of these patients; the file stays."""
        keep = self.rows["patient_id"].isin(list(patient_ids))
        return replace(self, rows=self.rows.loc[keep].reset_index(drop=True))

    def array(self) -> np.ndarray:
        """Return the file's array (rows, C, D, H, W), read from disk where it is looked at, and not to be written."""
        return np.load(self.file, mmap_mode="r", allow_pickle=False)


@dataclass(frozen=True)
class Cohort:
    """Patients with unique ids, their features and patches if made, and the endpoints they carry."""

    patients: tuple[Patient, ...]
    features: FeatureTable | None = None
    patches: PatchTable | None = None

    def __post_init__(self) -> None:
        if double := _doubles([patient.id for patient in self.patients]):
            raise ValueError(f"patient ids stand twice: {', '.join(map(str, double))}")
        for noun, table in (("features", self.features), ("patches", self.patches)):
            unknown = set() if table is None else set(table.rows["patient_id"]) - {one.id for one in self.patients}
            if unknown:
                raise ValueError(f"{noun} of patients the cohort does not have: {', '.join(sorted(unknown)[:5])}")

    def __len__(self) -> int:
        return len(self.patients)

    @cached_property
    def ids(self) -> list[str]:
        """Patient ids in order."""
        return [patient.id for patient in self.patients]

    @cached_property
    def centres(self) -> list[str]:
        """Centre of each patient, in order."""
        return [patient.centre for patient in self.patients]

    def where(self, keep: Callable[[Patient], bool]) -> "Cohort":
        """Return the patients for whom ``keep`` is true, with their features and patches."""
        patients = tuple(patient for patient in self.patients if keep(patient))
        features = None if self.features is None else self.features.of(patient.id for patient in patients)
        patches = None if self.patches is None else self.patches.of(patient.id for patient in patients)
        return Cohort(patients, features, patches)

    def select(self, patient_ids: Iterable[str]) -> "Cohort":
        """Return the patients with these ids, in the cohort's order."""
        wanted = set(patient_ids)
        if unknown := wanted - set(self.ids):
            raise ValueError(f"the cohort has no patient {', '.join(sorted(unknown)[:5])}")
        return self.where(lambda patient: patient.id in wanted)

    def with_features(self, features: FeatureTable) -> "Cohort":
        """Return the same patients with these features."""
        return replace(self, features=features.of(self.ids))

    def with_patches(self, patches: PatchTable) -> "Cohort":
        """Return the same patients with these patches."""
        return replace(self, patches=patches.of(self.ids))

    def first_delineations(self) -> "Cohort":
        """Return the cohort with one delineation per lesion and channel: reader and repeat 1, or the first there is.

        Further readers and repeats serve studies of agreement. Features and patches are left behind.
        """

        def first(lesion: Lesion) -> Lesion:
            ordered = sorted(lesion.delineations, key=lambda one: (one.reader != "1", one.repeat != "1"))
            chosen = {one.channel: one for one in reversed(ordered)}
            return replace(lesion, delineations=tuple(one for one in lesion.delineations if one is chosen[one.channel]))

        return Cohort(tuple(replace(one, lesions=tuple(map(first, one.lesions))) for one in self.patients))

    def evaluable(self, endpoint: str) -> "Cohort":
        """Return the patients whose outcome for ``endpoint`` is known."""
        return self.where(lambda patient: patient.outcomes.get(endpoint) is not None)

    def events(self, endpoint: str) -> np.ndarray:
        """Return whether each patient had the event, shape (patients,), bool.

        Raises:
            ValueError: If an outcome is unknown: keep ``evaluable`` patients first.
        """
        return np.array([outcome.event for outcome in self._known(endpoint)], dtype=bool)

    def times(self, endpoint: str) -> np.ndarray:
        """Return follow-up in the endpoint's unit, shape (patients,), NaN throughout for a binary endpoint."""
        return np.array([np.nan if one.time is None else one.time for one in self._known(endpoint)], dtype=float)

    def clinical(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return clinical columns, one row per patient indexed by id; a missing value is NaN or None."""
        known = {column for patient in self.patients for column in patient.clinical}
        if absent := [column for column in columns if column not in known]:
            found = ", ".join(sorted(known)) or "none of clinical values"
            raise ValueError(f"clinical.csv has no column {', '.join(absent)}; it has {found}")
        table = {column: [patient.clinical.get(column) for patient in self.patients] for column in columns}
        return pd.DataFrame(table, index=pd.Index(self.ids, name="patient_id"))

    def _known(self, endpoint: str) -> list[Outcome]:
        outcomes = [patient.outcomes.get(endpoint) for patient in self.patients]
        unknown = [patient.id for patient, outcome in zip(self.patients, outcomes, strict=True) if outcome is None]
        if unknown:
            raise ValueError(f"endpoint {endpoint}: no outcome for {len(unknown)} patients, such as {unknown[0]}")
        return [outcome for outcome in outcomes if outcome is not None]


def _prefix(channel: str, first_channel: str, region: str) -> str:
    parts = ([] if channel == first_channel else [channel]) + ([] if region == "lesion" else [region])
    return "".join(f"{part}__" for part in parts)


def _doubles(values: Sequence[object]) -> list[object]:
    seen: set[object] = set()
    return [value for value in values if value in seen or seen.add(value)]  # type: ignore[func-returns-value]
