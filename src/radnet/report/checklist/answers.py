"""Checklists answered from the record of a study."""

from collections.abc import Callable
from pathlib import Path

from radnet.report.checklist.items import NAMES, Checklist, Finding, Item, Question, read_questions
from radnet.report.checklist.questions import images, judging, modelling, study
from radnet.report.checklist.record import Record, read_record
from radnet.report.checklist.score import conditions, score_text
from radnet.report.reading import Evaluation

_CONDITION_WORDS = {
    "segmentation": "the model reads no delineated lesion",
    "handcrafted": "the model reads no radiomics features",
    "tabular": "the model reads no table of features",
    "end_to_end": "no network reads the image itself",
}


def checklist(evaluation: Evaluation, folder: Path) -> list[Checklist]:
    """Answer TRIPOD+AI, CLEAR and METRICS from what an evaluation's folder holds.

    Args:
        evaluation: The evaluation as read.
        folder: Its folder, for ``tables/`` and ``figures/``.

    Returns:
        The checklists, in this order; METRICS with its score.
    """
    record = read_record(evaluation, folder)
    answered = []
    for listed in NAMES:
        name, reference, questions = read_questions(listed)
        items = [_item(question, record) for question in questions]
        score = score_text(items) if any(item.weight for item in items) else ""
        answered.append(Checklist(name, reference, items, score))
    return answered


def ask(question: str) -> Callable[[Record], Finding]:
    """Return the function that answers a question.

    Raises:
        KeyError: If no module of questions has it.
    """
    for module in (study, images, modelling, judging):
        if question in vars(module) and getattr(module, question).__module__ == module.__name__:
            found: Callable[[Record], Finding] = getattr(module, question)
            return found
    raise KeyError(f"no question is called {question}")


def _item(question: Question, record: Record) -> Item:
    if question.condition and not conditions(record)[question.condition]:
        found = Finding("not applicable", _CONDITION_WORDS[question.condition])
    elif question.ask:
        found = ask(question.ask)(record)
    else:
        found = Finding("for the authors")
    return Item(
        question.number, question.section, question.text, found.answer, found.evidence, found.link, question.weight
    )
