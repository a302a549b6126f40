"""The METRICS score: the weight of items met, out of the weight of those that apply to the study."""

from collections.abc import Sequence

from radnet.report.checklist.items import Item
from radnet.report.checklist.record import Record, targets


def conditions(record: Record) -> dict[str, bool]:
    """Say which of METRICS' conditions a study fulfils; where no run is known, all but an end-to-end network.

    Features enter a table and are handcrafted where the model reads regions; clinical columns are a table too. A
    network that reads patches of the image is end to end. Every lesion has a mask, so delineation always applies.
    """
    if not record.config:
        return {"segmentation": True, "handcrafted": True, "tabular": True, "end_to_end": False}
    model = record.config.get("model") or {}
    patches = bool(targets(record, "Patch", "ResNet", "DenseNet", "CNN", "Transformer3d", "Images"))
    return {
        "segmentation": bool(model.get("regions")) or patches,
        "handcrafted": bool(model.get("regions")),
        "tabular": bool(model.get("regions") or model.get("clinical")),
        "end_to_end": patches,
    }


def score_range(items: Sequence[Item]) -> tuple[float, float]:
    """Return the score in percent as it stands, and as it would be if all that is left to the authors were met.

    Example:
        >>> one = {"section": "", "text": "", "evidence": "", "link": ""}
        >>> score_range([
        ...     Item("1", answer="met", weight=0.2, **one),
        ...     Item("2", answer="for the authors", weight=0.1, **one),
        ...     Item("3", answer="not met", weight=0.1, **one),
        ...     Item("4", answer="not applicable", weight=0.6, **one),
        ... ])
        (50.0, 75.0)
    """

    def weight(*answers: str) -> float:
        return sum(item.weight for item in items if item.answer in answers)

    whole = weight("met", "not met", "for the authors")
    if whole == 0:
        return 0.0, 0.0
    met = weight("met")
    return round(100 * met / whole, 6), round(100 * (met + weight("for the authors")) / whole, 6)


def score_text(items: Sequence[Item]) -> str:
    """Write the score as a sentence."""
    now, most = score_range(items)
    open_items = sum(item.answer == "for the authors" for item in items)
    return f"{now:.0f}% as it stands, up to {most:.0f}% if the authors can say yes to {open_items} items left to them"
