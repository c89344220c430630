"""Collecting problems of a file, and saying pydantic's errors in the words of the format."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.errors import FlowInvalid, Problem
from orchestrator.spec.source import Path, Source

Json = Any

MOST = 100
"""Problems of one file that are told: whoever mends these is told the next."""
NOT_YET = "is part of the flow format, but this release cannot run it yet"


def kind_of(value: Json) -> str:
    """What a JSON value is, in words: ``text``, ``a number``, ``a list`` …"""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "a list"
    return "a mapping"


def suggestion(wrong: str, known: Iterable[str]) -> str | None:
    """``did you mean `x`?`` or, for a short list, what there is."""
    names = sorted(set(known))
    close = difflib.get_close_matches(wrong, names, 1, 0.6) or difflib.get_close_matches(wrong.lower(), names, 1, 0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    if not names:
        return None
    listed = ", ".join(f"`{name}`" for name in names[:20])
    return f"there is {listed}" + (" …" if len(names) > 20 else "")


class Findings:
    """Every problem found in one file, placed by path."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.later: list[Problem] = []
        """Uses of keys whose execution comes with a later release."""

    def error(self, path: Sequence[str | int], message: str, hint: str | None = None, *, key: bool = False) -> None:
        """Add an error at the value (or, with ``key``, at the key) that ``path`` names."""
        self.problems.append(self.place(path, message, hint, key=key))

    def warn(self, path: Sequence[str | int], message: str, hint: str | None = None) -> None:
        """Add a warning: the file is usable."""
        self.warnings.append(self.place(path, message, hint, severity="warning"))

    def place(
        self,
        path: Sequence[str | int],
        message: str,
        hint: str | None = None,
        *,
        key: bool = False,
        severity: str = "error",
    ) -> Problem:
        """A Problem with its position looked up."""
        line, column = self.source.key_at(path) if key else self.source.value_at(path)
        return Problem(message, self.source.file, line, column, hint, severity)

    def unknown_key(self, path: Path, known: Iterable[str], where: str) -> None:
        """Add the refusal of a key that the format does not name."""
        name = str(path[-1])
        # To look for what was meant takes far longer than all the rest.
        hint = suggestion(name, known) if len(self.problems) < MOST else None
        self.error(path, f"unknown key `{name}`{where}", hint, key=True)

    def raise_if_any(self) -> None:
        """Raise FlowInvalid with the errors, in the order of the file."""
        if not self.problems:
            return
        found = sorted_problems(self.problems)
        if len(found) > MOST:
            last = found[MOST - 1]
            rest = Problem(f"and {len(found) - MOST} more problems", last.file, last.line, last.column)
            found = (*found[:MOST], rest)
        raise FlowInvalid(found)


def sorted_problems(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """In the order of the file, repeated findings once."""
    unique = dict.fromkeys(problems)
    return tuple(sorted(unique, key=lambda problem: (problem.line, problem.column)))


def is_template(value: Json) -> bool:
    """Whether a value is text with a ``{{`` in it."""
    return isinstance(value, str) and "{{" in value


def check_model(
    model: type[BaseModel],
    raw: Json,
    findings: Findings,
    base: Path,
    where: str = "",
    *,
    templates: bool = False,
    template_free: frozenset[str] = frozenset(),
    moved: dict[str, Path] | None = None,
) -> Any:
    """Validate ``raw``, reporting every error at its place below ``base``; the model, or None.

    With ``templates`` a text that contains ``{{`` stands for any value, except under the top-level keys of
    ``template_free``. ``moved`` maps a top-level key to where it really stands in the file.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        reports = _reports(error, raw)
    postponed = [path for path, kinds in reports.items() if "comes with a later release" in kinds[0]["msg"]]
    for path, kinds in reports.items():
        place = _placed(base, path, moved)
        if path in postponed:
            findings.later.append(findings.place(place, f"`{path[-1]}` {NOT_YET}", key=True))
        elif not any(path[:-1] == other[:-1] and kinds[0]["type"] == "missing" for other in postponed):
            free = bool(path) and path[0] in template_free
            if not templates or free or not _meets_template(raw, path):
                _report(findings, model, raw, path, place, kinds, where)
    return None


def _report(
    findings: Findings, model: type[BaseModel], raw: Json, path: Path, place: Path, kinds: list[Any], where: str
) -> None:
    if kinds[0]["type"] == "extra_forbidden":
        findings.unknown_key(place, _member_keys(model, path[:-1]), where)
    elif kinds[0]["type"] == "missing":
        findings.error(place[:-1], f"`{path[-1]}` is missing{where}")
    elif is_template(_at(raw, path)):
        findings.error(place, f"{_called(path)} takes no templates: it is fixed when the flow is published")
    else:
        findings.error(place, _message(path, kinds, _at(raw, path)))


def _placed(base: Path, path: Path, moved: dict[str, Path] | None) -> Path:
    if moved and path and isinstance(path[0], str) and path[0] in moved:
        return moved[path[0]] + path[1:]
    return base + path


def _reports(error: ValidationError, raw: Json) -> dict[Path, list[Any]]:
    """Errors by the path in the data. Where a value may be several things, only the errors of the one that fits best
    are kept: the deepest."""
    by_path: dict[Path, list[Any]] = {}
    unions: dict[Path, int] = {}
    for item in error.errors(include_url=False):
        path, entered = data_path(raw, item["loc"], item["type"] in ("missing", "extra_forbidden"))
        by_path.setdefault(path, []).append(item)
        for union in entered:
            unions[union] = max(unions.get(union, 0), len(path))
    for root, depth in unions.items():
        if depth > len(root) and root in by_path:
            del by_path[root]
    return by_path


def data_path(raw: Json, loc: tuple[int | str, ...], ends_in_key: bool) -> tuple[Path, list[Path]]:
    """The path in the data of a pydantic location, and where in it unions were entered.

    Pydantic puts the names of union members and validators into its locations; they are no keys of the data.
    """
    path: list[str | int] = []
    unions: list[Path] = []
    here = raw
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        found, inner = _child(here, part)
        if found and not (last and ends_in_key and isinstance(here, dict) and isinstance(part, int)):
            path.append(part)
            here = inner
        elif part == "[key]":
            continue
        elif last and ends_in_key:
            path.append(part)
        else:
            unions.append(tuple(path))
    return tuple(path), unions


def _child(here: Json, part: str | int) -> tuple[bool, Json]:
    if isinstance(here, dict) and part in here:
        return True, here[part]
    if isinstance(here, list) and isinstance(part, int) and 0 <= part < len(here):
        return True, here[part]
    return False, None


def _at(raw: Json, path: Path) -> Json:
    for part in path:
        found, raw = _child(raw, part)
        if not found:
            return None
    return raw


def _meets_template(raw: Json, path: Path) -> bool:
    """Whether the path leads to, or through, a template."""
    return any(is_template(_at(raw, path[:length])) for length in range(len(path) + 1))


def _member_keys(model: type[BaseModel], path: Path) -> list[str]:
    found: list[type[BaseModel]] = [model]
    for part in path:
        if isinstance(part, int):
            continue
        inner = [
            nested
            for owner in found
            for name, field in owner.model_fields.items()
            if part in (field.alias, name)
            for nested in models_in(field.annotation)
        ]
        found = inner or found
    return [key for owner in found for key in keys_of(owner)]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every model named in a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in models_in(argument)]


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys an author may write, as the file spells them."""
    return [field.alias or name for name, field in model.model_fields.items()]


_EXPECTED = {
    "string_type": "text", "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "bool_type": "true or false", "list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping",
    "model_attributes_type": "a mapping", "none_required": "nothing", "int_parsing": "a whole number",
}  # fmt: skip


def _called(path: Path) -> str:
    names = [part for part in path if isinstance(part, str)]
    return f"`{names[-1]}`" if names else "this"


def _message(path: Path, kinds: list[Any], value: Json) -> str:
    """One sentence for all errors at one place."""
    custom = [item for item in kinds if item["type"] in ("value_error", "assertion_error")]
    if isinstance(value, dict):
        # A mapping that breaks a rule of its own; that it is no text either helps nobody.
        custom = [item for item in custom if "is not a duration" not in item["msg"]] or custom
    name = _called(path)
    if path and isinstance(path[-1], int):
        name = f"item {path[-1] + 1} of {name}"
    expected: list[str] = []
    for item in kinds:
        if item["type"] in _EXPECTED:
            expected.append(_EXPECTED[item["type"]])
        elif item["type"] in ("literal_error", "enum"):
            expected.append(str(item["ctx"]["expected"]).replace("'", "`"))
    bounds = [item for item in kinds if item["type"] in _BOUNDS]
    if bounds:
        return f"{name}: {_bound(bounds[0])}"
    expected = [word for word in dict.fromkeys(expected) if word != "nothing"]
    if custom and (len(kinds) == len(custom) or not expected):
        text = _said(custom[0])
        return f"{name}: {text}" if path else text
    if custom and isinstance(value, str | dict):
        return f"{name}: {_said(custom[0])}"
    if expected:
        if custom:
            expected.append("a duration such as 30s" if "duration" in custom[0]["msg"] else custom[0]["msg"])
        return f"{name} must be {' or '.join(expected)}, got {_shown(value)}"
    return f"{name}: {_bound(kinds[0])}"


def _said(item: Any) -> str:
    return str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _shown(value: Json) -> str:
    if isinstance(value, str) and 0 < len(value) <= 40:
        return f'the text "{value}"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return kind_of(value)


_BOUNDS = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_short": "needs at least {min_length} item(s)",
    "too_long": "may have at most {max_length} items",
    "string_too_short": "must not be empty",
    "string_too_long": "may have at most {max_length} characters",
    "string_pattern_mismatch": "does not match the pattern {pattern}",
}


def _bound(item: Any) -> str:
    pattern = _BOUNDS.get(item["type"])
    if pattern:
        return pattern.format(**item.get("ctx", {}))
    text = str(item["msg"])
    return text[0].lower() + text[1:]
