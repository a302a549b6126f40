"""A run and its evaluation as a user types them, on a cohort folder of a test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from radnet.cli import main
from radnet.config import load_config

PLAIN = ("falsification=false", "optimism=none")  # controls and optimism have tests of their own


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that the user stands in, for the tests of a module: checkpoints/ and .cache/ are made there."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("workplace")
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def train(workplace: Path) -> Callable[..., Path]:
    """Trains an experiment on a cohort folder; returns the run folder, named ``output``."""
    pytest.importorskip("torch", reason="training needs the extra train")
    from radnet.experiment import run_experiment

    def run(experiment: str, root: Path, output: str, *typed: str) -> Path:
        words = [f"experiment={experiment}", "data=manifest", f"data.root={root}", f"output={output}", *PLAIN, *typed]
        return workplace / run_experiment(load_config("train", words))

    return run


@pytest.fixture(scope="module")
def evaluate() -> Callable[..., pd.DataFrame]:
    """Types ``radnet evaluate …``; returns the metrics.csv of the folder it wrote."""

    def judge(output: Path, *typed: str) -> pd.DataFrame:
        assert main(["evaluate", *typed, f"output={output}"]) == 0
        metrics = pd.read_csv(output / "metrics.csv", dtype=str, keep_default_na=False)
        numbers = ["at", "horizon", "estimate", "lower", "upper", "p_value", "n", "n_event"]
        return metrics.assign(**{name: pd.to_numeric(metrics[name]) for name in numbers})

    return judge
