from dataclasses import replace

from radnet.report.headline import headlines


def test_a_survival_endpoint_is_headed_by_its_c_index(evaluation):
    assert [(headline.endpoint, headline.measure) for headline in headlines(evaluation)] == [
        ("response", "AUC"),
        ("pfs", "C-index"),
    ]


def test_a_result_without_counts_is_told_without_them(evaluation):
    uncounted = replace(evaluation, metrics=evaluation.metrics.assign(n=float("nan"), n_event=float("nan")))

    results = [result for headline in headlines(uncounted) for _, found in headline.models for result in found]

    assert {result.patients for result in results} == {""}


def test_only_an_evaluation_without_held_out_patients_is_warned_about(evaluation):
    unseen = evaluation.metrics[evaluation.metrics["partition"] != "held_out"]

    assert {headline.warning for headline in headlines(evaluation)} == {""}
    assert all("out-of-fold" in headline.warning for headline in headlines(replace(evaluation, metrics=unseen)))


def test_numbers_of_subgroups_lesions_and_horizons_are_no_headline(evaluation, grown):
    assert headlines(grown) == headlines(evaluation)
