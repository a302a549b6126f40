"""Models within models: where in a model's configuration others are named."""

from collections.abc import Iterator, Mapping
from typing import Any


def model_paths(node: Mapping[str, Any], path: str = "model") -> Iterator[str]:
    """Yield where models stand in a configuration: the model; a stack's members, an ensemble's, one that is tuned.

    Args:
        node: Of the model.
        path: Where it stands.

    Example:
        >>> list(model_paths({"members": {"image": {"member": {"regions": []}}}}))
        ['model', 'model.members.image', 'model.members.image.member']
    """
    yield path
    for name, member in (node.get("members") or {}).items():
        yield from model_paths(member, f"{path}.members.{name}")
    if node.get("member"):
        yield from model_paths(node["member"], f"{path}.member")
    if tuned := (node.get("make") or {}).get("model"):
        yield from model_paths(tuned, f"{path}.make.model")
