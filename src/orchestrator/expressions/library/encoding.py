"""Helpers that encode and decode."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from urllib.parse import quote

from orchestrator.expressions.errors import Fault
from orchestrator.expressions.helpers import helper
from orchestrator.expressions.library.arguments import members, text
from orchestrator.expressions.limits import MAX_TEXT, Meter
from orchestrator.expressions.values import Json, check_size, to_text


def _encoded(meter: Meter, value: Json, name: str) -> bytes:
    try:
        return text(meter, value, name).encode()
    except UnicodeEncodeError as error:
        raise Fault(f"`{name}` cannot encode half a character (\\ud800 to \\udfff without its pair)") from error


@helper("text | fromjson", 1)
def fromjson(meter: Meter, value: Json) -> Json:
    """The value that a JSON text describes."""
    source = text(meter, value, "fromjson")
    meter.charge(len(source) >> 4)
    try:
        parsed = json.loads(source, parse_constant=_no_constant)
        check_size(parsed, meter)
    except RecursionError as error:
        raise Fault("`fromjson`: the limit of nesting in data is exceeded") from error
    except json.JSONDecodeError as error:
        raise Fault(f"`fromjson`: the text is not JSON: {error.msg} at character {error.pos + 1}") from error
    except ValueError as error:
        raise Fault("`fromjson`: the text holds a number that is too long") from error
    return parsed


def _no_constant(name: str) -> None:
    raise Fault(f"`fromjson`: {name} is not JSON")


@helper("text | sha256", 1)
def sha256(meter: Meter, value: Json) -> Json:
    """The SHA-256 of the text in UTF-8, in hexadecimal."""
    source = _encoded(meter, value, "sha256")
    meter.charge(len(source) >> 8)
    return hashlib.sha256(source).hexdigest()


@helper("text | base64encode", 1)
def base64encode(meter: Meter, value: Json) -> Json:
    """The text in UTF-8, as Base64."""
    source = _encoded(meter, value, "base64encode")
    meter.charge_text(len(source) * 4 // 3)
    return base64.b64encode(source).decode()


@helper("text | base64decode", 1)
def base64decode(meter: Meter, value: Json) -> Json:
    """The text that Base64 stands for, of either alphabet; bytes that are not UTF-8 are an error."""
    source = _encoded(meter, value, "base64decode").translate(_URL_SAFE)
    try:
        return base64.b64decode(source + b"=" * (-len(source) % 4), validate=True).decode()
    except binascii.Error as error:
        raise Fault("`base64decode`: the text is not Base64") from error
    except UnicodeDecodeError as error:
        raise Fault("`base64decode`: the bytes are not text; decode them in a function step") from error


_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@helper("x | urlencode", 1)
def urlencode(meter: Meter, value: Json) -> Json:
    """A text for use in a URL, every reserved character escaped; an object becomes a query: a=1&b=2."""
    if type(value) is not dict:
        return _quoted(meter, value if type(value) is str else to_text(value, meter))
    pairs = members(meter, value, "urlencode").items()
    return "&".join(f"{_quoted(meter, key)}={_quoted(meter, to_text(member, meter))}" for key, member in pairs)


def _quoted(meter: Meter, value: str) -> str:
    source = _encoded(meter, value, "urlencode")
    if len(source) * 3 > MAX_TEXT:
        raise Fault(f"the limit of {MAX_TEXT // 3:,} bytes for `urlencode` is exceeded")
    meter.charge(len(source) >> 2)
    return quote(source, safe="")
