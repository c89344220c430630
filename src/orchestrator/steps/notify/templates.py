"""Templates of messages: files under ``templates/`` of the project.

They are Jinja, in its sandbox, and not the expressions of flows: what is sent to people has loops (the lines of an
order), common heads and feet, and HTML in which data must be escaped.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from orchestrator.errors import TerminalError

Json = Any

FOLDER = "templates"
LIMIT = 5_000_000
"""Characters that one filled template may have."""
_ENDINGS = (".html", ".txt")


@dataclass(frozen=True, slots=True)
class Filled:
    """What a template says; members that it has no file for are None."""

    text: str | None
    html: str | None
    subject: str | None


async def fill(name: str, data: Json, project_dir: Path, *, subject: bool = True) -> Filled:
    """The template's files, filled in: ``name.txt``, ``name.html`` and, where ``subject`` is wanted,
    ``name.subject.txt``. Raises TerminalError ``not_found`` naming the nearest templates, and ``template_error`` with
    file and line."""
    return await asyncio.to_thread(_fill, name, data, project_dir / FOLDER, subject)


def _fill(name: str, data: Json, folder: Path, subject: bool) -> Filled:
    environment = _environment(folder)
    base = name
    endings: tuple[str, ...] = _ENDINGS
    for ending in _ENDINGS:
        if name.endswith(ending):
            base, endings = name.removesuffix(ending), (ending,)
    known = {"data": data} if not isinstance(data, Mapping) else {**data, "data": data}
    texts = {ending: _text(environment, base + ending, known) for ending in endings}
    if all(text is None for text in texts.values()):
        raise TerminalError("not_found", _missing(name, folder))
    line = _text(environment, f"{base}.subject.txt", known) if subject else None
    return Filled(texts.get(".txt"), texts.get(".html"), None if line is None else " ".join(line.split()))


@lru_cache(maxsize=8)
def _environment(folder: Path) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _text(environment: jinja2.Environment, file: str, known: Mapping[str, Json]) -> str | None:
    """The file filled in, or None where there is no such file."""
    try:
        template = environment.get_template(file)
    except jinja2.TemplateSyntaxError as error:
        raise TerminalError(
            "template_error", f"{FOLDER}/{error.name or file}:{error.lineno}: {error.message}"
        ) from error
    except jinja2.TemplateNotFound:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise TerminalError("template_error", f"{FOLDER}/{file} cannot be read: {error}") from error
    parts: list[str] = []
    size = 0
    try:
        for part in template.generate(known):
            parts.append(part)
            size += len(part)
            if size > LIMIT:
                raise TerminalError("payload_too_large", f"{FOLDER}/{file} became more than {LIMIT} characters")
    except jinja2.TemplateNotFound as error:
        raise TerminalError("template_error", f"{FOLDER}/{file} uses '{error}', which does not exist") from error
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise TerminalError("template_error", f"{FOLDER}/{file} cannot be filled in: {error}") from error
    return "".join(parts)


def _missing(name: str, folder: Path) -> str:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in _ENDINGS}
    bases = sorted({file.removesuffix(".html").removesuffix(".txt") for file in names if ".subject." not in file})
    close = difflib.get_close_matches(name, bases, 3) or bases[:10]
    known = ", ".join(f"'{one}'" for one in close) or "none"
    return f"there is no template '{name}': no {FOLDER}/{name}.html and no {FOLDER}/{name}.txt; there: {known}"
