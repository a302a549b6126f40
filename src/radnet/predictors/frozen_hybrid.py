"""A fitted hybrid network: weights, what comes before it, and the scale of its scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dump
from torch import Tensor

from radnet.cohort import Cohort
from radnet.files import write_atomically
from radnet.imaging.patch import LesionChannel, PatchSettings
from radnet.learning.batch import Images
from radnet.learning.losses import cumulative_hazard
from radnet.models.attribution import attribution_table, lesions_to_show
from radnet.models.hybrid import HybridNetwork, Scored
from radnet.models.pipeline import ClinicalEncoder
from radnet.models.pooling import Aggregate
from radnet.predictors.base import Prediction, lesions_seen, measured_lesions, refuse_other_columns
from radnet.predictors.frozen import load_steps
from radnet.predictors.selection import features_left

Head = Literal["output", "log_cumulative_hazard"]
"""What of a network's outputs is an endpoint's score: the only one, or the hazards of intervals added up."""

_AT_ONCE = 16  # lesions described, or patients scored, in one pass


class EndpointHead(NamedTuple):
    """The outputs of a network that are an endpoint's, and the mean and spread of its score in training."""

    outputs: int
    head: Head
    location: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True)
class FrozenHybrid:
    """A hybrid network and the steps before it, fitted.

    Each endpoint's score is that of its own outputs, in standard deviations of the training patients' scores.

    What the image branch says of a lesion depends on his patch alone. ``inputs`` gives that, ``image_0`` and on, beside
    features and clinical columns, so that a table holds all that the rest of the network reads. A branch that a lesion
    or patient lacks is NaN there.

    Attributes:
        network: In evaluation mode, on the CPU.
        arguments: What it was made with.
        heads: By endpoint, the one learned first.
        prepare: Transformers of the features; None without.
        encoder: Makes numbers of the clinical columns; None without.
        scale: Standardises these numbers; None without.
        columns: Features in order.
        clinical: Columns of clinical.csv that enter.
        regions: Regions whose features enter.
        aggregate: Rule by which the network pools lesions.
        imaging: What patches are; None for a network that reads none.
        patches: ``first_channel`` on which those of training were cut, and the ``format`` they have; empty for a
            network that reads none, and where this is not known.
    """

    network: HybridNetwork
    arguments: Mapping[str, Any]
    heads: Mapping[str, EndpointHead]
    prepare: Pipeline | None
    encoder: ClinicalEncoder | None
    scale: StandardScaler | None
    columns: list[str]
    clinical: tuple[str, ...]
    regions: tuple[str, ...]
    aggregate: Aggregate
    imaging: PatchSettings | None
    patches: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any]) -> Self:
        """Read what ``save`` wrote, given its description.

        Raises:
            ValueError: If no network can be made of the description, or the weights do not fit it.
        """
        try:
            network = HybridNetwork(**card["network_arguments"])
            heads = {name: EndpointHead(**told) for name, told in card["heads"].items()}
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / 'model.json'}: no hybrid network can be made of it: {error}") from error
        if unknown := sorted({one.head for one in heads.values()} - set(get_args(Head))):
            raise ValueError(f"{folder / 'model.json'}: heads of an unknown kind: {', '.join(unknown)}")
        try:
            network.load_state_dict(load_file(folder / "network.safetensors"))
        except Exception as error:
            raise ValueError(f"{folder / 'network.safetensors'}: not the weights of this network: {error}") from error
        return cls(
            network=network.eval(),
            arguments=card["network_arguments"],
            heads=heads,
            prepare=load_steps(folder / "prepare.skops") if card["regions"] else None,
            encoder=load_steps(folder / "clinical.skops") if card["clinical"] else None,
            scale=load_steps(folder / "clinical_scale.skops") if card["clinical"] else None,
            columns=list(card["inputs"]),
            clinical=tuple(card["clinical"]),
            regions=tuple(card["regions"]),
            aggregate=card["aggregate"],
            imaging=PatchSettings.from_described(card["imaging"]) if card["imaging"] else None,
            patches=card.get("patches", {}),  # a model saved before they were told has none
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write ``network.safetensors`` and the steps before it as .skops; return the description."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        write_atomically(folder / "network.safetensors", lambda path: save_file(weights, path))
        steps = {"prepare": self.prepare, "clinical": self.encoder, "clinical_scale": self.scale}
        for name, step in steps.items():
            if step is not None:
                write_atomically(folder / f"{name}.skops", lambda path, step=step: dump(step, path))  # type: ignore[misc]
        return {
            "predictor": "hybrid",
            "network_arguments": dict(self.arguments),
            "heads": {name: one._asdict() for name, one in self.heads.items()},
            "inputs": self.columns,
            "clinical": list(self.clinical),
            "regions": list(self.regions),
            "aggregate": self.aggregate,
            "imaging": None if self.imaging is None else self.imaging.described(),
            "patches": dict(self.patches),
            "calibrated": False,
        }

    @property
    def endpoint(self) -> str:
        """The endpoint learned."""
        return next(iter(self.heads))

    @property
    def described(self) -> list[str]:
        """Names of the numbers by which the image branch describes a lesion."""
        return [f"image_{place}" for place in range(self.arguments["embedding"])] if self.imaging else []

    def scaled_on(self, train: Cohort) -> Self:
        """Return the same network with its scores on the scale of these patients."""
        unscaled = replace(
            self, heads={name: one._replace(location=0.0, spread=1.0) for name, one in self.heads.items()}
        )
        scores = unscaled._scores(unscaled.inputs(train)).patients
        heads = {
            name: one._replace(location=float(scores[name].mean()), spread=float(scores[name].std()) or 1.0)
            for name, one in self.heads.items()
        }
        return replace(self, heads=heads)

    def selection(self) -> Mapping[str, Sequence[str]]:
        """Return the features left after each step that leaves some out, the first ``measured``; empty without such."""
        return {} if self.prepare is None else features_left(self.prepare, self.columns)

    def inputs(self, cohort: Cohort) -> pd.DataFrame:
        """Return what is read of each lesion seen, indexed by (patient_id, lesion_id), patients in the cohort's order.

        Features, then ``described`` of his patch, then the encoded clinical columns of the patient.

        Raises:
            ValueError: If a patient has neither a measured lesion nor a patch, or features are not those of training.
        """
        rows = network_inputs(cohort, self.regions, self.imaging is not None)
        if self.prepare is not None:
            refuse_other_columns(list(rows.columns), self.columns)
        patients = rows.index.get_level_values("patient_id")
        blocks = [rows]
        if self.imaging is not None:
            said = np.nan if cohort.patches is None else self._described(patches_of(cohort, rows.index))
            blocks.append(pd.DataFrame(said, rows.index, self.described))
        if self.encoder is not None:
            encoded = encoded_clinical(cohort, self.clinical, self.encoder)
            of_lesion = encoded.loc[patients].set_index(rows.index)
            blocks.append(of_lesion)
        return pd.concat(blocks, axis=1)

    def score(self, inputs: pd.DataFrame) -> np.ndarray:
        """Score rows as ``inputs`` gives them: one score per patient, in order of first appearance."""
        return self._scores(inputs).patients[self.endpoint]

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        inputs = self.inputs(cohort)
        scores = self._scores(inputs)
        index = pd.Index(cohort.ids, name="patient_id")
        first, *others = self.heads
        patients = pd.DataFrame({"score": scores.patients[first], "probability": np.nan}, index=index)
        lesions = pd.DataFrame({"score": scores.lesions[first], "weight": scores.weight}, index=inputs.index)
        return Prediction(patients, lesions, own={name: pd.Series(scores.patients[name], index) for name in others})

    def attribution(self, cohort: Cohort) -> pd.DataFrame:
        """Return ``attribution.csv``: where in the patches of a few lesions the intensities move a lesion's score.

        Shown are the lesions of highest, middle and lowest score among those that weigh most in their patients.
        Features of the lesion and clinical values stay as they are.

        Raises:
            ValueError: If the model reads no patch, its patches do not tell where the lesion is, or nobody has one.
        """
        where = [
            name for name, one in (self.imaging.channels if self.imaging else {}).items() if type(one) is LesionChannel
        ]
        if not where:
            raise ValueError("a picture needs patches, and a channel in them that tells where the lesion is")
        inputs = self.inputs(cohort)
        inputs = inputs[inputs[self.described].notna().all(axis=1)]
        if inputs.empty:
            raise ValueError("no lesion has a patch")
        lesions = self.predict(cohort).lesions.loc[inputs.index]
        heaviest = lesions["weight"].groupby(level="patient_id", sort=False).idxmax()
        roles = lesions_to_show(lesions.loc[heaviest, "score"])
        shown = inputs.loc[[heaviest.iloc[place] for place in roles]]
        images = patches_of(cohort, shown.index)
        image = images.read(range(len(images.places)))[:, 0].float()
        lesion = image[:, list(images.table.channels).index(where[0])] == 1
        return attribution_table(self._alone(shown), image, images.table.channels, lesion, list(roles.values()))

    def _alone(self, inputs: pd.DataFrame) -> Callable[[Tensor], Tensor]:
        """Return what gives the scores of lesions, each as if it were the patient's only one, from their patches."""
        encoded = [] if self.encoder is None else self.encoder.get_feature_names_out()
        features = prepared_features(self.prepare, inputs[self.columns], self.arguments["n_features"])
        of_features, here = (
            torch.from_numpy(one) for one in (features, standardised(inputs[encoded].to_numpy(float), self.scale))
        )
        head = self.heads[self.endpoint]

        def score(image: Tensor) -> Tensor:
            present = torch.ones(len(image), 1, dtype=torch.bool)
            scored = self.network(
                of_features.nan_to_num()[:, None],
                present,
                here.nan_to_num(),
                image[:, None],
                _holds_numbers(of_features[:, None]),
                present,
                ~here.isnan().any(dim=1),
            )
            return _raw_score(scored.output[:, : head.outputs], head) / head.spread - head.location / head.spread

        return score

    def _described(self, images: Images) -> NDArray[np.float64]:
        """Return what the image branch says of each lesion, shape (lesions, E), NaN of one without a patch."""
        places = np.concatenate(images.places)
        said = np.full((len(places), len(self.described)), np.nan)
        (there,) = np.nonzero(places >= 0)
        array = images.table.array()
        with torch.inference_mode():
            for some in np.array_split(there, max(1, -(-len(there) // _AT_ONCE))):
                if len(some):
                    patches = np.stack([array[place] for place in places[some]]).astype(np.float32)
                    said[some] = self.network.branches["image"](torch.from_numpy(patches)).numpy()
        return said

    def _scores(self, inputs: pd.DataFrame) -> "_Scores":
        owner, patients = pd.factorize(inputs.index.get_level_values("patient_id"))
        assert (np.diff(owner) >= 0).all()  # the lesions of a patient stand next to each other
        encoded = [] if self.encoder is None else self.encoder.get_feature_names_out()
        of_patient = inputs[encoded].to_numpy(dtype=float)[np.searchsorted(owner, np.arange(len(patients)))]
        clinical = torch.from_numpy(standardised(of_patient, self.scale))
        features = prepared_features(self.prepare, inputs[self.columns], self.arguments["n_features"])
        image = inputs[self.described].to_numpy(dtype=np.float32)
        told: list[Scored] = []
        with torch.inference_mode():
            for start in range(0, len(patients), _AT_ONCE):
                some = (owner >= start) & (owner < start + _AT_ONCE)
                rows = owner[some] - start
                place = pd.Series(rows).groupby(rows).cumcount().to_numpy()
                there = [_padded(one[some], rows, place) for one in (np.ones((len(owner), 1)), features, image)]
                present, of_features, of_image = there
                here = clinical[start : start + _AT_ONCE]
                told.append(
                    self.network(
                        of_features.nan_to_num(),
                        present[..., 0] == 1,
                        here.nan_to_num(),
                        of_image.nan_to_num() if self.imaging else None,
                        _holds_numbers(of_features),
                        _holds_numbers(of_image) if self.imaging else None,
                        ~here.isnan().any(dim=1),
                    )
                )
                keep = torch.from_numpy(rows), torch.from_numpy(place)
                told[-1] = told[-1]._replace(
                    lesion_weight=told[-1].lesion_weight[keep], lesion_output=told[-1].lesion_output[keep]
                )
        output, weight, alone = (torch.cat(parts).double() for parts in zip(*told, strict=True))
        return _Scores(self._of_heads(output), self._of_heads(alone), weight.numpy())

    def _of_heads(self, output: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return the score of each endpoint, shape (rows,), of outputs of shape (rows, T)."""
        scores, start = {}, 0
        for name, one in self.heads.items():
            own = output[:, start : start + one.outputs]
            start += one.outputs
            scores[name] = (_raw_score(own, one).numpy() - one.location) / one.spread
        return scores


class _Scores(NamedTuple):
    patients: dict[str, NDArray[np.float64]]  # by endpoint, (patients,)
    lesions: dict[str, NDArray[np.float64]]  # by endpoint, (lesions,)
    weight: NDArray[np.float64]  # (lesions,)


def _raw_score(own: Tensor, head: EndpointHead) -> Tensor:
    """Return an endpoint's score, shape (rows,), of its own outputs, shape (rows, T), on the network's scale."""
    return own[:, 0] if head.head == "output" else cumulative_hazard(own).log()


def network_inputs(cohort: Cohort, regions: Sequence[str], reads_patches: bool) -> pd.DataFrame:
    """Return the features of the lesions seen, indexed by (patient_id, lesion_id), NaN where not measured.

    Raises:
        ValueError: If a patient has neither a measured lesion nor a patch, or the cohort none of what is read.
    """
    if regions and cohort.features is None:
        raise ValueError("this model reads radiomics features and the cohort has none: run `radnet extract` first")
    if reads_patches and cohort.patches is None and not regions:
        raise ValueError("this model reads patches of images and the cohort has none")
    seen = lesions_seen(cohort, regions, reads_patches)
    if absent := [patient for patient in cohort.ids if patient not in set(seen.get_level_values("patient_id"))]:
        raise ValueError(f"no lesion of {len(absent)} patients can be read, such as {absent[0]}")
    if not regions:
        return pd.DataFrame(index=seen)
    return measured_lesions(cohort, regions).reindex(seen)


def how_cut(cohort: Cohort) -> dict[str, Any]:
    """Return ``first_channel`` and ``format`` of a cohort's patches; empty without patches, or where not known."""
    provenance = {} if cohort.patches is None else cohort.patches.provenance
    return {key: provenance[key] for key in ("first_channel", "format") if key in provenance}


def patches_of(cohort: Cohort, lesions: pd.MultiIndex) -> Images:
    """Return the patches of these lesions, in their order, those of a patient next to each other."""
    assert cohort.patches is not None
    rows = cohort.patches.rows
    there = dict(zip(zip(rows["patient_id"], rows["lesion_id"], strict=True), rows["place"], strict=True))
    keys: dict[str, list[tuple[str, str]]] = {}
    for patient, lesion in lesions:
        keys.setdefault(patient, []).append((patient, lesion))
    places = [np.array([there.get(one, -1) for one in of_patient], dtype=np.int64) for of_patient in keys.values()]
    return Images(cohort.patches, list(keys.values()), places)


def encoded_clinical(cohort: Cohort, columns: tuple[str, ...], encoder: ClinicalEncoder) -> pd.DataFrame:
    """Return clinical columns as numbers, indexed by patient_id; NaN throughout for a patient of whom none is known."""
    table = cohort.clinical(columns)
    known = table.notna().any(axis=1).to_numpy()
    numbers = np.where(known[:, None], encoder.transform(table), np.nan)
    return pd.DataFrame(numbers, index=table.index, columns=encoder.get_feature_names_out())


def standardised(numbers: NDArray[np.float64], scale: StandardScaler | None) -> NDArray[np.float32]:
    """Return encoded clinical values as the network takes them; NaN stays."""
    return (numbers if scale is None else scale.transform(numbers)).astype(np.float32)


def prepared_features(steps: Pipeline | None, table: pd.DataFrame, width: int | None = None) -> NDArray[np.float32]:
    """Return features as the network takes them, shape (rows, F); a lesion that was not measured is a row of NaN.

    Args:
        steps: Fitted; None gives no features.
        table: A row per lesion.
        width: F, where no lesion may be measured.
    """
    if steps is None:
        return np.zeros((len(table), 0), dtype=np.float32)
    measured = table.notna().any(axis=1).to_numpy()
    if not measured.any():
        return np.full((len(table), width or 0), np.nan, dtype=np.float32)
    made = np.asarray(steps.transform(table[measured]), dtype=np.float32)
    values = np.full((len(table), made.shape[1]), np.nan, dtype=np.float32)
    values[measured] = made
    return values


def _padded(values: NDArray, patient: NDArray, place: NDArray) -> Tensor:
    """Return values of lesions, shape (lesions, W), as (patients, most lesions, W), NaN where no lesion is."""
    shape = (int(patient.max()) + 1, int(place.max()) + 1, values.shape[1])
    padded = np.full(shape, np.nan, dtype=np.float32)
    padded[patient, place] = values
    return torch.from_numpy(padded)


def _holds_numbers(padded: Tensor) -> Tensor:
    """Return which places hold numbers, shape (patients, lesions); none where there is nothing to hold."""
    return ~padded.isnan().any(dim=2) if padded.shape[2] else torch.zeros(padded.shape[:2], dtype=torch.bool)
