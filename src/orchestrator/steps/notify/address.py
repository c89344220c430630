"""One e-mail address, as people write it."""

from __future__ import annotations

import re
from email.errors import MessageError
from email.headerregistry import Address

from orchestrator.errors import TerminalError

_PLAIN = r"[^\s@<>()\[\],;:\\\"]+@[^\s@<>()\[\],;:\\\"]+"
_ADDRESS = re.compile(rf"(?P<bare>{_PLAIN})|(?P<name>[^<>]*?)\s*<(?P<addr>{_PLAIN})>")
_LONGEST = 320


def address(text: str, where: str) -> Address:
    """``kim@example.com`` or ``Kim <kim@example.com>``. A text is one address, whatever it came from: neither a comma
    nor a line break makes it two. Raises TerminalError ``invalid_address`` naming ``where``."""
    match = _ADDRESS.fullmatch(text.strip(" "))
    if match is None or not text.isprintable():
        shown = text[:80] + ("…" if len(text) > 80 else "")
        hint = "several are written as a list" if "@" in text else "write for example Kim <kim@example.com>"
        raise TerminalError("invalid_address", f"{where}: {shown!r} is not one e-mail address; {hint}")
    local, _, domain = (match["bare"] or match["addr"]).rpartition("@")
    name = (match["name"] or "").strip().strip('"').strip()
    try:
        plain = f"{local}@{domain.encode('idna').decode()}"
        plain.encode("ascii")
        found = Address(display_name=name, addr_spec=plain)
    except (UnicodeError, MessageError, ValueError, IndexError) as error:
        message = f"{where}: {text[:80]!r} cannot be written to: before the @ there are plain letters only ({error})"
        raise TerminalError("invalid_address", message) from error
    if len(plain) > _LONGEST:
        raise TerminalError("invalid_address", f"{where}: an address has at most {_LONGEST} characters")
    return found
