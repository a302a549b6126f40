"""The radiomics engine: features equal to pyradiomics 3.0.1, from compiled kernels over a lesion's voxels."""

import os
import tempfile
from pathlib import Path

if "NUMBA_CACHE_DIR" not in os.environ:  # compiled kernels are kept beside their source, or else in the user's cache
    _places = (Path(__file__).parent, Path.home() / ".cache", Path.home())
    if not any(os.access(place, os.W_OK) for place in _places):
        os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="radnet-kernels-")  # or numba refuses to start
