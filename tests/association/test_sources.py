import pandas as pd
import pytest

from radnet.association.plan import GeneSetFile, TableFile
from radnet.association.sources import chosen_columns, read_gene_sets, read_patients
from radnet.tables import TableFault


@pytest.fixture
def write(tmp_path):
    def written(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return written


def test_a_table_with_a_column_per_patient_is_that_with_a_row_per_patient_turned(write):
    rows = write("rows.csv", "patient_id,CD8A,GZMA\n001,1.5,2\nP2,,4\n")
    columns = write("columns.csv", "gene,001,P2\nCD8A,1.5,\nGZMA,2,4\n")

    by_rows = read_patients(rows, TableFile("rows.csv", "rows", "patient_id"))
    by_columns = read_patients(columns, TableFile("columns.csv", "columns", "gene"))

    assert list(by_rows.index) == ["001", "P2"]
    pd.testing.assert_frame_equal(by_rows, by_columns, check_names=False, check_dtype=False)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("sets.gmt", "T\tof a page\tCD3D\tCD5\tCD3D\nB\t\tCD19\n", GeneSetFile("sets.gmt")),
        ("sets.csv", "cells,gene\nT,CD3D\nT,CD5\nB,CD19\n", GeneSetFile("sets.csv", "cells", "gene")),
        (
            "sets.txt",
            '"gene"\t"cells"\n"CD3D"\t"T"\n"CD5"\t"T"\n"CD19"\t"B"\n',
            GeneSetFile("sets.txt", "cells", "gene"),
        ),
    ],
)
def test_gene_sets_are_the_same_in_every_form(write, name, text, told):
    assert read_gene_sets(write(name, text), told) == {"T": ["CD3D", "CD5"], "B": ["CD19"]}


def test_the_ten_populations_of_mcp_counter_are_read_as_published(shared):
    path = shared / "data" / "gex_breast" / "MCPcounter_genes.txt"

    sets = read_gene_sets(path, GeneSetFile(path.name, "Cell population", "HUGO symbols"))

    assert len(sets) == 10
    assert {"CD3D", "CD5", "CD28"} <= set(sets["T cells"])
    assert sets["CD8 T cells"] == ["CD8B"]


def test_a_table_without_its_ids_is_refused(write):
    path = write("rows.csv", "patient,CD8A\nP1,1\n,2\n")

    with pytest.raises(TableFault, match="column patient_id is missing, did you mean patient"):
        read_patients(path, TableFile("rows.csv", "rows", "patient_id"))
    with pytest.raises(TableFault, match="1 of 2 rows name no patient in column patient"):
        read_patients(path, TableFile("rows.csv", "rows", "patient"))
    with pytest.raises(TableFault, match="gene P1 stands twice"):
        read_patients(write("columns.csv", "gene,A\nP1,1\nP1,2\n"), TableFile("columns.csv", "columns", "gene"))


def test_a_name_that_matches_no_column_is_refused():
    table = pd.DataFrame({"cell_B": [1.0], "cell_T": [2.0], "age": [3.0]})

    assert list(chosen_columns(table, ("cell_*",), "biology").columns) == ["cell_B", "cell_T"]
    with pytest.raises(TableFault, match="biology: 1 fault\n  - there is no column aeg, did you mean age"):
        chosen_columns(table, ("cell_*", "aeg"), "biology")


def test_gene_sets_that_cannot_be_read_are_refused(write):
    with pytest.raises(TableFault, match="line 2: set T stands twice.*\n.*line 2: set T has no gene"):
        read_gene_sets(write("sets.gmt", "T\t\tCD5\nT\tpage\n"), GeneSetFile("sets.gmt"))
    with pytest.raises(TableFault, match="column cell is missing, did you mean cells"):
        read_gene_sets(write("sets.csv", "cells,gene\nT,CD5\n"), GeneSetFile("sets.csv", "cell", "gene"))
