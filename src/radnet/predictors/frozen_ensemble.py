"""A fitted ensemble: models of one kind, and the mean of their scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from radnet.cohort import Cohort
from radnet.imaging.patch import PatchSettings
from radnet.models.pipeline import ClinicalEncoder
from radnet.predictors.base import Frozen, Prediction

LoadMember = Callable[[Path, Mapping[str, Any]], Frozen]


@dataclass(frozen=True)
class FrozenEnsemble:
    """Models that read the same, each fitted by its own chance; a score is the mean of theirs.

    Features stand in ``inputs`` once. So do clinical columns, though each member fills a missing value in with what its
    own training patients had: where members differ, a column ``<name>_missing`` tells them. What the image branch of a
    member says of a lesion stands there under the member's name, ``1__image_0``.

    Attributes:
        members: By number, from ``1``.
    """

    members: Mapping[str, Frozen]

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any], load_member: LoadMember) -> Self:
        """Read what ``save`` wrote, given its description and what reads a member."""
        return cls({name: load_member(folder / name, of_member) for name, of_member in card["members"].items()})

    def save(self, folder: Path) -> dict[str, Any]:
        """Write a folder for each member; return the description."""
        members = {}
        for name, one in self.members.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            members[name] = one.save(folder / name)
        first = next(iter(members.values()))
        alike = {key: first[key] for key in ("inputs", "clinical", "regions", "aggregate")}
        return {"predictor": "ensemble", "members": members, **alike, "calibrated": False}

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions whose features it reads."""
        return self._first.regions

    @property
    def imaging(self) -> PatchSettings | None:
        """What the patches are that it reads, None for a model without."""
        return getattr(self._first, "imaging", None)

    @property
    def patches(self) -> Mapping[str, Any]:
        """How the patches that it learned from were cut; empty for a model without."""
        return getattr(self._first, "patches", {})

    @property
    def described(self) -> list[str]:
        """Names of the numbers by which the members' image branches describe a lesion."""
        return [name for one in self.members for name in self._described(one).values()]

    @cached_property
    def encoder(self) -> ClinicalEncoder | None:
        """Makes numbers of the clinical columns, of which each member's own can be told; None where it reads none."""
        encoders = [one.encoder for one in self.members.values() if one.encoder is not None]
        return joint_encoder(encoders) if encoders else None

    def selection(self) -> Mapping[str, Sequence[str]]:
        """Return the features that any member has left after each step that leaves some out, the first ``measured``."""
        found = [one.selection() for one in self.members.values()]
        return {
            step: [name for name in found[0]["measured"] if any(name in set(one[step]) for one in found)]
            for step in found[0]
        }

    def inputs(self, cohort: Cohort) -> pd.DataFrame:
        """Return what it reads of each patient, or of each lesion where members score lesions.

        Features, then what each member's image branch says of a patch, then the encoded clinical columns.
        """
        tables = {name: one.inputs(cohort) for name, one in self.members.items()}
        first = next(iter(tables.values()))
        own = [] if self._first.encoder is None else self._first.encoder.get_feature_names_out()
        blocks = [first.drop(columns=[*own, *self._described("1")])]
        blocks += [table[list(names := self._described(one))].rename(columns=names) for one, table in tables.items()]
        if self.encoder is not None:
            numbers = self.encoder.transform(cohort.clinical(self.encoder.columns_))
            clinical = pd.DataFrame(numbers, cohort.ids, self.encoder.get_feature_names_out())
            of_row = clinical.loc[first.index.get_level_values("patient_id")].set_index(first.index)
            of_row[first[own].isna().any(axis=1)] = np.nan  # of a patient of whom nothing is known
            blocks.append(of_row)
        return pd.concat(blocks, axis=1)

    def score(self, inputs: pd.DataFrame) -> np.ndarray:
        """Score rows as ``inputs`` gives them: one score per patient, in order of first appearance."""
        return np.mean([one.score(self._of_member(name, inputs)) for name, one in self.members.items()], axis=0)

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one; a weight is a mean too."""
        found = [one.predict(cohort) for one in self.members.values()]
        first = found[0]
        patients = first.patients[["score"]].assign(
            score=np.mean([one.patients["score"].to_numpy() for one in found], axis=0), probability=np.nan
        )
        lesions = first.lesions.assign(
            **{name: np.mean([one.lesions[name].to_numpy() for one in found], axis=0) for name in first.lesions}
        )
        own = {
            name: pd.Series(np.mean([one.own[name].to_numpy() for one in found], axis=0), scores.index)
            for name, scores in first.own.items()
        }
        return Prediction(patients, lesions, own=own)

    @property
    def _first(self) -> Frozen:
        return next(iter(self.members.values()))

    def _described(self, member: str) -> dict[str, str]:
        """Return what the numbers of a member's image branch are called here, by what he calls them."""
        return {name: f"{member}__{name}" for name in getattr(self.members[member], "described", ())}

    def _of_member(self, member: str, inputs: pd.DataFrame) -> pd.DataFrame:
        """Return rows as a member has them: features, what his image branch says, clinical columns as he fills them."""
        here = {name: one for one, name in self._described(member).items()}
        clinical = [] if self.encoder is None else self.encoder.get_feature_names_out()
        blocks = [inputs.drop(columns=[*clinical, *self.described]), inputs[list(here)].rename(columns=here)]
        if (own := self.members[member].encoder) is not None and self.encoder is not None:
            blocks.append(as_encoded_by(own, self.encoder, inputs[clinical]))
        return pd.concat(blocks, axis=1)


def joint_encoder(encoders: Sequence[ClinicalEncoder]) -> ClinicalEncoder:
    """Return one encoder of the same columns, from whose numbers those of each can be told (``as_encoded_by``).

    It knows every level that any of them knows. A column tells of missing values where any of them does, or where they
    fill in different ones.
    """
    first = encoders[0]
    joint = ClinicalEncoder(missing_indicators=True)
    joint.columns_, joint.fill_ = first.columns_, first.fill_
    joint.levels_ = {name: sorted({level for one in encoders for level in one.levels_[name]}) for name in first.levels_}
    joint.lacking_ = [
        name
        for name in first.columns_
        if any(name in one.lacking_ or one.fill_[name] != first.fill_[name] for one in encoders)
    ]
    return joint


def as_encoded_by(one: ClinicalEncoder, joint: ClinicalEncoder, numbers: pd.DataFrame) -> pd.DataFrame:
    """Return clinical columns as one encoder makes them, from what ``joint_encoder`` of it and others made of them."""
    made = {}
    for column in one.columns_:
        indicator = f"{column}_missing"
        missing = numbers[indicator] == 1 if column in joint.lacking_ else pd.Series(False, numbers.index)
        fill = one.fill_[column]
        if column in one.levels_:
            for level in one.levels_[column][1:]:
                made[f"{column}_{level}"] = numbers[f"{column}_{level}"].mask(missing, float(fill == level))
        else:
            made[column] = numbers[column].mask(missing, fill)
        if column in one.lacking_:
            made[indicator] = numbers[indicator]
    return pd.DataFrame(made, index=numbers.index)
