"""Helpers that work on text. Letters are those of every script; nothing depends on the locale."""

from __future__ import annotations

from orchestrator.expressions.errors import Fault
from orchestrator.expressions.helpers import helper
from orchestrator.expressions.library.arguments import elements, text, whole
from orchestrator.expressions.limits import MAX_TEXT, Meter
from orchestrator.expressions.operators import contains as held
from orchestrator.expressions.operators import cut
from orchestrator.expressions.values import Json, to_json, to_text


@helper("list | join(separator)", 1, 2)
def join(meter: Meter, value: Json, separator: Json = "") -> Json:
    """The elements as one text with the separator between them; elements become text as in a template."""
    between = text(meter, separator, "join")
    parts = [to_text(element, meter) for element in elements(meter, value, "join")]
    meter.charge_text(sum(map(len, parts)) + len(between) * max(len(parts) - 1, 0))
    return between.join(parts)


@helper("text | split(separator)", 1, 2)
def split(meter: Meter, value: Json, separator: Json = None) -> Json:
    """The pieces of a text between the separators; without a separator, between runs of white space."""
    source = text(meter, value, "split")
    if separator is None:
        meter.charge(len(source) >> 4)
        return source.split()
    if text(meter, separator, "split") == "":
        raise Fault("`split` needs a separator of at least one character")
    meter.charge(source.count(separator))
    return source.split(separator)


@helper("text | lower", 1)
def lower(meter: Meter, value: Json) -> Json:
    """The text in small letters."""
    return text(meter, value, "lower").lower()


@helper("text | upper", 1)
def upper(meter: Meter, value: Json) -> Json:
    """The text in capital letters."""
    return text(meter, value, "upper").upper()


@helper("text | title", 1)
def title(meter: Meter, value: Json) -> Json:
    """Every word with a capital letter first and small letters after it."""
    source = text(meter, value, "title")
    meter.charge(source.count(" "))
    return " ".join(word[:1].upper() + word[1:].lower() for word in source.split(" "))


@helper("text | trim(characters)", 1, 2)
def trim(meter: Meter, value: Json, characters: Json = None) -> Json:
    """The text without white space, or without the characters given, at both ends."""
    source = text(meter, value, "trim")
    if characters is None:
        return source.strip()
    wanted = text(meter, characters, "trim")
    if len(wanted) > 64:
        raise Fault("the limit of 64 characters to trim is exceeded")
    meter.charge(len(source) * len(wanted) >> 7)
    return source.strip(wanted)


@helper("text | replace(old, new)", 3)
def replace(meter: Meter, value: Json, old: Json, new: Json) -> Json:
    """The text with every old replaced by new."""
    source, before, after = (text(meter, part, "replace") for part in (value, old, new))
    if not before:
        raise Fault("`replace` needs an old text of at least one character")
    count = source.count(before)
    meter.charge_text(len(source) + count * (len(after) - len(before)))
    meter.charge(count >> 3)
    return source.replace(before, after)


@helper("text | startswith(start)", 2)
def startswith(meter: Meter, value: Json, start: Json) -> Json:
    """Whether the text begins so."""
    return text(meter, value, "startswith").startswith(text(meter, start, "startswith"))


@helper("text | endswith(end)", 2)
def endswith(meter: Meter, value: Json, end: Json) -> Json:
    """Whether the text ends so."""
    return text(meter, value, "endswith").endswith(text(meter, end, "endswith"))


@helper("x | contains(y)", 2)
def contains(meter: Meter, value: Json, wanted: Json) -> Json:
    """Whether a text holds a text, a list an element, an object a key: the same as `y in x`."""
    return held(value, wanted, meter)


@helper("text | truncate(length, end)", 2, 3)
def truncate(meter: Meter, value: Json, length: Json, end: Json = "…") -> Json:
    """At most that many characters; a text that is longer is cut and gets the end, which counts."""
    source, mark = text(meter, value, "truncate"), text(meter, end, "truncate")
    most = whole(length, "truncate", 0, MAX_TEXT)
    return source if len(source) <= most else source[: max(most - len(mark), 0)] + mark[:most]


@helper("x | slice(start, stop)", 2, 3)
def slice_of(meter: Meter, value: Json, start: Json, stop: Json = None) -> Json:
    """Part of a text or list, from start up to, not including, stop: the same as `x[start:stop]`."""
    return cut(value, start, stop, meter)


@helper("x | string", 1)
def string(meter: Meter, value: Json) -> Json:
    """The value as text, as in a template: none is empty, lists and objects are JSON."""
    return to_text(value, meter)


@helper("x | tojson", 1)
def tojson(meter: Meter, value: Json) -> Json:
    """The value as JSON text."""
    return to_json(value, meter)
