"""A CSV of the user's, read as text as far as it can be read, with everything that is wrong with it as a file."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radnet.tables import Finding, fault, warning

_SAVE_AS_UTF8 = "save it as CSV UTF-8 (in Excel: Save as, CSV UTF-8, comma delimited)"
_SEPARATORS = {";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True, slots=True)
class Spreadsheet:
    """What a CSV says.

    Attributes:
        cells: Text without spaces around it, an empty cell as the empty string; the index is the row as a spreadsheet
            counts it, header and blank lines included.
        findings: Faults of the file and of single rows.
        broken: Rows whose cells cannot be trusted to stand in their columns.
    """

    cells: pd.DataFrame
    findings: tuple[Finding, ...]
    broken: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    cells: list[str]
    matched: bool = True  # each quotation mark with its other


def read_spreadsheet(path: Path) -> Spreadsheet:
    """Read a CSV of commas in UTF-8; what differs is a fault, and the rest is read all the same.

    Blank rows are passed over. Of two columns of one name the first is kept.
    """
    name = path.name
    try:
        text, findings = _decoded(path.read_bytes(), name)
    except OSError as error:
        return _nothing(fault(name, f"cannot be read: {error.strerror or error}", "put a CSV file in its place"))
    if not text.strip():
        return _nothing(*findings or [fault(name, "the file is empty", "write a header and a row for each patient")])
    separator, others = _separator(text.lstrip().splitlines()[0], name)
    rows = [one for one in _rows(text, separator) if any(cell.strip() for cell in one.cells)]
    header = [cell.strip() for cell in rows[0].cells]
    findings += others + _header_findings(header, name)
    header = [column or f"Unnamed: {place}" for place, column in enumerate(header)]
    table, broken = [], set()
    for row in rows[1:]:
        stripped = [_without_bytes(cell).strip() for cell in row.cells]
        if problem := _row_problem(row, header):
            who = dict(zip(header, stripped, strict=False))
            findings.append(fault(name, *problem, row.number, who.get("patient_id") or "?", who.get("lesion_id", "")))
            broken.add(row.number)
        table.append((stripped + [""] * len(header))[: len(header)])
    index = pd.Index([row.number for row in rows[1:]], dtype=int)
    frame = pd.DataFrame(table, columns=header, index=index, dtype=object)
    return Spreadsheet(frame.loc[:, ~frame.columns.duplicated()], tuple(findings), frozenset(broken))


def _nothing(*findings: Finding) -> Spreadsheet:
    return Spreadsheet(pd.DataFrame(dtype=object), findings, frozenset())


def _decoded(raw: bytes, name: str) -> tuple[str, list[Finding]]:
    """Return the text, in which a byte that is no UTF-8 is a lone surrogate, and what is wrong with it."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace"), [fault(name, "is UTF-16, expected UTF-8", _SAVE_AS_UTF8)]
    if raw.startswith(b"PK\x03\x04"):
        return "", [fault(name, "is an Excel workbook or a zip archive, expected a CSV", _SAVE_AS_UTF8)]
    if b"\0" in raw:
        return "", [fault(name, "holds zero bytes: it is no text", _SAVE_AS_UTF8)]
    return raw.decode("utf-8-sig", errors="surrogateescape"), []


def _separator(header: str, name: str) -> tuple[str, list[Finding]]:
    for separator, noun in _SEPARATORS.items():
        if separator in header and "," not in header:
            return separator, [fault(name, f"is separated by {noun}, expected commas", _SAVE_AS_UTF8)]
    return ",", []


def _rows(text: str, separator: str) -> Iterator[_Row]:
    """Yield each row; where the file's quotation marks do not match, a row is a line, so that the others are read."""
    try:
        parsed = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error:
        for number, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
            try:
                yield _Row(number, next(csv.reader([line], delimiter=separator, strict=True), []))
            except csv.Error:
                yield _Row(number, line.split(separator), matched=False)
    else:
        yield from (_Row(number, cells) for number, cells in enumerate(parsed, start=1))


def _header_findings(header: Sequence[str], name: str) -> list[Finding]:
    findings = []
    for place, column in enumerate(header):
        if not column:
            told = f"column {place + 1} has no name"
            findings.append(warning(name, told, "name it, or write the table without its index (index=False)"))
        elif column in header[:place]:
            told = f"column {column} stands twice, as column {header.index(column) + 1} and {place + 1}"
            findings.append(fault(name, told, "rename one of them, or leave it out"))
        elif _without_bytes(column) != column:
            findings.append(fault(name, f"the name of column {place + 1} is not in UTF-8", _SAVE_AS_UTF8))
    return findings


def _row_problem(row: _Row, header: Sequence[str]) -> tuple[str, str] | None:
    """Return what is wrong with a row and how to mend it."""
    if not row.matched:
        return "the quotation marks of the row do not match", 'close each, or write "" for the mark itself'
    for place, cell in enumerate(row.cells):
        if (clean := _without_bytes(cell)) != cell:
            column = header[place] if place < len(header) else f"cell {place + 1}"
            return f"{column} is not in UTF-8: {clean!r}", _SAVE_AS_UTF8
    if len(row.cells) != len(header):
        found = f"the row has {len(row.cells)} cells, expected {len(header)} as in the header"
        return found, "one comma between two cells, and quotation marks around a cell that holds a comma"
    return None


def _without_bytes(text: str) -> str:
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")
