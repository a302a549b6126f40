"""Cohorts every test may ask for, and where shared reference data lies.

Without pyradiomics, ``import radiomics`` finds the folder of that name here: a test that needs pyradiomics asks
``importorskip`` for a module of it, such as ``radiomics.glcm``.
"""

from pathlib import Path

import pytest

from cohorts import make_cohort, write_cohort
from radnet.cohort import Cohort

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config: pytest.Config) -> None:
    # highdicom leaves the index of a file's frames to the garbage collector, of which Python warns from 3.13 on.
    config.addinivalue_line("filterwarnings", "ignore:unclosed database in <sqlite3.Connection:ResourceWarning")


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the reference data beside the project is absent on this machine")
    return SHARED


@pytest.fixture
def cohort() -> Cohort:
    return make_cohort(60, seed=1)


@pytest.fixture(scope="session")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 patients, 20 of them held out, features measured."""
    return write_cohort(make_cohort(60, seed=1, held_out=20), tmp_path_factory.mktemp("cohort"))
