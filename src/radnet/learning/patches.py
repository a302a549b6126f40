"""The patches of a cohort: each lesion read once, and its patch kept in one file that is mapped into memory."""

import hashlib
import io
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from math import prod
from pathlib import Path
from time import time_ns

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.cohort import PATCH_COLUMNS, Cohort, Delineation, PatchTable
from radnet.files import content_hash
from radnet.imaging.patch import PatchSettings
from radnet.imaging.transforms import image_key, patch_steps, spacing_mm
from radnet.radiomics.workers import check_workers, memory_share_gib, reason, work_through

PATCH_FORMAT = 2
"""Of what is cut: raise it when the same files and settings give other patches than before."""

_DEPENDS_ON = ("numpy", "scipy", "SimpleITK")
_SETTLED_NS = 2 * 10**9  # a file changed again so soon may keep its time; the coarsest clocks of file systems tell 2 s
_INDEX = """
    CREATE TABLE IF NOT EXISTS contents (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT);
    CREATE TABLE IF NOT EXISTS patches (
        key TEXT PRIMARY KEY, file TEXT, place INTEGER, z_mm REAL, y_mm REAL, x_mm REAL, remark TEXT
    );
"""


@dataclass(frozen=True, slots=True)
class LesionFiles:
    """What the patch of a lesion is cut from: the delineation on the first channel, and further images, if there."""

    patient_id: str
    lesion_id: str
    image: Path
    mask: Path
    label: int
    roi_name: str | None
    further: tuple[tuple[str, Path | None], ...]  # by channel of lesions.csv
    key: str = ""  # hash of all that the patch depends on
    place: int = -1  # the row of the file that is kept for it

    @property
    def paths(self) -> list[Path]:
        """Every file that is read."""
        return [self.image, self.mask, *(path for _, path in self.further if path is not None)]


@dataclass(frozen=True, slots=True)
class Cut:
    """What came of a lesion: ``ok`` or the reason, and where it is ``ok`` the spacing (Z, Y, X) and a remark."""

    lesion: LesionFiles
    status: str
    spacing_mm: tuple[float, float, float] | None = None
    remark: str = ""


def cohort_patches(
    cohort: Cohort,
    settings: PatchSettings,
    *,
    cache: Path,
    workers: int = 1,
    limit_s: float | None = 600.0,
    memory_gib: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    first: str | None = None,
) -> PatchTable:
    """Cut the patch of every lesion of a cohort, and keep it in a file of the cache.

    Of every lesion the delineation of reader and repeat 1 counts, on the first channel; other channels lend their
    images, taken to lie in the same world. A lesion that cannot be read, takes too long, exhausts
    memory or crashes its process is a row whose ``status`` is the reason; it stops no other, and is tried again by the
    next call.

    A patch is known by the contents of its files, label, settings and versions, and never by a file's name. There is
    one file of patches per settings, which grows by the lesions it has not yet; a small database beside it says which
    stands where. A patch is entered there once its bytes are on disk, so that a run that was stopped, even by
    ``kill -9``, goes on where it was, and runs at the same time share the file. What a file holds is read again only
    where its size or its time of change differs; the patches of lesions that changed stay in the file, unused. At no
    time are there more patches in memory than there are workers.

    Args:
        cohort: Whose lesions to cut; its features and patches, if any, are not looked at.
        settings: What to cut.
        cache: Folder of the patches; created where it does not exist. It must be on a disk that can lock files.
        workers: Processes to share the images among.
        limit_s: Longest time for one lesion; what a scan costs to read is counted with its first. None cuts in this
            process, where nothing can be stopped.
        memory_gib: Most memory of a process; None for its share of the machine's.
        progress: Called with lesions done, lesions in all, and which lesion it was.
        first: The first channel; None for the one that the cohort names first.

    Returns:
        A row for every lesion of the cohort, in its order, whatever the number of workers.

    Raises:
        ValueError: See ``first_channel``.
        ChildProcessError: If no process can be started.
    """
    check_workers(workers, limit_s)
    first = first_channel(cohort, settings, first)
    lesions = _lesions(cohort, settings, first)
    cache.mkdir(parents=True, exist_ok=True)
    made_by = {name: version(name) for name in _DEPENDS_ON}
    fingerprint = _digest(PATCH_FORMAT, settings.fingerprint(), sorted(made_by.items()))
    pool = _Pool(cache / f"{fingerprint[:32]}.npy", (len(settings.channels), *settings.size_voxels), settings.dtype)
    cuts: dict[tuple[str, str], Cut] = {}
    total = sum(len(patient.lesions) for patient in cohort.patients)

    def keep(one: Cut) -> None:
        cuts[one.lesion.patient_id, one.lesion.lesion_id] = one
        if progress is not None:
            progress(len(cuts) + total - len(lesions), total, f"{one.lesion.patient_id} {one.lesion.lesion_id}")

    with closing(sqlite3.connect(cache / "index.sqlite", timeout=60.0, isolation_level=None)) as index:
        index.executescript(_INDEX)
        pool.forget_what_is_lost(index)
        digests, unread = _digests(index, [path for one in lesions for path in one.paths], workers)
        waiting = []
        for one in lesions:
            if faults := [unread[path] for path in one.paths if path in unread]:
                keep(_failed(one, faults[0]))
            elif (known := _entered(index, key := _key(fingerprint, one, digests), one)) is not None:
                keep(known)
            else:
                waiting.append(replace(one, key=key))
        places = pool.claim(index, [one.key for one in waiting])
        waiting = [replace(one, place=places[one.key]) for one in waiting]
        for cut in _cut_all(waiting, settings, first, pool, workers, limit_s, memory_gib):
            if cut.status == "ok":
                _enter(index, cut)
            keep(cut)
    provenance: dict[str, object] = {
        "settings": settings.described(),
        "fingerprint": fingerprint,
        "format": PATCH_FORMAT,
        "first_channel": first,
        "versions": made_by,
        "inputs": [
            {
                "patient_id": one.patient_id,
                "lesion_id": one.lesion_id,
                "files": [digests.get(path) for path in one.paths],
            }
            for one in lesions
        ],
    }
    return PatchTable(pool.file, _rows(cohort, cuts, first), settings.kinds, provenance)


def first_channel(cohort: Cohort, settings: PatchSettings, wanted: str | None = None) -> str:
    """Return the channel on whose delineations patches are cut: the one wanted, else the cohort's first with an image.

    Raises:
        ValueError: If no lesion has an image and a mask, or ``lesions.csv`` has not the channel wanted, or one that the
            settings name.
    """
    every = [channel for of_lesion in _delineated(cohort).values() for channel in of_lesion]
    names = list(dict.fromkeys(every))
    if not names:
        raise ValueError("nothing to cut: no lesion of the cohort has an image and a mask")
    if wanted is not None and wanted not in names:
        raise ValueError(
            f"lesions.csv has no channel {wanted}, on which the patches that the model learned from were cut; it has "
            f"{', '.join(names)}. If one of them is the same modality, name it {wanted}"
        )
    first = wanted or names[0]
    if unknown := [name for name in settings.further(first) if name not in names]:
        raise ValueError(
            f"lesions.csv has no channel {', '.join(unknown)}, which the patches' channels name; it has "
            + ", ".join(names)
        )
    return first


def remark_counts(table: PatchTable) -> list[str]:
    """Return a line for each kind of remark on patches, and of how many; remarks that differ in numbers are one."""
    remarks = table.rows.loc[table.rows["remark"] != "", "remark"].str.replace(r"[0-9.]+", "…", regex=True)
    return [f"{count} of {len(table.rows)} patches: {remark}" for remark, count in remarks.value_counts().items()]


def cut_patches(lesions: list[LesionFiles], settings: PatchSettings, first: str, pool: "_Pool") -> Iterator[Cut]:
    """Cut the patches of lesions of one image, which is read once, write each to its place, and tell of it."""
    steps = patch_steps(settings, first).transforms
    for lesion in lesions:
        data: Mapping = {
            "image": lesion.image,
            "mask": lesion.mask,
            "label": lesion.label,
            "roi_name": lesion.roi_name,
            **{image_key(name): path for name, path in lesion.further},
        }
        try:
            for step in steps:  # one after the other: MONAI's Compose would hide a fault's words behind its own
                data = step(data)
            patch = data["patch"]
            pool.write(lesion.place, patch.numpy())
        except Exception as error:  # whatever is wrong with one lesion is its status, and stops no other
            yield _failed(lesion, reason(error))
        else:
            yield Cut(lesion, "ok", spacing_mm(patch), "; ".join(data.get("remarks", ())))


@dataclass(frozen=True, slots=True)
class _Pool:
    """The file of patches: a .npy whose rows are written one by one, by any process, each to a place claimed for it."""

    file: Path
    shape: tuple[int, ...]  # of a patch
    dtype: str

    def forget_what_is_lost(self, index: sqlite3.Connection) -> None:
        """Strike from the index what it says of a file that was deleted or cut short."""
        index.execute("BEGIN IMMEDIATE")
        rows = self._rows(index)
        if rows and (not self.file.is_file() or self.file.stat().st_size < self._offset(rows)):
            index.execute("DELETE FROM patches WHERE file = ?", [self.file.name])
        index.execute("COMMIT")

    def claim(self, index: sqlite3.Connection, keys: Iterable[str]) -> dict[str, int]:
        """Return a place for each key, the same to whoever asks, and see to it that the file has that many rows.

        A place that is not written yet takes no space where the file system keeps sparse files.
        """
        index.execute("BEGIN IMMEDIATE")
        rows, places = self._rows(index), {}
        for key in dict.fromkeys(keys):
            there = index.execute("SELECT place FROM patches WHERE key = ?", [key]).fetchone()
            if there is None:
                index.execute("INSERT INTO patches (key, file, place) VALUES (?, ?, ?)", [key, self.file.name, rows])
                rows += 1
            places[key] = rows - 1 if there is None else int(there[0])
        if not self.file.is_file() or self.file.stat().st_size < self._offset(rows):
            with self.file.open("r+b" if self.file.is_file() else "w+b") as file:
                file.truncate(self._offset(rows))
                file.write(self._header(rows))  # of one length, whatever the number of rows
        index.execute("COMMIT")
        return places

    def write(self, place: int, patch: NDArray) -> None:
        """Write a patch so that it is on disk when this returns."""
        row = np.ascontiguousarray(patch, dtype=np.dtype(self.dtype).newbyteorder("<"))
        assert row.shape == self.shape
        with self.file.open("r+b") as file:
            file.seek(self._offset(place))
            file.write(row.tobytes())
            file.flush()
            os.fsync(file.fileno())

    def _rows(self, index: sqlite3.Connection) -> int:
        query = "SELECT coalesce(max(place), -1) + 1 FROM patches WHERE file = ?"
        return int(index.execute(query, [self.file.name]).fetchone()[0])

    def _header(self, rows: int) -> bytes:
        header = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(np.dtype(self.dtype).newbyteorder("<"))
        facts = {"descr": descr, "fortran_order": False, "shape": (rows, *self.shape)}
        np.lib.format.write_array_header_1_0(header, facts)  # leaves room for a greater first number
        return header.getvalue()

    def _offset(self, place: int) -> int:
        return len(self._header(0)) + place * prod(self.shape) * np.dtype(self.dtype).itemsize


def _delineated(cohort: Cohort) -> dict[tuple[str, str], dict[str, Delineation]]:
    """Return the delineations with an image of each lesion that has any, by channel."""
    delineated: dict[tuple[str, str], dict[str, Delineation]] = {}
    for patient in cohort.first_delineations().patients:
        for lesion in patient.lesions:
            with_image = {one.channel: one for one in lesion.delineations if one.image is not None}
            if with_image:
                delineated[patient.id, lesion.id] = with_image
    return delineated


def _lesions(cohort: Cohort, settings: PatchSettings, first: str) -> list[LesionFiles]:
    """Return the lesions delineated on the first channel."""
    further = settings.further(first)
    lesions = []
    for (patient_id, lesion_id), of_lesion in _delineated(cohort).items():
        if (one := of_lesion.get(first)) is None:
            continue
        assert one.image is not None
        assert one.mask is not None
        images = tuple((name, of_lesion[name].image if name in of_lesion else None) for name in further)
        lesions.append(LesionFiles(patient_id, lesion_id, one.image, one.mask, one.label, one.roi_name, images))
    return lesions


def _cut_all(
    lesions: Sequence[LesionFiles],
    settings: PatchSettings,
    first: str,
    pool: _Pool,
    workers: int,
    limit_s: float | None,
    memory_gib: float | None,
) -> Iterator[Cut]:
    by_image: dict[Path, list[LesionFiles]] = {}
    for one in lesions:
        by_image.setdefault(one.image, []).append(one)
    cut = partial(cut_patches, settings=settings, first=first, pool=pool)
    if limit_s is None:
        for of_image in by_image.values():
            yield from cut(of_image)
        return
    memory_gib = memory_gib or memory_share_gib(workers)
    yield from work_through(
        list(by_image.values()), cut, _failed, workers=workers, limit_s=limit_s, memory_gib=memory_gib
    )


def _failed(lesion: LesionFiles, told: str) -> Cut:
    """Tell the fault with the name of the mask's file, or of another that the fault is told of."""
    for path in lesion.paths:
        told = told.replace(str(path), path.name)
    if not any(path.name in told for path in lesion.paths):
        told = f"{lesion.mask.name}: {told}"
    return Cut(lesion, told)


def _entered(index: sqlite3.Connection, key: str, lesion: LesionFiles) -> Cut | None:
    query = "SELECT place, z_mm, y_mm, x_mm, remark FROM patches WHERE key = ? AND remark IS NOT NULL"
    if (row := index.execute(query, [key]).fetchone()) is None:
        return None
    place, z_mm, y_mm, x_mm, remark = row
    return Cut(replace(lesion, key=key, place=place), "ok", (z_mm, y_mm, x_mm), remark)


def _enter(index: sqlite3.Connection, cut: Cut) -> None:
    assert cut.spacing_mm is not None
    query = "UPDATE patches SET z_mm = ?, y_mm = ?, x_mm = ?, remark = ? WHERE key = ?"
    index.execute(query, [*cut.spacing_mm, cut.remark, cut.lesion.key])


def _digests(index: sqlite3.Connection, paths: Sequence[Path], workers: int) -> tuple[dict[Path, str], dict[Path, str]]:
    """Return the hash of each file's contents, read only where the index has none of this state, and what is unread."""
    digests, unread, stamps = {}, {}, {}
    now_ns = time_ns()
    for path in dict.fromkeys(paths):
        try:
            stamps[path], changed_ns = _stamp(path)
        except OSError as error:
            unread[path] = f"{path}: cannot be read: {error.strerror}"
            continue
        query = "SELECT digest FROM contents WHERE path = ? AND stamp = ?"
        if (row := index.execute(query, [str(path.absolute()), stamps[path]]).fetchone()) is not None:
            digests[path] = row[0]
        elif now_ns - changed_ns < _SETTLED_NS:
            stamps[path] = ""
    new = [path for path in stamps if path not in digests]
    with ThreadPoolExecutor(workers) as threads:
        for path, digest in zip(new, threads.map(_hash_or_fault, new), strict=True):
            if isinstance(digest, OSError):
                unread[path] = f"{path}: cannot be read: {digest.strerror}"
            else:
                digests[path] = digest
    learned = [(str(path.absolute()), stamps[path], digests[path]) for path in new if stamps[path] and path in digests]
    index.execute("BEGIN IMMEDIATE")  # at once: a disk waits for each transaction
    index.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", learned)
    index.execute("COMMIT")
    return digests, unread


def _hash_or_fault(path: Path) -> str | OSError:
    try:
        return content_hash(path)
    except OSError as error:
        return error


def _stamp(path: Path) -> tuple[str, int]:
    """Return size and time of change of a file, or of a folder's files, as text, and the last such time."""
    files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
    states = [(one.name if path.is_dir() else "", one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return repr(states), max((changed_ns for *_, changed_ns in states), default=0)


def _key(fingerprint: str, lesion: LesionFiles, digests: Mapping[Path, str]) -> str:
    further = [(name, None if path is None else digests[path]) for name, path in lesion.further]
    return _digest(fingerprint, digests[lesion.image], digests[lesion.mask], lesion.label, lesion.roi_name, further)


def _digest(*content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _rows(cohort: Cohort, cuts: Mapping[tuple[str, str], Cut], first: str) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    for patient in cohort.patients:
        for lesion in patient.lesions:
            cut = cuts.get((patient.id, lesion.id))
            if cut is None:
                rows.append((patient.id, lesion.id, -1, f"no image and mask of channel {first}", None, ""))
                continue
            place = cut.lesion.place if cut.status == "ok" else -1
            rows.append((patient.id, lesion.id, place, cut.status, cut.spacing_mm, cut.remark))
    return pd.DataFrame(rows, columns=list(PATCH_COLUMNS))
