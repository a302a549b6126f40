"""What a model owes to each of its branches: the same model without some of them, judged in the same folds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from radnet.cohort import Cohort
from radnet.falsification.judging import ControlScores, folds_of_all, kept_under
from radnet.files import config_folder
from radnet.predictors.base import History, Prediction, Predictor
from radnet.predictors.frozen_stack import unread_patients
from radnet.predictors.nested import MakeFolds, NestedPredictor, Once, Place, fit_name, own_endpoints
from radnet.predictors.reading import Reading

MakeOf = Callable[[Mapping[str, Any], Place, Path | None], Predictor]
"""Builds the untrained predictor that a model node names, for a place, which keeps its checkpoints in a file."""

_OF_IMAGES = ("imaging", "augment", "pretrain", "pretrained")  # keys that only an image branch reads


def ablations(model: Mapping[str, Any], endpoint_has_time: bool) -> dict[str, dict[str, Any]]:
    """Return what is left of a model with one branch alone, and with one left out.

    Branches are ``radiomics`` (features of regions), ``image`` (a network of patches) and ``clinical`` (columns of
    clinical.csv); of a stack its members, and ``clinical``, the columns beside their scores; of an ensemble those of
    its member, and what is left is an ensemble again. Of two branches, one alone is the model without the other, and
    stands once, as ``ablation_<branch>_alone``. Clinical columns alone are
    conf/model/logistic_clinical, with follow-up cox_clinical: a network of them alone would be another model again.

    Args:
        model: Node of a configuration, resolved.
        endpoint_has_time: Whether the endpoint learned has follow-up.

    Returns:
        Model nodes by name, ``ablation_<branch>_alone`` and ``ablation_without_<branch>``.

    Raises:
        ValueError: If the model has fewer than two branches, or a member of a stack is named as its clinical columns.
    """
    node = _plain(model)
    branches = _branches(node)
    if len(branches) < 2:
        has = f"{branches[0]} alone" if branches else "none"
        raise ValueError(
            f"ablation=true takes branches out, and the model has {has}: choose one of several branches (features, "
            "images, clinical columns) or a stack, or ablation=false"
        )
    keeping = partial(_keeping, node, endpoint_has_time=endpoint_has_time)
    made = {}
    for branch in branches:
        others = [one for one in branches if one != branch]
        made[f"ablation_{branch}_alone"] = keeping([branch])
        if len(others) > 1:
            made[f"ablation_without_{branch}"] = keeping(others)
    return made


def run_ablations(
    nodes: Mapping[str, Mapping[str, Any]],
    make: MakeOf,
    folds: MakeFolds,
    readings: Sequence[Reading],
    development: Cohort,
    judged: Cohort,
    once: Once,
    say: Callable[[str], None],
    progress: Callable[[int, int, str], None],
) -> Iterator[tuple[str, ControlScores]]:
    """Yield the predictions of each model out of fold and, where patients are held out, of these.

    Cut-offs and probabilities are learned on the out-of-fold scores, for the patients held out; a fold's scores have
    none, since there are no folds within it. What reads lesions is judged on the patients who have one that it can
    read, in the folds of all, and ``say`` is told how many are left out. A further endpoint that is read by a model's
    own score is left out of a model that has none. A model that cannot be run is told of and stops nothing.

    Args:
        nodes: Model nodes by name (``ablations``).
        make: Builds what a node names.
        folds: Folds over the development patients, those of the whole model.
        readings: How scores are read, on the endpoint learned first.
        development: Patients learned from.
        judged: Patients held out; may be empty.
        once: Keeps what a fit gave, here under the model's name.
        say: Is told of each model that could not be run, and why, and of patients left out.
        progress: Called with models done, models in all and the next one's name.
    """
    for done, (name, node) in enumerate(nodes.items()):
        progress(done, len(nodes), name)
        try:
            part, judged_here = (_read_by(make(node, (), None), one) for one in (development, judged))
            of_all = folds if len(part) == len(development) else folds_of_all(folds, development)
            kept = kept_under(once, name)
            found = list(_scores(partial(make, node), of_all, readings, part, judged_here, kept))
        except (ValueError, RuntimeError, ChildProcessError) as fault:
            say(f"{name}: not run: {fault}")
            continue
        everybody = len(development) + len(judged)
        if absent := everybody - len(part) - len(judged_here):
            say(f"{name}: {absent} of {everybody} patients have no lesion that it can read, and are left out")
        for one in found:
            yield name, one
    progress(len(nodes), len(nodes), "")


def _scores(
    make: Callable[[Place, Path | None], Predictor],
    folds: MakeFolds,
    readings: Sequence[Reading],
    development: Cohort,
    judged: Cohort,
    once: Once,
) -> Iterator[ControlScores]:
    owned = own_endpoints(make((), None))
    readable = [one for one in readings if one.risk != "own" or one.endpoint.name in owned]
    model = NestedPredictor(make, [folds], readable, once)
    for one in model.judge(development).out_of_fold:
        test = development.select(one.fold.test)
        yield ControlScores(test, one.prediction, "out_of_fold", one.fold.name, one.fold.repeat)

    def fit_and_predict(checkpoint: Path | None) -> tuple[Prediction, History]:
        model.freeze(development, checkpoint=checkpoint)
        return model.predict(judged), model.history

    if len(judged):
        prediction, _ = once(fit_name(()), fit_and_predict)
        yield ControlScores(judged, prediction, "held_out")


def _read_by(model: Predictor, cohort: Cohort) -> Cohort:
    unread = unread_patients(model, cohort)
    return cohort.where(lambda patient: patient.id not in unread)


def _branches(node: Mapping[str, Any]) -> list[str]:
    if member := node.get("member"):
        return _branches(member)
    if (node.get("make") or {}).get("model"):
        raise ValueError("ablation=true takes branches out, and not of a model that is tuned: write its values down")
    members = list(node.get("members") or {})
    if "clinical" in members and node.get("clinical"):
        raise ValueError("ablation: a member of the stack is named clinical, as the columns beside it: rename it")
    network = node.get("network") or {}
    there = {"radiomics": node.get("regions"), "image": network.get("cnn"), "clinical": node.get("clinical")}
    return members + [name for name, given in there.items() if given]


def _keeping(node: Mapping[str, Any], branches: Sequence[str], endpoint_has_time: bool) -> dict[str, Any]:
    """Return a model node with these of its branches."""
    if member := node.get("member"):
        left = _keeping(member, branches, endpoint_has_time)
        return left if list(branches) == ["clinical"] else {**node, "member": left}
    if list(branches) == ["clinical"]:
        return _clinical_alone(node, "cox_clinical" if endpoint_has_time else "logistic_clinical")
    changes: dict[str, Any] = {} if "clinical" in branches else {"clinical": []}
    if members := node.get("members"):
        kept = {name: one for name, one in members.items() if name in branches}
        if len(branches) == 1:
            (member,) = kept.values()
            return {key: value for key, value in member.items() if key != "_partial_"}
        return {**node, **changes, "members": kept}
    network: dict[str, Any] = {}
    if "radiomics" not in branches:
        changes |= {"regions": []}
        network |= {"radiomics": None}
    if "image" not in branches:
        changes |= {key: None for key in _OF_IMAGES if key in node}
        network |= {"cnn": None}
    if of_network := node.get("network"):
        changes["network"] = of_network | {key: value for key, value in network.items() if key in of_network}
    return {**node, **changes}


def _clinical_alone(node: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the node of conf/model of this name, on the same columns and endpoint."""
    model = OmegaConf.load(config_folder() / "model" / f"{name}.yaml")
    whole = OmegaConf.create({"endpoint": {"name": node["endpoint"]}, "model": model})
    return _plain(whole.model) | {"clinical": list(node["clinical"])}


def _plain(node: Mapping[str, Any]) -> dict[str, Any]:
    plain = OmegaConf.to_container(node if isinstance(node, DictConfig) else OmegaConf.create(dict(node)), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
