"""Compiled kernels and where they are kept: a folder of its own for every state of their sources.

numba looks at the one file a kernel stands in to tell whether what it compiled before still holds. A kernel that calls
one of another file would go on calling the old one, so here any change to any of these files begins a new folder. And
two processes that compile one kernel at the same time may leave each other's code behind: the first use takes a lock.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])
_KEPT_IN = "RADNET_KERNELS"
_COMPILED = "compiled"  # the file that says so of a folder


def kernel(function: _Kernel, **options: Any) -> _Kernel:
    """Compile a function of arrays at its first call, without Python's lock, and keep it in ``kernels_folder``.

    Args:
        function: What numba can compile.
        options: Further options of ``numba.njit``.
    """
    import numba  # takes 0.3 s, and this module also tells whether there is anything to compile

    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(kernels_folder())
    try:
        compiled: _Kernel = numba.njit(cache=True, nogil=True, **options)(function)
    finally:
        config.CACHE_DIR = before
    return compiled


@cache
def kernels_folder() -> Path:
    """Return the folder of the kernels of this very state of radnet's sources.

    It lies in the folder that ``RADNET_KERNELS`` names, in radnet's own, or in the user's cache, whichever can be
    written to; where none can, in one that is gone when this process ends.
    """
    here = Path(__file__).parent
    sources = sorted([Path(__file__), *(here / "imaging").glob("*.py"), *(here / "radiomics").rglob("*.py")])
    state = hashlib.sha256(b"".join(one.read_bytes() for one in sources)).hexdigest()[:16]
    home = Path(os.path.expanduser("~"))
    chosen = os.environ.get(_KEPT_IN)
    for place in [Path(chosen)] if chosen else [here / "__pycache__" / "kernels", home / ".cache" / "radnet"]:
        with suppress(OSError):
            (place / state).mkdir(parents=True, exist_ok=True)
            if os.access(place / state, os.W_OK):
                return place / state
    passing = Path(tempfile.mkdtemp(prefix="radnet-kernels-"))
    atexit.register(shutil.rmtree, passing, ignore_errors=True)
    os.environ[_KEPT_IN] = str(passing)  # so that the processes it starts share them
    (passing / state).mkdir()
    return passing / state


def compile_once(run_all: Callable[[], object]) -> None:
    """Call what makes every kernel compile, unless it was done before; one process at a time, the others wait."""
    if _was_compiled():
        return
    with _locked(kernels_folder() / "lock"):
        if not (kernels_folder() / _COMPILED).exists():
            run_all()
            (kernels_folder() / _COMPILED).touch()


@cache
def _was_compiled() -> bool:
    return (kernels_folder() / _COMPILED).exists()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: two first uses in the same second are left to chance
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
