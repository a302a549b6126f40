"""Are radnet's 1130 features those of unmodified pyradiomics 3.0.1? Every lesion of folders of data, one by one.

usage: python benchmarks/parity.py DATA … [--bin-widths 25 10] [--stock FOLDER] [--match TEXT] [--out CSV]

DATA holds image and mask files side by side: `X_image.*` beside `X_mask.*` or `X_label.*`, `image/` beside `mask/`.
Stock reads the files itself and resamples to 1 mm; its numbers are kept under `--stock`, for they take hours. A DICOM
series with an RTSTRUCT is rasterised once and both engines get that array. A feature is equal where the two differ by
at most 1e-6 of stock's value plus 1e-7; what is not is written to the table, one row each, with both values.
"""

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813

from radnet.files import write_json
from radnet.imaging.preprocess import read_image, read_mask
from radnet.radiomics.settings import feature_names, read_settings

ZHAO = Path(__file__).parents[1] / "conf" / "radiomics" / "zhao.yaml"
RELATIVE, ABSOLUTE = 1e-6, 1e-7


def main() -> None:
    """Compare what was asked for; print a line per lesion and write the features that differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--bin-widths", type=float, nargs="+", default=[25.0, 10.0])
    parser.add_argument("--stock", type=Path, default=Path(tempfile.gettempdir()) / "stock")
    parser.add_argument("--match", default="")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only-stock", action="store_true", help="make stock's numbers and compare nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "parity.csv")
    chosen = parser.parse_args()
    tasks = [
        (name, image, mask, label, width, chosen.stock, chosen.only_stock)
        for width in chosen.bin_widths
        for data in chosen.data
        for name, image, mask, label in lesions(data, chosen.stock)
        if chosen.match in name
    ]
    with Pool(chosen.processes) as pool:
        found = []
        for lines, table in pool.imap(_compare, tasks):
            sys.stdout.write(lines + "\n")
            sys.stdout.flush()
            found.append(table)
    if not chosen.only_stock:
        pd.concat(found).to_csv(chosen.out, index=False)


def lesions(data: Path, kept: Path) -> Iterator[tuple[str, Path, Path, int]]:
    """Yield name, image, mask and label of every lesion under a folder."""
    for image in sorted(data.rglob("*_image.*")):
        masks = [
            one
            for word in ("_mask.", "_label.")
            if (one := image.with_name(image.name.replace("_image.", word))).is_file()
        ]
        for mask in masks[:1]:
            yield from _labels(f"{image.parent.relative_to(data)}/{image.name.split('_image')[0]}", image, mask)
    for folder in sorted(one for one in data.rglob("image") if one.is_dir() and (one.parent / "mask").is_dir()):
        masks = sorted((folder.parent / "mask").iterdir())
        if list(folder.glob("*.dcm")):
            yield from _rasterised(str(folder.parent.relative_to(data)), folder, masks[0], kept)
        else:
            yield from _labels(str(folder.parent.relative_to(data)), sorted(folder.iterdir())[0], masks[0])


def _labels(name: str, image: Path, mask: Path) -> Iterator[tuple[str, Path, Path, int]]:
    values = np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(mask))))
    for label in values[values > 0]:
        yield f"{name} {label:g}", image, mask, int(label)


def _rasterised(name: str, folder: Path, mask: Path, kept: Path) -> Iterator[tuple[str, Path, Path, int]]:
    import pydicom

    kept.mkdir(parents=True, exist_ok=True)
    for roi in pydicom.dcmread(mask).get("StructureSetROISequence") or []:
        stem = f"{name}_{roi.ROIName}".replace("/", "_").replace(" ", "_")
        files = [kept / f"{stem}_{one}.nrrd" for one in ("image", "mask")]
        if not files[1].is_file():
            image = read_image(folder)
            try:
                region = read_mask(mask, image, str(roi.ROIName))
            except ValueError as error:
                sys.stdout.write(f"{name} {roi.ROIName}: {error}\n")
                continue
            sitk.WriteImage(image, str(files[0]))
            sitk.WriteImage(region, str(files[1]))
        yield f"{name} {roi.ROIName}", files[0], files[1], 1


def _stock(image: Path, mask: Path, label: int, width: float) -> dict[str, float | str]:
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    extractor = RadiomicsFeatureExtractor(
        binWidth=width, resampledPixelSpacing=[1, 1, 1], interpolator="sitkBSpline", label=label, additionalInfo=False
    )
    extractor.enableImageTypes(Original={}, LoG={"sigma": [1.0, 2.0, 3.0]}, Wavelet={})
    extractor.enableAllFeatures()
    try:
        return {name: float(value) for name, value in extractor.execute(str(image), str(mask)).items()}
    except Exception as error:  # a refusal is an answer to compare, too
        return {"refused": str(error)}


def _compare(task: tuple[str, Path, Path, int, float, Path, bool]) -> tuple[str, pd.DataFrame]:
    name, image, mask, label, width, kept, only_stock = task
    warnings.simplefilter("ignore")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    file = kept / f"{name}_{width:g}.json".replace("/", "_").replace(" ", "_")
    if not file.is_file():
        write_json({key: repr(value) for key, value in _stock(image, mask, label, width).items()}, file)
    if only_stock:
        return f"{name} at {width:g}: kept", pd.DataFrame()
    from radnet.radiomics.extract import extract_lesion

    stock = {key: value if key == "refused" else float(value) for key, value in json.loads(file.read_text()).items()}
    settings = replace(read_settings(ZHAO), bin_width=width)
    try:
        ours = extract_lesion(read_image(image), read_mask(mask), settings, label, "native")
    except ValueError as error:
        same = "refused" in stock
        return f"{name} at {width:g}: {'both refuse' if same else 'ONLY OURS REFUSES'}: {error}", pd.DataFrame()
    if "refused" in stock:
        return f"{name} at {width:g}: ONLY STOCK REFUSES: {stock['refused']}", pd.DataFrame()
    names = feature_names(settings)
    a, b = (np.array([one[key] for key in names]) for one in (stock, ours))
    off = np.where(np.isnan(a) & np.isnan(b), 0.0, np.abs(a - b))
    relative = off / np.maximum(np.abs(a), 1e-300)
    unequal = ~(off <= RELATIVE * np.abs(a) + ABSOLUTE)
    worst = int(np.argmax(np.where(off <= ABSOLUTE, 0, relative)))
    table = pd.DataFrame(
        {
            "lesion": name, "bin_width": width, "feature": [names[place] for place in np.flatnonzero(unequal)],
            "pyradiomics": a[unequal], "native": b[unequal],
        }
    )  # fmt: skip
    told = f"{unequal.sum()} of {len(names)} differ; worst relative {relative[worst]:.1e} ({names[worst]})"
    return f"{name} at {width:g}: {told}", table


if __name__ == "__main__":
    main()
