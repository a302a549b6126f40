"""Names of patients, centres and folders, and what is written in their place where others may read it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from radnet.tables import read_table

_TELLING = 3  # characters from which a name can be told from a word or a number of a text
_BEFORE, _AFTER = r"(?<![A-Za-z0-9-])", r"(?![A-Za-z0-9-])"  # a name of a file holds an id between underscores
_IMAGE_FILE = re.compile(r"[^\s:;,'\"]+\.(?:nii(?:\.gz)?|nrrd|nhdr|mha|mhd|dcm)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Names:
    """Names that must not be read elsewhere.

    Attributes:
        patients: Ids.
        centres: Names.
        folders: Absolute.
    """

    patients: tuple[str, ...]
    centres: tuple[str, ...]
    folders: tuple[str, ...]

    def hidden_table(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table of texts in which patients and centres have numbers; a subgroup that names a centre too."""
        numbers = {one: str(place) for place, one in enumerate(self.patients, start=1)}
        columns = {}
        for name in table.columns:
            if name == "patient_id":
                columns[name] = table[name].map(lambda cell: numbers.get(cell, "" if cell == "" else "unknown"))
            elif name in ("centre", "fold"):  # a fold of leave-one-centre-out bears the name of a centre
                columns[name] = table[name].map(lambda cell: self._centre.get(cell, cell))
            else:
                columns[name] = table[name].map(self.hidden)
        return pd.DataFrame(columns, columns=table.columns)

    def hidden(self, value: Any, key: str = "") -> Any:
        """Return plain data in which names of patients, centres, folders and files of images are replaced.

        An id that is a number, or shorter than three characters, cannot be told within a text: messages, and what
        follows "such as", are then left out.
        """
        if isinstance(value, Mapping):
            return {str(name): self.hidden(one, str(name)) for name, one in value.items()}
        if isinstance(value, list):
            if key == "messages" and self._untold:
                return []
            return [self._centre.get(one, self.hidden(one)) if key == "centres" else self.hidden(one) for one in value]
        return self._text(value) if isinstance(value, str) else value

    def found_in(self, content: bytes) -> str:
        """Return which name stands in the bytes of a file; empty if none does."""
        for kind, names in (("a patient's id", self.patients), ("a folder of this machine", self.folders)):
            for name in filter(_telling, names):
                if re.search((_BEFORE + re.escape(name) + _AFTER).encode(), content):
                    return f"{kind}, {name}"
        return ""

    @cached_property
    def _untold(self) -> bool:
        return any(not _telling(one) for one in self.patients)

    @cached_property
    def _centre(self) -> Mapping[str, str]:
        return {one: f"centre {place}" for place, one in enumerate(self.centres, start=1)}

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        every = filter(_telling, {*self.patients, *self.centres, *self.folders})
        words = "|".join(re.escape(one) for one in sorted(every, key=len, reverse=True))
        return re.compile(f"{_BEFORE}(?:{words}){_AFTER}") if words else None

    def _text(self, text: str) -> str:
        text = _IMAGE_FILE.sub("(a file)", text)  # which may bear a name that is no id
        text = re.sub(r"such as [^;.]+", "such as …", text) if self._untold else text
        return text if self._pattern is None else self._pattern.sub(self._stands_for, text)

    def _stands_for(self, match: re.Match[str]) -> str:
        if match[0] in self._centre:
            return self._centre[match[0]]
        return "…" if match[0] in self.folders else "(a patient)"


def names_in(folder: Path) -> Names:
    """Return the names of a run: of its patients, judged or left out, of their centres, and of its cohort's folder."""
    predictions = read_table(folder / "predictions.parquet")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    patients = {*predictions["patient_id"].astype(str), *record["excluded"]}
    centres = sorted(set(predictions["centre"].astype(str)) - {""})
    folders = [folder, folder / record["cohort"], Path.home(), Path.cwd()]
    given = [(config.get("data") or {}).get("root"), config.get("output"), config.get("cache")]
    places = _places(folders) + [str(one) for one in given if one and "/" in str(one)]
    return Names(tuple(sorted(patients)), tuple(centres), tuple(places))


def _places(folders: Sequence[Path]) -> list[str]:
    return list(dict.fromkeys(str(one.resolve()) for one in folders if len(one.resolve().parts) > 1))


def _telling(name: str) -> bool:
    return len(name) >= _TELLING and not name.replace(".", "").isdigit()
