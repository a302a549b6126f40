"""How long an evaluation of 5 models × 1,000 patients takes: numbers, report.html, and the page's opening in a browser.

    python benchmarks/report.py [--models 5] [--patients 1000] [--keep FOLDER]

Budget: the report is written within 30 s of one core; with selenium, chromium and chromedriver at hand it opens in 2 s.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from radnet.cli import main as radnet
from radnet.report.html import write_report

WRITING, OPENING = 30.0, 2.0


def predictions(models: int, patients: int) -> pd.DataFrame:
    """Draw scores of models of growing worth: held out, out of five folds, and apparent."""
    rng = np.random.default_rng(0)
    event = rng.random(patients) < 0.3
    tables = []
    for partition, prefix in (("held_out", "H"), ("out_of_fold", "D"), ("apparent", "D")):
        for model in range(models):
            logit = -1 + (0.5 + 0.3 * model) * (event - 0.3) * 2 + rng.normal(size=patients)
            tables.append(
                pd.DataFrame(
                    {
                        "endpoint": "response",
                        "model": f"model_{model + 1}",
                        "partition": partition,
                        "fold": [str(row % 5 + 1) if partition == "out_of_fold" else "" for row in range(patients)],
                        "patient_id": [f"{prefix}{row:05d}" for row in range(patients)],
                        "centre": [f"centre {row % 3}" for row in range(patients)],
                        "event": event.astype(int),
                        "score": logit,
                        "probability": 1 / (1 + np.exp(-logit)),
                        "cutoff": 0.0,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def seconds_to_open(page: Path) -> float | None:
    try:
        from selenium import webdriver
        from selenium.common.exceptions import WebDriverException
    except ImportError:
        return None
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(word)
    try:
        browser = webdriver.Chrome(options=options)
    except WebDriverException:
        return None
    start = time.perf_counter()
    browser.get(page.as_uri())
    taken = time.perf_counter() - start
    browser.quit()
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    predictions(options.models, options.patients).to_parquet(folder / "predictions.parquet")
    output = folder / "evaluation"
    start, cpu = time.perf_counter(), time.process_time()
    radnet(["evaluate", f"predictions={folder / 'predictions.parquet'}", f"output={output}", "report=false"])
    print(f"numbers: {time.process_time() - cpu:.1f} CPU s, {time.perf_counter() - start:.1f} s")
    start, cpu = time.perf_counter(), time.process_time()
    page = write_report(output)
    written = time.process_time() - cpu
    print(f"report: {written:.1f} CPU s, {time.perf_counter() - start:.1f} s; {page.stat().st_size / 1e6:.1f} MB")
    opened = seconds_to_open(page)
    print("opening: no browser at hand" if opened is None else f"opening: {opened:.2f} s")
    return int(written > WRITING or (opened or 0) > OPENING)


if __name__ == "__main__":
    sys.exit(main())
