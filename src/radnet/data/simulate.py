"""Simulated cohorts: a folder of tables, images and masks in which the signal is known.

Everything is a designed phantom; no value is a patient's. ``truth/truth.json`` says what was planted and what a perfect
reader would reach. It is written last, so that a folder which has it is complete, and training code never reads it.
Its keys:

* ``version``, ``seed``: of radnet, and of the draw.
* ``settings``: every knob, as it was in force.
* ``null``: whether ``image``, ``clinical`` (what the table holds) and ``survival`` carry no signal.
* ``oracle_auc``: by source the ``{auc, se, formula}`` of a perfect reader over all patients that could be drawn; ``se``
  is null where the value is exact. Empty where the study has no binary outcome.
* ``sample_oracle_auc``: by group (``all``, ``held_out``) the same for the patients drawn.
* ``oracle_c_index``, ``sample_oracle_c_index``: likewise ``{c_index, se, formula}`` for a time.
* ``expected_event_share``: of that time's event.
* ``reader_auc``, ``reader_c_index``: of a reader who measures texture, ring and volume in the images and fits a rule to
  the training patients: the estimate, ``fitted_on`` and ``judged_on``; the estimate is null without images.
* ``biology``: the ``planted`` columns of biology.csv, and their ``correlation`` with the texture latent.
* ``patients``, ``lesions``: one record each: latents, what follows from them, what the image is to show and shows.

A study has those that mean something to it:

* Responders and non-responders (presets ``small``, ``paper``, ``multicentre``): ``odds_ratios`` of the three drivers,
  adjusted for each other. ``oracle_auc`` of ``image``, ``drivers``, ``image_and_drivers``, ``clinical``, ``combined``
  (the upper bound of any model), and, where centres differ in prevalence, each ``…_with_centre``;
  ``sample_oracle_auc`` of ``image`` and ``combined``; ``oracle_c_index`` for progression of ``combined`` and ``rate``
  (which nothing exceeds); ``reader_auc``. Of a patient the likelihood ratios ``llr_…``.
* A time to recurrence (``wang``): ``hazard_ratio_per_sd`` of what is planted. ``oracle_auc`` is empty;
  ``oracle_c_index`` and ``sample_oracle_c_index`` of ``image`` (the upper bound of any model: covariates say nothing)
  and ``latent`` (of the patient's own x, which the lesion shows with noise); ``reader_c_index``, of a Cox rule. Of a
  patient ``x``, which multiplies the hazard, and ``x_from_image``, what a perfect reader makes of it.
* An inflamed phenotype (``han``): ``oracle_auc`` and ``sample_oracle_auc`` of ``image_for_tme``, ``image_for_cd8`` and
  ``image_for_response`` (each the upper bound of any model of that label: there are no covariates); ``reader_auc`` of
  the rule learned from ``tme``, judged on ``tme``; ``transferred_reader_auc``: the same rule judged on ``cd8`` and
  ``response``. Of a patient the ``phenotype``, whatever the label its centre has, and ``llr_image``.
* Clinical benefit (``ligero``): ``marker_shifts``, how much more albumin and lymphocytes patients with benefit have.
  ``oracle_auc`` of ``image``, ``clinical``, ``combined`` and ``combined_with_centre`` (the upper bound of any model);
  ``sample_oracle_auc`` of ``image`` and ``combined``; ``oracle_c_index`` for overall survival of ``image`` and
  ``combined``; ``reader_auc``. Of a patient the likelihood ratios ``llr_…``.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from radnet import __version__
from radnet.data.simulation.biology import BIOLOGY_CORRELATION, PLANTED_BIOLOGY
from radnet.data.simulation.images import spacings, write_images
from radnet.data.simulation.planted import STUDIES, plant
from radnet.data.simulation.settings import SimulationSettings, simulation_settings
from radnet.data.simulation.study import PlantedCohort
from radnet.files import write_atomically, write_json
from radnet.tables import write_table

__all__ = ["SimulationSettings", "simulate", "simulation_settings"]

LESION_COLUMNS = (
    *("patient_id", "lesion_id", "site", "visceral", "long_mm", "volume_mm3", "image", "mask", "image_sha256"),
    *("spacing_x", "spacing_y", "spacing_z", "slice_mm", "centre", "target_rank", "reader", "repeat"),
)
_READINGS = ["log_core_sd", "ring_contrast", "log_volume"]


def simulate(
    settings: SimulationSettings,
    folder: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a simulated cohort into a folder; where the same one stands complete, do nothing.

    The same settings give the same files, whatever the number of workers. ``long_mm`` is the longest axial diameter of
    the planted ellipsoid; ``volume_mm3`` is the mask's, or the ellipsoid's where no image is made.

    Args:
        settings: What to simulate.
        folder: An empty or new folder, or one in which the same simulation was begun.
        workers: Processes that make images.
        progress: Called with the patients done and all patients.

    Raises:
        ValueError: If the folder holds anything else.
    """
    if _is_complete(settings, folder):
        return
    write_json(_identity(settings), folder / "truth" / "settings.json")
    cohort = plant(settings)
    delineations = _delineations(settings, cohort, folder, workers, progress)
    write_table(
        cohort.patients[["patient_id", "centre", "split", *STUDIES[settings.study].columns]], folder / "clinical.csv"
    )
    write_table(delineations[list(LESION_COLUMNS)], folder / "lesions.csv")
    if settings.biology:
        write_table(cohort.biology, folder / "biology.csv")
    _write_truth(_truth(settings, cohort, delineations), folder / "truth" / "truth.json")


def _identity(settings: SimulationSettings) -> dict[str, Any]:
    identity: dict[str, Any] = json.loads(json.dumps({"version": __version__, "settings": asdict(settings)}))
    return identity


def _is_complete(settings: SimulationSettings, folder: Path) -> bool:
    if not folder.exists() or not any(folder.iterdir()):
        return False
    begun = folder / "truth" / "settings.json"
    if not begun.is_file():
        raise ValueError(f"{folder}: holds files that are no simulated cohort; name an empty or a new folder")
    there, here = json.loads(begun.read_text(encoding="utf-8")), _identity(settings)
    if there != here:
        differ = [
            f"{knob}={there['settings'].get(knob)} there, {value} here"
            for knob, value in here["settings"].items()
            if there["settings"].get(knob) != value
        ]
        told = "; ".join(differ) or f"version {there['version']} there, {here['version']} here"
        raise ValueError(f"{folder}: holds another simulated cohort ({told}); name an empty or a new folder")
    return (folder / "truth" / "truth.json").is_file()


def _delineations(
    settings: SimulationSettings,
    cohort: PlantedCohort,
    folder: Path,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> pd.DataFrame:
    """Return the rows of lesions.csv, each with the reader's measurements where there are images."""
    tell = progress or (lambda _done, _all: None)
    rows: list[dict[str, object]] = []
    if settings.images:
        for done, written in enumerate(write_images(settings, cohort, folder, workers), start=1):
            rows += written
            tell(done, settings.n)
        planted = cohort.lesions.drop(columns="volume_mm3")
        lesions = pd.DataFrame(rows).merge(planted, on=["patient_id", "lesion_id"], how="left")
    else:
        lesions = cohort.lesions.assign(reader="1", repeat="1", image="", mask="", image_sha256="")
        tell(settings.n, settings.n)
    spacing = spacings(settings, lesions["scanner"]).round(6)
    lesions = lesions.assign(spacing_z=spacing[:, 0], spacing_y=spacing[:, 1], spacing_x=spacing[:, 2])
    return lesions.assign(slice_mm=lesions["spacing_z"]).round({"long_mm": 2, "volume_mm3": 2})


def _truth(settings: SimulationSettings, cohort: PlantedCohort, delineations: pd.DataFrame) -> dict[str, Any]:
    lesions = cohort.lesions
    readings = _readings(delineations) if settings.images else None
    planted = STUDIES[settings.study].truth(settings, cohort, readings)
    return {
        "version": __version__,
        "seed": settings.seed,
        "settings": asdict(settings),
        **planted.cohort,
        "biology": {
            "planted": list(PLANTED_BIOLOGY) if settings.biology else [],
            "correlation": BIOLOGY_CORRELATION if settings.biology else 0.0,
        },
        "patients": _records(planted.patients),
        "lesions": _records(
            lesions[["patient_id", "lesion_id", "site", "carries", "t", "p", "v"]],
            lesions[["texture_sd_hu", "texture_width_mm", "ring_hu", "mean_shift_hu"]],
            lesions[["semi_z_mm", "semi_y_mm", "semi_x_mm"]],
            pd.DataFrame(index=lesions.index) if readings is None else readings.reset_index(drop=True),
        ),
    }


def _readings(delineations: pd.DataFrame) -> pd.DataFrame:
    """One row per lesion, indexed by patient, in the order of the planted lesions."""
    true = delineations[(delineations["reader"] == "1") & (delineations["repeat"] == "1")]
    return true.set_index(true["patient_id"].to_numpy())[_READINGS]


def _records(*blocks: pd.DataFrame) -> list[dict[str, Any]]:
    table = pd.concat(blocks, axis=1)
    numbers = table.select_dtypes("float")
    return list(table.assign(**numbers.round(6)).to_dict("records"))


def _write_truth(truth: dict[str, Any], path: Path) -> None:
    """Write one key, patient or lesion a line: a cohort of many thousands stays quick to write and to page through."""

    def lines() -> Iterable[str]:
        for key, value in truth.items():
            if isinstance(value, list):
                records = ",\n    ".join(json.dumps(record, allow_nan=False) for record in value)
                yield f"  {json.dumps(key)}: [\n    {records}\n  ]"
            else:
                yield f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}"

    text = "{\n" + ",\n".join(lines()) + "\n}\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
