"""Compiled kernels hold for the sources they were compiled from, and for no other."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import radnet

CALL = """
import numpy as np
from radnet.radiomics.engine.region import GreyLevels, Region, codes_in_box
from radnet.radiomics.engine.glcm import glcm
from radnet.radiomics.settings import ExtractionSettings
codes = np.random.default_rng(0).integers(1, 5, 125).astype(np.int32)
region = Region.of(np.pad(np.ones((5, 5, 5), bool), 1), (1.0, 1.0, 1.0))
grey = GreyLevels(codes_in_box(region, codes), np.arange(1, 5), np.bincount(codes, minlength=5)[1:])
print(glcm(grey, region, ExtractionSettings("any"))["MCC"])
"""


def call(package: Path, code: str, **changes: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", **changes}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path):
    copy = tmp_path / "package"
    shutil.copytree(Path(radnet.__file__).parent, copy / "radnet", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_a_kernel_changed_in_one_file_is_not_called_as_it_was_from_another(package, tmp_path):
    kept = {"RADNET_KERNELS": str(tmp_path / "kernels")}
    before = float(call(package, CALL, **kept))
    file = package / "radnet" / "radiomics" / "engine" / "mcc.py"
    text = file.read_text(encoding="utf-8")
    assert "    return value, " in text
    file.write_text(text.replace("    return value, ", "    return 0.25 * value, "), encoding="utf-8")

    after = float(call(package, CALL, **kept))

    assert after == pytest.approx(before / 2)  # the root of a quarter


def test_kernels_are_kept_where_they_were_asked_for_and_found_again(package, tmp_path):
    where = {"RADNET_KERNELS": str(tmp_path / "kernels")}
    call(package, "from radnet.kernels import compile_once; compile_once(lambda: print('compiled'))", **where)
    again = call(package, "from radnet.kernels import compile_once; compile_once(lambda: print('compiled'))", **where)
    assert again == ""


def test_where_nothing_can_be_written_kernels_last_as_long_as_the_process(package, tmp_path):
    code = "from radnet.kernels import kernels_folder as f; print(f())"
    (tmp_path / "file").write_text("")  # neither root nor anybody else can make a folder in it
    folder = Path(call(package, code, RADNET_KERNELS=str(tmp_path / "file" / "kernels"), TMPDIR=str(tmp_path)))
    assert folder.parent.parent == tmp_path
    assert not folder.exists()
