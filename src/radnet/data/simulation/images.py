"""Images and masks of simulated patients: made from what was planted, written as NIfTI, and read once for the truth."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK
from numpy.typing import NDArray
from scipy.special import ndtri

from radnet.data.simulation.draws import STREAMS, uniforms
from radnet.data.simulation.phantom import Contour, LesionDesign, Scan, Scanner, Triple, read_lesion, scan, scanner_of
from radnet.data.simulation.presets import PRESETS
from radnet.data.simulation.settings import SimulationSettings
from radnet.data.simulation.study import PlantedCohort
from radnet.files import file_hash, write_atomically

REDRAWN_LESIONS = 30
"""Lesions, counted from the first patient on (or the first who trains), that reader 2 and a repeat of reader 1
delineate as well."""

_READERS = (("1", "1"), ("2", "1"), ("1", "2"))
_CONTOUR_DRAWS = tuple(
    f"{kind}_{what}" for kind in ("reader_2", "repeat_2") for what in ("shift_z", "shift_y", "shift_x", "scale")
)


@dataclass(frozen=True)
class _PatientJob:
    """All that a worker needs to make one patient's images."""

    folder: Path
    settings: SimulationSettings
    patient: int
    patient_id: str
    scanner: Scanner
    designs: Mapping[str, LesionDesign]  # by lesion id
    redrawn: Mapping[str, tuple[Contour, ...]]


def write_images(
    settings: SimulationSettings, cohort: PlantedCohort, folder: Path, workers: int
) -> Iterator[list[dict[str, object]]]:
    """Write the images and masks of every patient, and yield patient by patient what was written.

    Yields:
        One row per delineation: ``patient_id``, ``lesion_id``, ``reader``, ``repeat``, ``image``, ``mask``,
        ``image_sha256``, ``volume_mm3`` of the mask, and the reader's measurements of the true delineation.
    """
    jobs = _jobs(settings, cohort, folder)
    if workers <= 1:
        yield from map(_write_patient, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(_write_patient, jobs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def spacings(settings: SimulationSettings, scanners: pd.Series) -> NDArray[np.float64]:
    """Return the spacing along Z, Y and X of each row's scanner, shape (rows, 3)."""
    known = {name: scanner_of(name, settings.centre_shift, settings.seed).spacing_mm for name in scanners.unique()}
    return np.array([known[name] for name in scanners])


def _jobs(settings: SimulationSettings, cohort: PlantedCohort, folder: Path) -> Iterator[_PatientJob]:
    lesions = cohort.lesions
    if PRESETS[settings.preset].redrawn_in == "train":
        train = cohort.patients.loc[cohort.patients["split"] == "train", "number"]
        lesions = lesions[lesions["patient"].isin(train)]
    redrawn = _redrawn_contours(settings, lesions.head(REDRAWN_LESIONS))
    by_patient = dict(iter(cohort.lesions.groupby("patient")))
    for patient in cohort.patients.itertuples():
        rows = list(by_patient[patient.number].itertuples())
        yield _PatientJob(
            folder=folder,
            settings=settings,
            patient=patient.number,
            patient_id=patient.patient_id,
            scanner=scanner_of(patient.scanner, settings.centre_shift, settings.seed),
            designs={
                row.lesion_id: LesionDesign(
                    site=row.site,
                    semi_axes_mm=(row.semi_z_mm, row.semi_y_mm, row.semi_x_mm),
                    texture_sd_hu=row.texture_sd_hu,
                    texture_width_mm=row.texture_width_mm,
                    ring_hu=row.ring_hu,
                    mean_shift_hu=row.mean_shift_hu,
                    seed=(settings.seed, STREAMS["image"], row.patient, row.lesion),
                )
                for row in rows
            },
            redrawn={row.lesion_id: redrawn.get((row.patient, row.lesion), ()) for row in rows},
        )


def _redrawn_contours(
    settings: SimulationSettings, lesions: pd.DataFrame
) -> dict[tuple[int, int], tuple[Contour, ...]]:
    keys = lesions["patient"].to_numpy(), lesions["lesion"].to_numpy()
    draws = uniforms(settings.seed, "readers", *keys, _CONTOUR_DRAWS)
    normal = ndtri(np.stack(list(draws.values()), axis=1)).reshape(-1, 2, 4)
    return {
        key: tuple(Contour((0.5 * z, 0.5 * y, 0.5 * x), 1 + 0.05 * scale) for z, y, x, scale in both.tolist())
        for key, both in zip(zip(*keys, strict=True), normal, strict=True)
    }


def _write_patient(job: _PatientJob) -> list[dict[str, object]]:
    if job.settings.scene == "volume":
        return _write_scan(job, job.patient_id, list(job.designs), scan_number=0)
    return [
        row
        for number, lesion_id in enumerate(job.designs, start=1)
        for row in _write_scan(job, f"{job.patient_id}_{lesion_id}", [lesion_id], scan_number=number)
    ]


def _write_scan(job: _PatientJob, name: str, lesion_ids: list[str], scan_number: int) -> list[dict[str, object]]:
    seen = scan(
        [job.designs[lesion_id] for lesion_id in lesion_ids],
        [job.redrawn[lesion_id] for lesion_id in lesion_ids],
        job.scanner,
        job.settings.size_voxels,
        (job.settings.seed, STREAMS["image"], job.patient, scan_number),
        job.settings.modality,
    )
    image = Path("images") / f"{name}.nii.gz"
    _write_nifti(seen.image, seen, job.folder / image)
    sha256 = file_hash(job.folder / image)
    rows = []
    for lesion_id, masks in zip(lesion_ids, seen.masks, strict=True):
        measured = asdict(read_lesion(seen.image, masks[0], seen.spacing_mm))
        for mask, (reader, repeat) in zip(masks, _READERS, strict=False):
            suffix = "" if (reader, repeat) == ("1", "1") else f"_reader{reader}_repeat{repeat}"
            path = Path("masks") / f"{job.patient_id}_{lesion_id}{suffix}.nii.gz"
            _write_nifti(mask.astype(np.uint8), seen, job.folder / path)
            rows.append(
                {
                    "patient_id": job.patient_id,
                    "lesion_id": lesion_id,
                    "reader": reader,
                    "repeat": repeat,
                    "image": image.as_posix(),
                    "mask": path.as_posix(),
                    "image_sha256": sha256,
                    "volume_mm3": float(mask.sum() * np.prod(seen.spacing_mm)),
                    **measured,
                }
            )
    return rows


def _write_nifti(voxels: NDArray, seen: Scan, path: Path) -> None:
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing(_xyz(seen.spacing_mm))
    image.SetOrigin(_xyz(seen.origin_mm))
    write_atomically(path, lambda temporary: SimpleITK.WriteImage(image, str(temporary)))


def _xyz(zyx: Triple) -> Triple:
    return (zyx[2], zyx[1], zyx[0])
