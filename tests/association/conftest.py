import json

import pytest


@pytest.fixture
def case(request, shared):
    """A case computed by R, asked for as (file, id); NA is nan."""
    file, name = request.param
    cases = json.loads((shared / "oracles" / file).read_text(encoding="utf-8"))["cases"]
    return _read(next(case for case in cases if case["id"] == name))


def _read(value):
    if isinstance(value, dict):
        return {key: _read(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_read(entry) for entry in value]
    return {None: float("nan"), "NaN": float("nan"), "Inf": float("inf"), "-Inf": float("-inf")}.get(value, value)
