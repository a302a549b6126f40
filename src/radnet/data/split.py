"""Who is learned from and who is judged: the held-out patients, and folds over the rest."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold

from radnet.cohort import Cohort

HeldOut = Callable[[Cohort, str], list[str]]
"""Names the patients of a cohort, for an endpoint, that no model learns from."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold: patients learned from and patients judged, never the same."""

    name: str
    repeat: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        if both := set(self.train) & set(self.test):
            raise ValueError(f"fold {self.name}: patients on both sides: {', '.join(sorted(both)[:5])}")


def by_column(cohort: Cohort, endpoint: str) -> list[str]:  # noqa: ARG001 - the shape of every held-out rule
    """Return the patients that the ``split`` column of clinical.csv holds out."""
    if all(patient.split is None for patient in cohort.patients):
        raise ValueError(
            "clinical.csv has no split column (train, held_out); without one choose split=kfold "
            "(every patient judged out of fold) or split=zhao (shares of centres)"
        )
    return [patient.id for patient in cohort.patients if patient.split == "held_out"]


def by_centre_share(
    cohort: Cohort, endpoint: str, *, train: Mapping[str, float], held_out: Mapping[str, float], seed: int
) -> list[str]:
    """Hold out a share of each centre, drawn by patient and stratified by the event.

    Zhao 2023 trains on all of one centre and half of another and validates on the other half with a third centre
    (the reading of its abstract and Figure 1: 171 and 69 of 240 patients).

    Args:
        cohort: Patients; one of unknown outcome is not drawn.
        endpoint: Endpoint whose event is stratified by.
        train: Share of each centre's patients to learn from, 0 to 1.
        held_out: Share of each centre's patients to judge on; the two shares of a centre add up to 1.
        seed: Seed of the draw; one stream per centre, so that a centre's draw does not depend on the others.
    """
    cohort = cohort.evaluable(endpoint)
    centres = sorted(set(cohort.centres))
    faults = [f"centre {name} of the split is not in the cohort" for name in {*train, *held_out} - set(centres)]
    for name in centres:
        total = train.get(name, 0.0) + held_out.get(name, 0.0)
        if not np.isclose(total, 1.0):
            faults.append(f"centre {name}: its shares of train and held_out add up to {total:g}, expected 1")
    if faults:
        raise ValueError(
            f"split by share of centres: {'; '.join(sorted(faults))} (the cohort has {', '.join(centres)})"
        )
    chosen: set[str] = set()
    for index, name in enumerate(centres):
        here = cohort.where(lambda patient, name=name: patient.centre == name)  # type: ignore[misc]
        rng = np.random.default_rng([seed, index])
        order = np.lexsort((rng.random(len(here)), here.events(endpoint)))
        count = round(len(here) * held_out.get(name, 0.0))
        # Every so-manyth patient of the list sorted by event, so that both classes are shared alike.
        taken = order[np.floor((np.arange(count) + rng.random()) * len(here) / max(count, 1)).astype(int)]
        chosen |= {here.ids[place] for place in taken}
    return [patient for patient in cohort.ids if patient in chosen]


def by_centre(cohort: Cohort, endpoint: str, *, centres: Sequence[str]) -> list[str]:  # noqa: ARG001 - as above
    """Hold out whole centres, so that no held-out patient shares one with training.

    Raises:
        ValueError: If a centre is unknown, or none would be left to learn from.
    """
    wanted = [str(centre) for centre in centres]
    there = sorted(set(cohort.centres))
    if unknown := sorted(set(wanted) - set(there)):
        raise ValueError(f"split by centre: the cohort has no centre {', '.join(unknown)}; it has {', '.join(there)}")
    if not wanted or set(wanted) == set(there):
        raise ValueError(f"split by centre: name some of {', '.join(there)}, not {'all' if wanted else 'none'}")
    return [patient.id for patient in cohort.patients if patient.centre in wanted]


def nobody(cohort: Cohort, endpoint: str) -> list[str]:  # noqa: ARG001 - the shape of every held-out rule
    """Hold out nobody: every patient is judged out of fold."""
    return []


def stratified_folds(cohort: Cohort, endpoint: str, *, n_folds: int, repeats: int = 1, seed: int) -> list[Fold]:
    """Divide patients into folds of like event share; all lesions of a patient stay together.

    Raises:
        ValueError: If a class has fewer patients than there are folds.
    """
    if n_folds < 2 or repeats < 1:
        raise ValueError(f"folds need n_folds of 2 or more and repeats of 1 or more, got {n_folds} and {repeats}")
    event = cohort.events(endpoint)
    fewest = min(int(event.sum()), int((~event).sum()))
    if fewest < n_folds:
        raise ValueError(
            f"{n_folds} folds need {n_folds} patients with and {n_folds} without the event; endpoint {endpoint} has "
            f"{int(event.sum())} with and {int((~event).sum())} without"
        )
    ids = np.array(cohort.ids)
    folds = []
    for repeat in range(repeats):
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=np.random.RandomState([seed, repeat]))
        for number, (train, test) in enumerate(splitter.split(ids, event), start=1):
            name = str(repeat + 1) if repeats > 1 else ""
            folds.append(Fold(str(number), name, tuple(ids[train].tolist()), tuple(ids[test].tolist())))
    return folds


def leave_one_centre_out(cohort: Cohort, endpoint: str) -> list[Fold]:
    """Return a fold per centre, which judges it by a model of all the others; the fold is named after the centre.

    Raises:
        ValueError: If there is one centre only, or the others of some centre lack a class.
    """
    centres = sorted(set(cohort.centres))
    if len(centres) < 2:
        raise ValueError(f"leave-one-centre-out needs two centres or more, the cohort has {', '.join(centres)}")
    folds = []
    for name in centres:
        test = tuple(patient.id for patient in cohort.patients if patient.centre == name)
        train = tuple(patient.id for patient in cohort.patients if patient.centre != name)
        if len(set(cohort.select(train).events(endpoint))) < 2:
            raise ValueError(f"leave-one-centre-out: without centre {name} one class of {endpoint} is empty")
        folds.append(Fold(name, "", train, test))
    return folds


def bootstrap_folds(cohort: Cohort, endpoint: str, *, n_folds: int, seed: int) -> list[Fold]:
    """Return folds that learn from a bootstrap sample and judge the patients left out of it, about 37 %.

    Patients are drawn with replacement within each class; one drawn twice is learned from once, since a cohort has each
    patient once. A patient is judged in several folds, each a ``repeat`` of its own.
    """
    if n_folds < 1:
        raise ValueError(f"bootstrap folds need n_folds of 1 or more, got {n_folds}")
    event = cohort.events(endpoint)
    ids = np.array(cohort.ids)
    if min(event.sum(), (~event).sum()) < 2:
        raise ValueError(f"bootstrap folds need two patients or more of each class of {endpoint}")
    folds = []
    for number in range(1, n_folds + 1):
        rng = np.random.default_rng([seed, number])
        while True:
            drawn = set(np.concatenate([rng.choice(ids[event == one], int((event == one).sum())) for one in (0, 1)]))
            train = tuple(patient for patient in cohort.ids if patient in drawn)
            test = tuple(patient for patient in cohort.ids if patient not in drawn)
            if test and len(set(cohort.select(train).events(endpoint))) == 2:
                break
        folds.append(Fold(str(number), str(number), train, test))
    return folds


def shared_centre_fraction(train: Cohort, held_out: Cohort) -> float:
    """Return the share of held-out patients whose centre was also learned from (Zhao 2023: 64 of 69, .928)."""
    if not len(held_out):
        return float("nan")
    counts = Counter(held_out.centres)
    return sum(counts[centre] for centre in set(train.centres)) / len(held_out)
