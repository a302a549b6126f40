import json
from pathlib import Path

import pytest

ORACLES = Path(__file__).resolve().parents[2].parent / "shared" / "oracles"


@pytest.fixture
def case(request):
    """A case computed by R, asked for as (file, id); NA is nan, an error stays the text R raised."""
    file, name = request.param
    if not ORACLES.is_dir():
        pytest.skip(f"the reference values of R are not at {ORACLES}")
    cases = json.loads((ORACLES / file).read_text(encoding="utf-8"))["cases"]
    return _read(next(case for case in cases if case["id"] == name))


def _read(value):
    if isinstance(value, dict):
        return {key: _read(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_read(entry) for entry in value]
    return {None: float("nan"), "NaN": float("nan"), "Inf": float("inf"), "-Inf": float("-inf")}.get(value, value)
