"""What is wrong with an answer, in the reader's language. What has no words of its own is told as it was said."""

from __future__ import annotations

import re

from orchestrator.gateway.pages.language import Language

_SAID = tuple(
    (re.compile(pattern, re.DOTALL), f"inbox.wrong_{key}")
    for pattern, key in (
        (r"is required", "required"),
        (r"must be one of (?P<value>.+)", "one_of"),
        (r"must be at least (?P<value>.+)", "minimum"),
        (r"must be at most (?P<value>.+)", "maximum"),
        (r"must be more than (?P<value>.+)", "more"),
        (r"must be less than (?P<value>.+)", "less"),
        (r"must be a multiple of (?P<value>.+)", "multiple"),
        (r"must have at least (?P<value>\d+) character\(s\)", "min_length"),
        (r"must have at most (?P<value>\d+) characters", "max_length"),
        (r"must have at least (?P<value>\d+) item\(s\)", "min_items"),
        (r"must have at most (?P<value>\d+) items", "max_items"),
        (r"must match the pattern (?P<value>.+)", "pattern"),
        (r"must be a valid (?P<value>.+)", "format"),
        (r"must be (?P<value>[^,]+), got .+", "type"),
        (r"must not hold the same item twice", "twice"),
        (r"is not JSON: (?P<value>.+)", "json"),
        (r"choose one", "choose"),
        (r"'[^']*' needs a comment", "comment"),
    )
)
_KINDS = ("text", "a number", "a whole number", "true or false", "an object", "a list")


def worded(t: Language, message: str) -> str:
    """The message in that language."""
    for pattern, key in _SAID:
        found = pattern.fullmatch(message)
        if found is None:
            continue
        said = found.groupdict()
        if key.endswith("_type") and said["value"] in _KINDS:
            said["value"] = t(f"inbox.kind_{said['value'].replace(' ', '_')}")
        return t(key, **said)
    return message
