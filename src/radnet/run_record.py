"""What a run did, for run.json: seconds per stage, counts at each step, who was left out, what was not made."""

import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from radnet import __version__
from radnet.console import console

_LIBRARIES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "statsmodels",
    "SimpleITK",
    "pyradiomics",
    "torch",
    "pytorch-lightning",
    "monai",
)


@dataclass
class RunRecord:
    """What a run did.

    Attributes:
        seconds: By stage.
        counts: Patients, lesions and features at each step.
        excluded: Reason by patient.
        messages: What was not made, and what its reader should know.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)

    def say(self, message: str) -> None:
        """Print a message, and keep it."""
        console.print(message, markup=False)
        self.messages.append(message)


def versions() -> Mapping[str, str]:
    """Return the versions of Python, radnet and the libraries that numbers depend on."""
    found = {"python": platform.python_version(), "radnet": __version__}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Return the commit of radnet's own checkout, or None where it was installed without one."""
    git = shutil.which("git")
    here = Path(__file__).parents[2]
    if git is None or not (here / ".git").exists():
        return None
    done = subprocess.run([git, "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return done.stdout.strip() or None
