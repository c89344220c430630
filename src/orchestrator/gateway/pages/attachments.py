"""What is attached to a task: values, and the files that they refer to.

Only what stands in the task itself is given out, by its number: an upload, which is named by the digest of its content,
and a file of a folder as long as it has the digest that stands beside its path."""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.gateway.pages.shown import Shown, shown
from orchestrator.store.tasks import Task
from orchestrator.store.uploads import REFERENCE, SCHEME, file_name

Json = Any

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KIND = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,80}", re.ASCII)
_OPENED = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain", "application/json"})
"""What browsers show without running anything in it. All else is only downloaded."""
_TELLS = frozenset({"ref", "name", "path", "size", "sha256", "content_type", "modified"})
"""Members of a file's record; with others beside them it is a value that is shown as well."""
_MOST_FILES = 100
"""Of one attachment."""
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class File:
    """Something that can be downloaded: ``text`` of the task itself, or what ``ref`` names. ``sha256`` is what a file
    of a folder has to have; ``size`` what the task says of it."""

    number: int
    name: str
    kind: str
    size: int | None = None
    text: str | None = None
    ref: str = ""
    sha256: str | None = None

    @property
    def opens(self) -> bool:
        """Whether a browser may show it."""
        return self.kind in _OPENED


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment: its value, with what downloads all of it, unless it is nothing but a file; and its files."""

    name: str
    value: Shown | None
    whole: File | None
    files: list[File]


def attachments_of(task: Task) -> list[Attachment]:
    """What is attached to the task. The same task numbers the same things alike."""
    found: list[Attachment] = []
    count = 0
    for one in task.attachments or []:
        name, value = str(one["name"]), one["value"]
        whole = None if _is_files(value) else _whole(count, name, value)
        count += whole is not None
        files = [_file(count + place, record) for place, record in enumerate(_records(value))]
        count += len(files)
        found.append(Attachment(name, None if whole is None else shown(value), whole, files))
    return found


def file_of(task: Task, number: str) -> File | None:
    """The file of that number; None where the task has none."""
    files = [file for one in attachments_of(task) for file in ([one.whole] if one.whole else []) + one.files]
    return next((file for file in files if str(file.number) == number), None)


def _whole(number: int, name: str, value: Json) -> File:
    """The value as a file of its own: text, or JSON."""
    plain = file_name(name)
    if isinstance(value, str):
        plain = plain if mimetypes.guess_type(plain)[0] else f"{plain}.txt"
        text = value
    else:
        plain = plain if plain.endswith(".json") else f"{plain}.json"
        text = json.dumps(value, ensure_ascii=False, indent=2)
    return File(number, plain, _kind(None, plain), len(text.encode(errors="replace")), text)


def _is_files(value: Json) -> bool:
    """Whether the value says nothing but where files are."""
    if _is_file(value):
        return isinstance(value, str) or _TELLS.issuperset(value)
    inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
    return bool(inner) and len(inner) <= _MOST_FILES and all(_is_file(one) and _is_files(one) for one in inner)


def _records(value: Json) -> list[Json]:
    """The records of files in a value, in order."""
    return [one for one, _ in zip(_walk(value, 0), range(_MOST_FILES), strict=False)]


def _walk(value: Json, depth: int) -> Iterator[Json]:
    if _is_file(value):
        yield value
    elif depth < _DEEPEST and isinstance(value, list | Mapping):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _walk(one, depth + 1)


def _is_file(value: Json) -> bool:
    if isinstance(value, str):
        return REFERENCE.fullmatch(value) is not None
    if not isinstance(value, Mapping):
        return False
    ref, digest = _ref(value), value.get("sha256")
    if ref.startswith(SCHEME):
        return REFERENCE.fullmatch(ref) is not None
    return bool(ref) and isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None


def _ref(record: Mapping[str, Json]) -> str:
    """Where the file is: ``ref`` of what came with a delivery, ``path`` of what a file step has written."""
    given = record.get("ref") or record.get("path")
    return given if isinstance(given, str) else ""


def _file(number: int, given: Json) -> File:
    record: Mapping[str, Json] = {"ref": given} if isinstance(given, str) else given
    ref, told, size = _ref(record), record.get("name"), record.get("size")
    name = file_name(told if isinstance(told, str) and told else ref.rpartition("/")[2])
    return File(
        number,
        name,
        _kind(record.get("content_type"), name),
        size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        ref=ref,
        sha256=None if ref.startswith(SCHEME) else str(record["sha256"]),
    )


def _kind(told: Json, name: str) -> str:
    """The content type, as far as it is one; else what the name's ending says."""
    plain = told.partition(";")[0].strip().lower() if isinstance(told, str) else ""
    return plain if _KIND.fullmatch(plain) else mimetypes.guess_type(name)[0] or "application/octet-stream"
