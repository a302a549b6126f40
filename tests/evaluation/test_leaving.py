import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from radnet.evaluation.survival.leaving import influence_of_leaving, staying


@pytest.mark.parametrize("seed", range(3))
def test_staying_is_a_survival_curve_with_event_and_leaving_swapped(seed):
    rng = np.random.default_rng(seed)
    time, event = rng.exponential(5, size=50).round() + 1, rng.random(50) < 0.5
    theirs = KaplanMeierFitter().fit(time, ~event)

    stays = staying(time, event, events_leave_first=False)

    np.testing.assert_allclose([stays.at(t) for t in (0.5, 3, 4.5)], theirs.predict([0.5, 3, 4.5]))
    np.testing.assert_allclose(stays.before_own, theirs.predict(time - 1e-6))


def test_who_has_the_event_is_gone_before_others_leave():
    # at 2 one has the event and one leaves: of the three there, two remain to leave, or three
    time, event = np.array([1.0, 2, 2, 3]), np.array([True, True, False, False])

    assert staying(time, event, events_leave_first=True).at(2) == pytest.approx(1 / 2)
    assert staying(time, event, events_leave_first=False).at(2) == pytest.approx(2 / 3)


def test_staying_times_survival_is_the_share_still_followed():
    rng = np.random.default_rng(4)
    time, event = rng.exponential(5, size=60).round() + 1, rng.random(60) < 0.5
    alive = KaplanMeierFitter().fit(time, event)

    stays = staying(time, event, events_leave_first=True)

    for t in (2, 4, 6):
        assert stays.at(t) * alive.predict(t) == pytest.approx(np.mean(time > t))


# what timeROC does row by row where times tie is held by its own standard errors
@pytest.mark.parametrize(
    ("rounded", "row_by_row"),
    [(False, True), (False, False), (True, False)],
    ids=["row by row", "together", "together, ties"],
)
def test_influence_is_the_martingale_of_leaving_written_slowly(rounded, row_by_row):
    rng = np.random.default_rng(5)
    time, event = rng.exponential(5, size=30), rng.random(30) < 0.5
    if rounded:
        time = time.round() + 1
    credit, last = np.where(event, rng.random(30), 0.0), np.inf
    slowly = np.zeros(30)
    for k in range(30):
        for t, of in zip(time, credit, strict=True):
            hazard = 0.0
            for u in np.unique(time[~event]):
                if u >= t:  # the weight at an event knows what happened just before it
                    continue
                there = (time >= u).sum() / 30
                left = (~event & (time == u)).sum() / (time >= u).sum()
                hazard += ((~event[k] & (time[k] == u)) - (time[k] >= u) * left) / there
            slowly[k] += of * hazard

    np.testing.assert_allclose(influence_of_leaving(time, event, credit, last, row_by_row=row_by_row), slowly)
