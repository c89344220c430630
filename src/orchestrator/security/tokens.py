"""Signed tokens: what an address says, and that nobody but us has said it. Not secret to whoever holds the address."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence

LONGEST = 4_000
"""Characters of a token that are looked at."""
_SIGNATURE = 16
"""Bytes of HMAC-SHA-256 that are kept: half of it, as RFC 2104 §5 allows."""


def sign(key: bytes, parts: Sequence[str]) -> str:
    """The token that says ``parts``, safe in a URL."""
    said = _encoded(json.dumps(list(parts), ensure_ascii=False, separators=(",", ":")).encode())
    return f"{said}.{_signature(key, said)}"


def read(key: bytes, token: str) -> list[str] | None:
    """What the token says; None where we did not make it. Takes the same time however much of it is right."""
    said, _, signature = token[: LONGEST + 1].partition(".")
    if len(token) > LONGEST or not hmac.compare_digest(signature.encode(), _signature(key, said).encode()):
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)))
    except (binascii.Error, ValueError):
        return None
    return [str(part) for part in parts]


def _signature(key: bytes, said: str) -> str:
    return _encoded(hmac.new(key, said.encode(), hashlib.sha256).digest()[:_SIGNATURE])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
