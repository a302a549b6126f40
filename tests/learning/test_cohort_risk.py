import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

torch = pytest.importorskip("torch", reason="training needs the extra train")

from radnet.learning.cohort_risk import CohortRisk  # noqa: E402
from radnet.learning.losses import MultiTaskLoss, Task, cox_loss, response_loss  # noqa: E402

TIES = pytest.mark.parametrize("ties", ["efron", "breslow"])


def cohort(n=30, seed=0):
    """Scores, events and tied times."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    time = np.ceil(rng.exponential(8 * np.exp(-score)))
    return torch.tensor(score), (rng.random(n) < 0.6).astype(float), time


def batch(event, time, place):
    return {"event": torch.tensor(event[place]), "time": torch.tensor(time[place]), "place": torch.tensor(place)}


def up_to_date(event, time, score, ties="efron"):
    """The loss after all patients were scored."""
    loss = CohortRisk(event, time, ties)
    loss(score, batch(event, time, np.arange(len(event))))
    return loss


def close(found, expected):
    """Latest scores are kept in single precision."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, check_dtype=False)


@TIES
def test_a_batch_of_everybody_has_the_likelihood_of_the_cohort(ties):
    score, event, time = cohort()
    everybody = batch(event, time, np.arange(30))

    close(CohortRisk(event, time, ties)(score[:, None], everybody), cox_loss(score, everybody, ties))


@TIES
@pytest.mark.parametrize("seed", range(3))
def test_where_all_other_scores_are_up_to_date_the_gradient_is_that_of_the_whole_likelihood(seed, ties):
    score, event, time = cohort(seed=seed)
    whole = score.clone().requires_grad_()
    cox_loss(whole, batch(event, time, np.arange(30)), ties).backward()
    loss = up_to_date(event, time, score, ties)

    for place in np.random.default_rng(seed).permutation(30).reshape(6, 5):
        live = score[place].clone().requires_grad_()
        value = loss(live, batch(event, time, place))
        value.backward()

        close(value, cox_loss(score, batch(event, time, np.arange(30)), ties))
        close(live.grad, whole.grad[place])


def test_a_batch_without_an_event_learns_from_the_events_of_others():
    score, event, time = cohort()
    free = np.flatnonzero(event == 0)[:4]
    live = score[free].clone().requires_grad_()

    up_to_date(event, time, score)(live, batch(event, time, free)).backward()

    # by hand, Breslow's risk sets parted among tied events as Efron does: d/ds_j = Σ over events of j's share at risk
    hazard, expected = np.exp(score.numpy()), np.zeros(4)
    for at in np.unique(time[event == 1]):
        tied = (time == at) & (event == 1)
        for earlier in range(tied.sum()):
            at_risk = hazard[time >= at].sum() - earlier / tied.sum() * hazard[tied].sum()
            expected += np.where(time[free] >= at, hazard[free] / at_risk, 0.0)
    close(live.grad, torch.tensor(expected / event.sum()))
    assert (live.grad > 0).any()


def test_a_first_batch_without_an_event_already_learns():
    _, event, time = cohort()
    free = np.flatnonzero(event == 0)[:4]
    live = torch.tensor([0.3, -0.2, 0.1, 0.0], requires_grad=True)

    CohortRisk(event, time)(live, batch(event, time, free)).backward()

    assert live.grad.isfinite().all()
    assert (live.grad > 0).any()


def test_patients_not_scored_yet_stand_at_the_mean_of_those_who_were():
    score, event, time = cohort()
    some = np.arange(10)
    filled = torch.full((30,), score[:10].mean().item(), dtype=torch.float64)
    filled[:10] = score[:10]

    found = CohortRisk(event, time)(score[:10], batch(event, time, some))

    close(found, cox_loss(filled, batch(event, time, np.arange(30))))


def test_a_constant_added_to_every_score_changes_nothing():
    score, event, time = cohort()
    some = np.arange(8)

    found = CohortRisk(event, time)(score[:8] + 100, batch(event, time, some))

    close(found, CohortRisk(event, time)(score[:8], batch(event, time, some)))


def test_patients_whose_endpoint_is_unknown_are_as_if_they_were_not_there():
    score, event, time = cohort()
    more_event, more_time = np.append(event, [np.nan, np.nan]), np.append(time, [3.0, np.nan])
    more_score = torch.cat([score, torch.tensor([50.0, 50.0])])

    found = CohortRisk(more_event, more_time)(more_score, batch(more_event, more_time, np.arange(32)))

    close(found, cox_loss(score, batch(event, time, np.arange(30))))


def test_in_evaluation_a_batch_is_a_cohort_of_its_own_and_nothing_is_remembered():
    score, event, time = cohort()
    loss = up_to_date(event, time, score).eval()
    valid_score, valid_event, valid_time = cohort(12, seed=5)
    valid = {"event": torch.tensor(valid_event), "time": torch.tensor(valid_time)}
    before = loss.score.clone()

    found = loss(valid_score, valid)

    assert found == cox_loss(valid_score, valid)
    assert torch.equal(loss.score, before)


def test_what_is_remembered_is_kept_with_the_state():
    score, event, time = cohort()
    loss, again = up_to_date(event, time, score), CohortRisk(event, time)

    again.load_state_dict(loss.state_dict())

    some = batch(event, time, np.arange(6))
    assert torch.equal(again(score[:6] + 1, some), loss(score[:6] + 1, some))


def test_small_batches_arrive_where_lifelines_does():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 2))
    time = np.ceil(rng.exponential(10 * np.exp(-X @ [0.8, -0.5])))
    event = (rng.random(60) < 0.3).astype(float)
    table = pd.DataFrame(X).assign(time=time, event=event)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = CoxPHFitter().fit(table, "time", "event").params_.to_numpy()
    loss, beta = CohortRisk(event, time), torch.zeros(2, dtype=torch.float64, requires_grad=True)
    without = 0

    for epoch in range(150):
        for place in rng.permutation(60).reshape(12, 5):
            without += not event[place].any()
            value = loss(torch.tensor(X[place]) @ beta, batch(event, time, place))
            (gradient,) = torch.autograd.grad(value, beta)
            with torch.no_grad():
                beta -= 0.5 / (1 + epoch / 10) * gradient

    assert without > 200  # batches that had no event
    np.testing.assert_allclose(beta.detach().numpy(), theirs, atol=0.02)


def test_as_one_of_several_tasks_it_is_told_only_of_patients_whose_endpoint_is_known():
    score, event, time = cohort()
    event[[2, 3]] = np.nan
    both = {
        "event": torch.column_stack([torch.ones(8), torch.tensor(event[:8])]),
        "time": torch.column_stack([torch.full((8,), torch.nan), torch.tensor(time[:8])]),
        "place": torch.arange(8),
    }
    tasks = {"response": Task(response_loss, 0.0), "pfs": Task(CohortRisk(event, time), 1.0)}
    known = np.array([0, 1, 4, 5, 6, 7])

    whole = MultiTaskLoss(tasks).train()
    found = whole(torch.column_stack([score[:8], score[:8]]), both)

    close(found, CohortRisk(event, time)(score[known], batch(event, time, known)))
    assert {"remembering.pfs.score", "remembering.pfs.scored"} == set(whole.state_dict())
    assert not whole.eval().remembering["pfs"].training


PROCESS = """
import sys
import numpy as np
import torch
import torch.distributed as dist
from radnet.learning.cohort_risk import CohortRisk

rank, meeting, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
given = np.load(sys.argv[4])
place = np.arange(rank * 5, 12 if rank else 5)  # of 5 and of 7 patients
live = torch.tensor(given["score"][place], requires_grad=True)
CohortRisk(given["event"], given["time"])(live, {"place": torch.tensor(place)}).backward()
np.save(out + str(rank), live.grad.numpy() / 2)  # as averaged over processes
dist.destroy_process_group()
"""


def test_in_several_processes_gradients_are_those_of_one(tmp_path):
    if not torch.distributed.is_available():
        pytest.skip("torch was built without processes")
    score, event, time = cohort()
    np.savez(tmp_path / "given.npz", score=score.numpy(), event=event, time=time)
    told = [str(tmp_path / "meeting"), str(tmp_path / "gradient"), str(tmp_path / "given.npz")]
    running = [subprocess.Popen([sys.executable, "-c", PROCESS, str(rank), *told]) for rank in (0, 1)]
    live = score[:12].clone().requires_grad_()

    CohortRisk(event, time)(live, batch(event, time, np.arange(12))).backward()

    assert [one.wait(timeout=120) for one in running] == [0, 0]
    found = np.concatenate([np.load(tmp_path / f"gradient{rank}.npy") for rank in (0, 1)])
    np.testing.assert_allclose(found, live.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_the_same_patient_twice_in_a_batch_is_refused():
    score, event, time = cohort()

    with pytest.raises(ValueError, match="may be in a batch of the Cox loss once"):
        CohortRisk(event, time)(score[:3], batch(event, time, np.array([0, 1, 1])))


def test_a_batch_that_does_not_say_who_is_in_it_is_refused():
    score, event, time = cohort()
    told = batch(event, time, np.arange(30))
    del told["place"]

    with pytest.raises(ValueError, match="needs the place of each patient of a batch among all: 'place'"):
        CohortRisk(event, time)(score, told)


@pytest.mark.parametrize(
    ("event", "time", "message"),
    [
        ([0, 0], [1.0, 2.0], "none of 2 training patients had one"),
        ([1, 0], [1.0, 0.0], "must have a time above 0"),
        ([1, 0], [1.0, np.nan], "must have a time above 0"),
        ([1, 0, 1], [1.0, 2.0], r"equal length, got \(3,\) and \(2,\)"),
    ],
)
def test_outcomes_that_cannot_be_learned_from_are_refused(event, time, message):
    with pytest.raises(ValueError, match=message):
        CohortRisk(event, time)


def test_ties_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="ties=exact is unknown"):
        CohortRisk([1, 0], [1.0, 2.0], "exact")
