"""What is printed of the progress of work where nobody watches."""

from radnet.console import progress


def test_without_a_terminal_work_leaves_one_line_at_its_end(capsys):
    with progress("Measuring lesions") as show:
        for done in range(1, 4):
            show(done, 3, "P1")

    assert capsys.readouterr().err == "Measuring lesions: 3 of 3\n"


def test_work_that_had_nothing_to_do_leaves_no_line(capsys):
    with progress("Measuring lesions"):
        pass

    assert capsys.readouterr().err == ""
