import json
import math
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter

torch = pytest.importorskip("torch", reason="training needs the extra train")

from radnet.learning.cohort_risk import CohortRisk  # noqa: E402
from radnet.learning.losses import (  # noqa: E402
    MultiTaskLoss,
    Task,
    cox_loss,
    cumulative_hazard,
    discrete_hazard,
    discrete_hazard_loss,
    focal_loss,
    interval_cuts,
    response_loss,
    survival_curve,
)
from survival_oracle import COX, of_cox, of_r  # noqa: E402


@pytest.fixture
def case(request, shared):
    """A case computed by R, asked for as (file, id)."""
    file, name = request.param
    cases = json.loads((shared / "oracles" / file).read_text(encoding="utf-8"))["cases"]
    return next(case for case in cases if case["id"] == name)


def tensor(values):
    return torch.tensor(np.asarray(values, dtype=float))


def outcome(event, time=None):
    return {"event": tensor(event), "time": tensor(np.full(len(event), np.nan) if time is None else time)}


def followed(n=40, seed=0):
    """Scores and tied outcomes."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    return tensor(score), outcome(rng.random(n) < 0.6, np.ceil(rng.exponential(10 * np.exp(-score))))


LOGITS = tensor([-3.0, -0.4, 0.0, 0.7, 5.0, 0.2])
RESPONSE = outcome([0, 1, 1, 0, 1, 0])


def gradients_hold(loss, output):
    return torch.autograd.gradcheck(loss, output.detach().clone().requires_grad_())


@pytest.mark.parametrize("positive_weight", [1.0, 2.5])
def test_the_response_loss_is_the_cross_entropy_by_hand(positive_weight):
    chance, event = 1 / (1 + np.exp(-LOGITS.numpy())), RESPONSE["event"].numpy()
    by_hand = -np.mean(positive_weight * event * np.log(chance) + (1 - event) * np.log(1 - chance))

    assert response_loss(LOGITS, RESPONSE, positive_weight).item() == pytest.approx(by_hand, rel=1e-12)
    assert response_loss(LOGITS[:, None], RESPONSE, positive_weight).item() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("positive_weight", [1.0, 2.5])
def test_the_focal_loss_with_gamma_0_is_the_response_loss(positive_weight):
    found = focal_loss(LOGITS, RESPONSE, gamma=0.0, positive_weight=positive_weight)

    assert found.item() == pytest.approx(response_loss(LOGITS, RESPONSE, positive_weight).item(), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_the_focal_loss_equals_monais(gamma):
    losses = pytest.importorskip("monai.losses", reason="the oracle is MONAI's focal loss")

    theirs = losses.FocalLoss(gamma=gamma)(LOGITS[:, None], RESPONSE["event"][:, None])

    assert focal_loss(LOGITS, RESPONSE, gamma).item() == pytest.approx(theirs.item(), rel=1e-6)


def test_the_gradient_of_the_focal_loss_is_that_of_finite_differences_and_finite_far_out():
    far = tensor([-800.0, 800.0, 800.0, -800.0, 0.0, 0.0]).requires_grad_()

    focal_loss(far, RESPONSE).backward()

    assert gradients_hold(lambda it: focal_loss(it, RESPONSE, 1.5, 2.0), LOGITS)
    assert far.grad.isfinite().all()


def test_a_gamma_below_0_is_refused():
    with pytest.raises(ValueError, match="0 or more, got -1"):
        focal_loss(LOGITS, RESPONSE, gamma=-1)


@pytest.mark.parametrize("loss", [response_loss, focal_loss, cox_loss])
def test_a_loss_of_one_number_refuses_a_network_of_several(loss):
    with pytest.raises(ValueError, match=r"takes one number of each patient, and the network gives \(3,\): set n_out"):
        loss(torch.zeros(2, 3), outcome([1, 0], [1.0, 2.0]))


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@of_r(*COX)
def test_the_cox_loss_is_the_log_likelihood_of_coxph_at_its_estimate_and_at_none(case, ties):
    time, event, X, names = of_cox(case)
    theirs = case["outputs"][ties]
    beta = tensor([theirs["coef"][name] for name in names]).requires_grad_()
    given, events = outcome(event, time), event.sum()

    estimate = cox_loss(tensor(X) @ beta, given, ties)
    estimate.backward()

    assert -estimate.item() * events == pytest.approx(theirs["loglik"], rel=1e-9)
    assert -cox_loss(torch.zeros(len(time)), given, ties).item() * events == pytest.approx(
        theirs["loglik_null"], rel=1e-6
    )
    # at its top the likelihood is level: less than a millionth of a standard error away
    information = 1 / np.array([theirs["se"][name] for name in names])
    np.testing.assert_array_less(np.abs(beta.grad.numpy()) * events, 1e-4 * information)


def test_the_cox_loss_of_tied_events_is_the_log_likelihood_of_lifelines():
    score, given = followed()
    table = pd.DataFrame({"score": score, "time": given["time"], "event": given["event"]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = CoxPHFitter().fit(table, "time", "event", fit_options={"precision": 1e-10})

    found = cox_loss(score * fit.params_["score"], given)

    assert -found.item() * table["event"].sum() == pytest.approx(fit.log_likelihood_, rel=1e-9)


def test_the_cox_loss_by_hand_of_two_events_at_one_time():
    # weights e^s: 2, 3 with the event at 1, 5 seen later. Efron: 2/10 · 3/(10 - 5/2); Breslow: 2/10 · 3/10
    score, given = tensor(np.log([2.0, 3.0, 5.0])), outcome([1, 1, 0], [1.0, 1.0, 4.0])

    assert cox_loss(score, given).item() == pytest.approx(-math.log(0.2 * 0.4) / 2, rel=1e-12)
    assert cox_loss(score, given, "breslow").item() == pytest.approx(-math.log(0.2 * 0.3) / 2, rel=1e-12)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_the_gradient_of_the_cox_loss_is_that_of_finite_differences_and_finite_far_out(ties):
    score, given = followed(20)
    far = (400 * score).requires_grad_()

    cox_loss(far, given, ties).backward()

    assert gradients_hold(lambda it: cox_loss(it, given, ties), score)
    assert far.grad.isfinite().all()


def test_a_cohort_without_an_event_is_refused_by_the_cox_loss():
    with pytest.raises(ValueError, match="needs an event, and none of 3 patients had one: set aside more patients"):
        cox_loss(torch.zeros(3), outcome([0, 0, 0], [1.0, 2.0, 3.0]))


def test_ties_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="ties=exact is unknown; choose one of efron, breslow"):
        cox_loss(torch.zeros(2), outcome([1, 0], [1.0, 2.0]), "exact")


@pytest.mark.parametrize("intervals", [1, 3, 5, 7])
def test_intervals_hold_the_events_evenly(intervals):
    rng = np.random.default_rng(2)
    time, event = rng.exponential(20, size=90), rng.random(90) < 0.5
    events = event.sum()

    cuts = interval_cuts(event, time, intervals)

    held, _ = np.histogram(-time[event], bins=-np.array([0.0, *cuts])[::-1])  # (begin, end]
    assert held.sum() == events
    assert set(held) <= {events // intervals, -(-events // intervals)}
    assert set(cuts) <= set(time[event])


def test_events_at_too_few_times_for_the_intervals_are_told():
    with pytest.raises(ValueError, match="4 events at 2 times fill no 3 intervals: set n_outputs and intervals to 2"):
        interval_cuts([1, 1, 1, 1, 0], [3.0, 3.0, 3.0, 8.0, 9.0], 3)


def test_intervals_without_an_event_are_refused():
    with pytest.raises(ValueError, match="no training patient had one"):
        interval_cuts([0, 0], [3.0, 4.0], 2)


CUTS = (2.0, 4.0, 8.0)


@pytest.mark.parametrize(
    ("event", "time", "survived", "ended"),
    [
        (1, 1.0, [0, 0, 0], [1, 0, 0]),
        (1, 2.0, [0, 0, 0], [1, 0, 0]),  # an interval holds its end
        (1, 3.9, [1, 0, 0], [0, 1, 0]),
        (1, 9.0, [1, 1, 1], [0, 0, 0]),  # beyond the last
        (0, 0.9, [0, 0, 0], [0, 0, 0]),
        (0, 1.0, [1, 0, 0], [0, 0, 0]),  # half of the first
        (0, 5.9, [1, 1, 0], [0, 0, 0]),
        (0, 6.0, [1, 1, 1], [0, 0, 0]),
    ],
)
def test_what_a_patient_tells_of_each_interval_by_hand(event, time, survived, ended):
    hazard = np.array([0.1, 0.2, 0.4])
    by_hand = -(np.array(survived) @ np.log(1 - hazard) + np.array(ended) @ np.log(hazard))

    found = discrete_hazard_loss(tensor(np.log(hazard / (1 - hazard)))[None], outcome([event], [time]), CUTS)

    assert found.item() == pytest.approx(by_hand, rel=1e-12, abs=1e-15)


def test_hazards_at_which_the_loss_is_level_give_kaplan_meiers_curve():
    # who leaves does so at the end of an interval, where the two count those at risk alike
    rng = np.random.default_rng(3)
    time, event = rng.choice([1.0, 2.0, 4.0, 4.5, 8.0], 60), rng.random(60) < 0.5
    time[~event] = rng.choice(CUTS, (~event).sum())
    event[time == 8.0] = False
    curve = KaplanMeierFitter().fit(time, event).predict([0.0, *CUTS]).to_numpy()
    hazard = (1 - curve[1:] / curve[:-1]).clip(1e-9)
    logits = tensor(np.log(hazard / (1 - hazard))).requires_grad_()

    discrete_hazard_loss(logits.expand(60, 3), outcome(event, time), CUTS).backward()

    np.testing.assert_allclose(logits.grad.numpy(), 0.0, atol=1e-8)
    np.testing.assert_allclose(survival_curve(logits[None].detach())[0], curve[1:], atol=1e-7)
    assert cumulative_hazard(logits[None].detach()).item() == pytest.approx(-math.log(curve[-1]), abs=1e-6)


def test_the_gradient_of_the_hazards_is_that_of_finite_differences():
    _, given = followed(12)

    assert gradients_hold(lambda it: discrete_hazard_loss(it, given, CUTS), torch.randn(12, 3, dtype=torch.float64))


def test_a_loss_of_hazards_cuts_its_intervals_by_the_training_patients():
    _, train = followed(50)
    output, given = torch.randn(40, 4, dtype=torch.float64), followed(40, seed=1)[1]

    found = discrete_hazard(train["event"], train["time"], 4)(output, given)

    assert found == discrete_hazard_loss(output, given, interval_cuts(train["event"], train["time"], 4))


def test_a_network_of_another_number_of_intervals_is_told():
    with pytest.raises(ValueError, match=r"gives \(2,\) numbers of 3 intervals: set n_outputs"):
        discrete_hazard_loss(torch.zeros(4, 2), followed(4)[1], CUTS)


def two_endpoints():
    """Response, then survival; of some patients one is unknown, of one both."""
    score, survival = followed(12)
    event = torch.column_stack([tensor(np.arange(12) % 2), survival["event"]])
    time = torch.column_stack([tensor(np.full(12, np.nan)), survival["time"]])
    event[[0, 1, 5], 0] = torch.nan
    event[[5, 7, 8], 1] = torch.nan
    return torch.column_stack([score, -score, score + 1]), {"event": event, "time": time}


def test_each_patient_counts_in_the_endpoints_that_are_known_of_him():
    output, given = two_endpoints()
    tasks = {
        "pfs": Task(cox_loss, 0.5),
        "response": Task(partial(response_loss, positive_weight=2.0), 3.0),
    }
    turned = {name: values.flip(1) for name, values in given.items()}

    found = MultiTaskLoss(tasks)(output[:, :2], turned)

    response, survival = ~given["event"][:, 0].isnan(), ~given["event"][:, 1].isnan()
    assert (response.sum(), survival.sum()) == (9, 9)
    expected = 0.5 * cox_loss(
        output[survival, 0], outcome(given["event"][survival, 1], given["time"][survival, 1])
    ) + 3.0 * response_loss(output[response, 1], outcome(given["event"][response, 0]), 2.0)
    torch.testing.assert_close(found, expected)


def test_a_task_may_have_several_outputs_of_its_own():
    output, given = two_endpoints()
    hazards = partial(discrete_hazard_loss, cuts=(4.0, 30.0))

    found = MultiTaskLoss({"response": Task(response_loss, 1.0), "pfs": Task(hazards, 1.0, outputs=2)})(output, given)

    response, survival = ~given["event"][:, 0].isnan(), ~given["event"][:, 1].isnan()
    expected = response_loss(output[response, 0], outcome(given["event"][response, 0])) + hazards(
        output[survival, 1:], outcome(given["event"][survival, 1], given["time"][survival, 1])
    )
    torch.testing.assert_close(found, expected)


def test_a_batch_of_which_nothing_is_known_adds_nothing_and_still_has_a_gradient():
    output, given = two_endpoints()
    output = output[[5], :2].requires_grad_()

    loss = MultiTaskLoss({"response": Task(response_loss, 1.0), "pfs": Task(cox_loss, 1.0)})(
        output, {name: values[[5]] for name, values in given.items()}
    )
    loss.backward()

    assert loss.item() == 0
    assert (output.grad == 0).all()


def test_tasks_that_do_not_fit_the_network_or_the_batch_are_told():
    output, given = two_endpoints()

    with pytest.raises(ValueError, match=r"2 tasks need outputs of shape \(12, 2\) .* got \(12, 3\) and \(12, 2\)"):
        MultiTaskLoss({"response": Task(response_loss, 1.0), "pfs": Task(cox_loss, 1.0)})(output, given)


@pytest.mark.parametrize(("weight", "outputs"), [(-1.0, 1), (1.0, 0)])
def test_a_task_that_cannot_be_is_refused(weight, outputs):
    with pytest.raises(ValueError, match="a task weighs 0 or more and has an output or more"):
        Task(response_loss, weight, outputs)


def test_a_loss_of_no_task_is_refused():
    with pytest.raises(ValueError, match="needs one at least"):
        MultiTaskLoss({})


def test_in_evaluation_a_task_by_cox_of_which_nobody_had_the_event_adds_nothing():
    outcomes = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    times = torch.tensor([[math.nan, 2.0], [math.nan, 3.0], [math.nan, 4.0]])
    output = torch.tensor([[0.5, 0.1], [-0.2, 0.3], [1.0, -0.4]])
    risk = CohortRisk([1.0, 0.0, 1.0], [1.0, 2.0, 3.0])
    both = MultiTaskLoss({"response": Task(response_loss, 1.0), "pfs": Task(risk, 0.5)}).eval()

    alone = response_loss(output[:, 0], {"event": outcomes[:, 0], "time": times[:, 0]})

    assert both(output, {"event": outcomes, "time": times}).item() == pytest.approx(alone.item(), rel=1e-6)
