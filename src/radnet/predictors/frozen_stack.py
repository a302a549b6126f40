"""A fitted stack: models whose scores a last one weighs, beside clinical columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from skops.io import dump

from radnet.cohort import Cohort
from radnet.files import write_atomically
from radnet.imaging.patch import PatchSettings
from radnet.models.pipeline import ClinicalEncoder
from radnet.predictors.base import Frozen, Prediction, Predictor, lesions_seen, no_lesions
from radnet.predictors.frozen import clinical_columns, load_steps, score_and_probability
from radnet.predictors.lesion_rows import of_lesions

LoadMember = Callable[[Path, Mapping[str, Any]], Frozen]


@dataclass(frozen=True)
class FrozenStack:
    """Fitted models, and the pipeline that takes their scores and encoded clinical columns.

    Attributes:
        members: Models by name.
        reads: The columns that each reads, in order; none of a member that scores lesions, of which the stack reads the
            score of each patient, under the member's name.
        steps: Transformers, then a classifier or a survival model; its inputs are the members' names, then the clinical
            columns.
        encoder: Makes numbers of the clinical columns beside the scores, or None.
        clinical: These columns.
        calibrated: Whether the classifier's probability may be read as one.
    """

    members: Mapping[str, Frozen]
    reads: Mapping[str, list[str]]
    steps: Pipeline
    encoder: ClinicalEncoder | None
    clinical: tuple[str, ...]
    calibrated: bool

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions whose features any member reads."""
        return tuple(dict.fromkeys(region for one in self.members.values() for region in one.regions))

    @property
    def imaging(self) -> PatchSettings | None:
        """What the patches are that members read, None where none does."""
        return next((one.imaging for one in self.members.values() if getattr(one, "imaging", None)), None)  # type: ignore[attr-defined]

    @property
    def patches(self) -> Mapping[str, Any]:
        """How the patches that members learned from were cut; empty where none reads any."""
        return next((one.patches for one in self.members.values() if getattr(one, "patches", None)), {})  # type: ignore[attr-defined]

    @property
    def readers(self) -> Mapping[str, Frozen]:
        """The members, each of whom must be able to read a patient."""
        return self.members

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any], load_member: LoadMember) -> Self:
        """Read what ``save`` wrote, given its description and what reads a member."""
        return cls(
            members={name: load_member(folder / name, of_member) for name, of_member in card["members"].items()},
            reads={name: list(of_member["reads"]) for name, of_member in card["members"].items()},
            steps=load_steps(folder / "pipeline.skops"),
            encoder=load_steps(folder / "clinical.skops") if card["stacked_clinical"] else None,
            clinical=tuple(card["stacked_clinical"]),
            calibrated=bool(card["calibrated"]),
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write ``pipeline.skops`` (and ``clinical.skops``) and a folder for each member; return the description."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "pipeline.skops", lambda path: dump(self.steps, path))
        if self.encoder is not None:
            write_atomically(folder / "clinical.skops", lambda path: dump(self.encoder, path))
        members = {}
        for name, one in self.members.items():
            (folder / name).mkdir(exist_ok=True)
            members[name] = {**one.save(folder / name), "reads": self.reads[name]}
        every = [column for of_member in members.values() for column in of_member["clinical"]]
        return {
            "predictor": "stack",
            "members": members,
            "inputs": list(
                dict.fromkeys(column for one in members.values() for column in one["reads"] or one["inputs"])
            ),
            "stacked_clinical": list(self.clinical),
            "clinical": list(dict.fromkeys([*every, *self.clinical])),
            "regions": list(self.regions),
            "calibrated": self.calibrated,
        }

    def selection(self) -> Mapping[str, Sequence[str]]:
        """Return the features left after each step of the members that leave some out."""
        found = {name: one.selection() for name, one in self.members.items()}
        selecting = [name for name, steps in found.items() if steps]
        if len(selecting) == 1:
            return found[selecting[0]]
        return {f"{name} {step}": columns for name in selecting for step, columns in found[name].items()}

    def inputs(self, cohort: Cohort) -> pd.DataFrame:
        """Return what the members read of each patient, each column once, then the columns beside their scores.

        Of a member that scores lesions it is his score.
        """
        blocks = []
        for name, one in self.members.items():
            rows = one.inputs(cohort)
            blocks.append(pd.DataFrame({name: one.score(rows)}, index=cohort.ids) if of_lesions(rows) else rows)
        table = pd.concat([*blocks, self._beside(cohort)], axis=1)
        return table.loc[:, ~table.columns.duplicated()]

    def score(self, inputs: pd.DataFrame) -> np.ndarray:
        """Score rows as ``inputs`` gives them."""
        scores = {
            name: one.score(inputs[reads]) if (reads := self.reads[name]) else inputs[name].to_numpy()
            for name, one in self.members.items()
        }
        beside = [] if self.encoder is None else self.encoder.get_feature_names_out()
        return score_and_probability(self.steps, pd.DataFrame(scores, index=inputs.index).join(inputs[beside]))[0]

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        found = {name: one.predict(cohort) for name, one in self.members.items()}
        beside = self._beside(cohort)
        patients = pd.DataFrame({name: one.patients["score"] for name, one in found.items()}, index=beside.index)
        score, probability = score_and_probability(self.steps, patients.join(beside))
        table = pd.DataFrame(
            {"score": score, "probability": probability if self.calibrated else np.nan}, index=patients.index
        )
        with_lesions = [one.lesions for one in found.values() if len(one.lesions)]
        if not with_lesions:
            return Prediction(table, no_lesions())
        lesions = with_lesions[0]
        owner = lesions.index.get_level_values("patient_id")
        alone = {  # of a lesion that a member does not see, what he says of the patient
            name: one.lesions["score"].reindex(lesions.index).to_numpy() for name, one in found.items()
        }
        of_patient = {name: patients[name].loc[owner].to_numpy() for name in found}
        rows = pd.DataFrame(alone).fillna(pd.DataFrame(of_patient)).join(beside.loc[owner].reset_index(drop=True))
        return Prediction(table, lesions.assign(score=score_and_probability(self.steps, rows)[0]))

    def _beside(self, cohort: Cohort) -> pd.DataFrame:
        return clinical_columns(cohort, self.clinical, self.encoder)


def unread_patients(model: Frozen | Predictor, cohort: Cohort) -> dict[str, str]:
    """Return the patients whom a model cannot score for want of a lesion that it sees, with the reason.

    A model that reads features and patches needs either. A stack needs the score of every member, so that of one of
    features and one of patches a patient needs both. A model that sees no lesion can score everybody.

    Args:
        model: Fitted, or not yet.
        cohort: With the features and patches that the model reads.
    """
    model = getattr(model, "model", model)  # of a predictor that is tuned, the one tuned
    if (members := getattr(model, "readers", None)) is None:
        reads_patches = getattr(model, "imaging", None) is not None
        if not model.regions and not reads_patches:
            return {}
        seen = set(lesions_seen(cohort, model.regions, reads_patches).get_level_values("patient_id"))
        return {patient: "no measured lesion" for patient in cohort.ids if patient not in seen}
    unread: dict[str, str] = {}
    for name, one in members.items():
        for patient in unread_patients(one, cohort):
            unread.setdefault(patient, f"no lesion that member {name} of the stack can read")
    return {patient: unread[patient] for patient in cohort.ids if patient in unread}
