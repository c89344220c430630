"""Rows between the steps of the `etl-pipeline` flow: files of one JSON object per line, in the folder of their run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from _files import Kept, RunFiles

from orchestrator.errors import TerminalError

Json = Any
Row = dict[str, Json]
STAGED = RunFiles("etl")
REASONS = 5
"""Reasons of refusal that are listed, the most frequent first."""


def keep_rows(name: str, rows: Iterable[Row]) -> dict[str, str]:
    """Write rows: ``{path, sha256}``."""
    lines = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    return STAGED.keep(name, ".jsonl", lines.encode())


def kept_rows(file: Kept) -> Iterator[Row]:
    """The rows of a file that a step wrote. Raises TerminalError ``file_changed``."""
    for line in STAGED.kept(file).split(b"\n"):
        if line:
            yield json.loads(line)


def read_instant(value: Json) -> str:
    """An instant as ISO text in UTC, so that later is larger. Raises ValueError; without a zone it is UTC."""
    moment = datetime.fromisoformat(str(value).strip())
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def told(reasons: Iterable[str]) -> list[dict[str, object]]:
    """``[{reason, rows}]``, the most frequent first."""
    return [{"reason": reason, "rows": count} for reason, count in Counter(reasons).most_common(REASONS)]


def plain_name(name: str) -> str:
    """A name that may stand in the name of a file. Raises TerminalError ``invalid_config``."""
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise TerminalError("invalid_config", f"'{name}' is no name for a source: letters, digits, - and _")
    return name
