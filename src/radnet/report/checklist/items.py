"""The checklists and their items, as they stand in the packaged YAML files, and what an answer is."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml

Answer = Literal["met", "not met", "not applicable", "for the authors"]
NAMES = ("tripod_ai", "clear", "metrics_score")


@dataclass(frozen=True, slots=True)
class Finding:
    """What the record of a study says to a question.

    Attributes:
        answer: ``met`` only where all that is asked for was found.
        evidence: The values found, or what is missing.
        link: Where they stand: ``#anchor`` of the report, a file seen from the evaluation's folder, or ``config: key``.
    """

    answer: Answer
    evidence: str = ""
    link: str = ""

    def __post_init__(self) -> None:
        if self.answer == "met" and not (self.evidence and self.link):
            raise ValueError("an item is met only with evidence and the place where it stands")


@dataclass(frozen=True, slots=True)
class Question:
    """An item of a checklist; ``ask`` names what a run is asked, empty where only the authors know."""

    number: str
    section: str
    text: str
    ask: str = ""
    weight: float = 0.0
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a checklist and its answer."""

    number: str
    section: str
    text: str
    answer: Answer
    evidence: str
    link: str
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Checklist:
    """An answered checklist; ``score`` is empty where the checklist has none."""

    name: str
    reference: str
    items: list[Item]
    score: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many items have each answer."""
        answers = ("met", "not met", "not applicable", "for the authors")
        return {answer: sum(item.answer == answer for item in self.items) for answer in answers}


def read_questions(name: str) -> tuple[str, str, list[Question]]:
    """Return name, reference and items of a packaged checklist."""
    text = files("radnet.report.checklist").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    listed = yaml.safe_load(text)
    return listed["name"], listed["reference"], [Question(**item) for item in listed["items"]]
