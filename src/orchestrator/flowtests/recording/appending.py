"""Putting a case into a test file without touching the rest of it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from orchestrator.errors import FlowInvalid, Refused
from orchestrator.spec.source import Source, read_source

Json = Any

_WIDTH = 116
_NUMERIC = frozenset("+-.0123456789")


def new_file(flow: str, case: dict[str, Json], remarks: list[str]) -> str:
    """A test file with one case."""
    return f"flow: {flow}\n\ncases:\n{_item(case, remarks, '  ')}"


def with_case(text: str, file: str, case: dict[str, Json], remarks: list[str]) -> str:
    """``text`` with ``case`` behind its last one; its name gets a number where the file has that name. Raises
    FlowInvalid for what cannot be read, and Refused for a file whose cases are not written as a block."""
    source = read_source(text, file)
    cases = source.data.get("cases") if isinstance(source.data, dict) else None
    if not isinstance(cases, list) or not cases:
        raise Refused(f"{file} has no list of `cases` that another could follow; write the case to another file")
    case = case | {"name": _free_name(case["name"], cases)}
    lines = text.splitlines(keepends=True)
    end = _end_of_cases(source, lines)
    if lines[end - 1][-1:] != "\n":
        lines[end - 1] += "\n"
    indent = _indent(source, lines, file)
    after = ["\n"] if end < len(lines) and lines[end].strip() else []
    changed = "".join([*lines[:end], "\n", _item(case, remarks, indent), *after, *lines[end:]])
    wanted = source.data | {"cases": [*cases, case]}
    if _data(changed, file) != wanted:
        raise Refused(f"{file} is written in a way that a case cannot be put into; write the case to another file")
    return changed


def _free_name(name: str, cases: list[Json]) -> str:
    taken = {case.get("name") for case in cases if isinstance(case, dict)}
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _end_of_cases(source: Source, lines: list[str]) -> int:
    """The number of lines up to where the last case ends: blank lines and remarks before the next key are the key's."""
    start = source.key_at(("cases",))[0]
    after = sorted(line for line, *_ in (source.root.members or {}).values() if line > start)
    end = after[0] - 1 if after else len(lines)
    while after and end > start and re.fullmatch(r"\s*(#.*)?", lines[end - 1].rstrip("\n")):
        end -= 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return end


def _indent(source: Source, lines: list[str], file: str) -> str:
    line, column = source.value_at(("cases", 0))
    dash = re.match(r"(\s*)-\s", lines[line - 1])
    if dash is None or column <= len(dash[1]):
        raise Refused(f"{file}:{line}: the cases are not written as a list with `- `; write the case to another file")
    return dash[1]


def _data(text: str, file: str) -> Json:
    try:
        return read_source(text, file).data
    except FlowInvalid:
        return None


def _item(case: dict[str, Json], remarks: list[str], indent: str) -> str:
    """The case as an item of a list in block style, remarks above it."""
    text = as_yaml(case)
    body = "".join(f"{indent}  {line}" if line.strip() else line for line in text.splitlines(keepends=True))
    above = "".join(f"{indent}# {remark}\n" for remark in remarks)
    return f"{above}{indent}- {body[len(indent) + 2 :]}"


def as_yaml(value: Json) -> str:
    """A value as YAML for people: short parts on one line, long texts as blocks."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False, indent=2
    )


class _Dumper(yaml.SafeDumper):
    """Short mappings and lists of scalars on one line, texts of several lines as blocks, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never: the same value twice is written twice."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Items of a list stand below their key, two columns in."""
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # PyYAML reads some numbers of YAML 1.2 as text, and takes the separators of Unicode for ends of lines.
    style = '"' if value[:1] in _NUMERIC or re.search("[\x85\u2028\u2029]", value) else None
    if "\n" in value and not re.search(r"[ \t]\n|^\s|[^\S\n\x20]", value):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _mapping(dumper: yaml.SafeDumper, value: dict[str, Json]) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=_short(value))


def _list(dumper: yaml.SafeDumper, value: list[Json]) -> yaml.SequenceNode:
    flat = all(_short(item) and not isinstance(item, dict | list) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat or _short(value))


def _short(value: Json) -> bool:
    return len(repr(value)) <= 80 and "\\n" not in repr(value)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(list, _list)
