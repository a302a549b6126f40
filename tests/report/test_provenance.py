from dataclasses import replace

from radnet.report.provenance import messages, provenance_tables


def test_provenance_names_inputs_versions_seed_and_counts(evaluation):
    cells = {cell for table in provenance_tables(evaluation) for row in table.rows for cell in row}

    assert {"ab12" * 16, "7", "ee63bcf", "45.1", "2.4.6", "100", "2000"} <= cells


def test_failures_are_told_before_the_rest_and_with_their_place(evaluation):
    told = [
        {"severity": "info", "endpoint": "response", "model": None, "message": "ties are rare"},
        {"severity": "failed", "endpoint": "response", "partition": "held_out", "message": "one class"},
    ]

    assert [
        (entry["place"], entry["message"]) for entry in messages(replace(evaluation, about={"messages": told}))
    ] == [
        ("response · Held-out", "one class"),
        ("response", "ties are rare"),
    ]
