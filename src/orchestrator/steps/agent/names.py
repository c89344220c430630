"""Names as the Claude API takes them, of tools and of the members of their arguments, and the way back."""

from __future__ import annotations

import hashlib
import re

from orchestrator.spec.definition import Json

_LONGEST = 64
_NOT_IN_TOOLS = re.compile(r"[^a-zA-Z0-9_-]")
_NOT_IN_KEYS = re.compile(r"[^a-zA-Z0-9_.-]")


def tool_name(name: str) -> str:
    """The name of a tool: letters, digits, ``_`` and ``-``, at most 64. Where letters of other scripts or an end are
    lost, a hash keeps two names apart."""
    return _fitting(name, _NOT_IN_TOOLS)


def _fitting(name: str, unfit: re.Pattern[str]) -> str:
    plain = unfit.sub("_", name)
    if plain and len(plain) <= _LONGEST and not any(letter.isalnum() for letter in unfit.findall(name)):
        return plain
    return f"{plain[: _LONGEST - 9]}_{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def fit_members(schema: dict[str, Json]) -> tuple[dict[str, Json], dict[str, str]]:
    """A tool's schema with the members of its arguments under names that the API takes, and those names with what they
    stand for: the API looks at the top level alone. The schema itself where all of them fit."""
    members = schema.get("properties")
    if not isinstance(members, dict):
        return schema, {}
    fitted = {name: _fitting(name, _NOT_IN_KEYS) for name in members}
    changed = {name: new for name, new in fitted.items() if new != name}
    if not changed or len({*fitted.values()}) < len(fitted):
        return schema, {}
    # What it is really called is worth telling: the new name may say nothing.
    renamed = {
        fitted[name]: {"title": name} | member if name in changed and isinstance(member, dict) else member
        for name, member in members.items()
    }
    done = schema | {"properties": renamed}
    if isinstance(schema.get("required"), list):
        done["required"] = [fitted.get(name, name) if isinstance(name, str) else name for name in schema["required"]]
    moved = {_pointer(name): _pointer(new) for name, new in changed.items()}
    return _with_references(done, moved), {new: name for name, new in changed.items()}


def misfits(schema: dict[str, Json]) -> list[str]:
    """Members of a tool's arguments that cannot be given a name the API takes: two would have the same."""
    members = fit_members(schema)[0].get("properties")
    return [name for name in members if _fitting(name, _NOT_IN_KEYS) != name] if isinstance(members, dict) else []


def _pointer(name: str) -> str:
    return "#/properties/" + name.replace("~", "~0").replace("/", "~1")


def _with_references(value: Json, moved: dict[str, str]) -> Json:
    if isinstance(value, list):
        return [_with_references(item, moved) for item in value]
    if not isinstance(value, dict):
        return value
    done = {key: _with_references(member, moved) for key, member in value.items()}
    reference = done.get("$ref")
    if isinstance(reference, str):
        for old, new in moved.items():
            if reference == old or reference.startswith(f"{old}/"):
                done["$ref"] = new + reference[len(old) :]
    return done


def original_members(arguments: Json, names: dict[str, str]) -> Json:
    """A model's arguments under the names their tool knows."""
    if not names or not isinstance(arguments, dict):
        return arguments
    return {names.get(name, name): value for name, value in arguments.items()}
