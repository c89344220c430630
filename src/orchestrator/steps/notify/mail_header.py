"""Headers of e-mails, encoded here. Python's own parse what they are given and decode *encoded words* in it, line
breaks included: a subject from outside could begin a header of its own."""

from __future__ import annotations

from collections.abc import Sequence
from email.header import Header
from email.headerregistry import Address
from email.policy import EmailPolicy
from email.utils import formataddr

_ENCODED = "=?"
_LONG = 60


class Ready(str):
    """A header's value that goes out as it is: ASCII, folded."""

    name: str

    def fold(self, *, policy: EmailPolicy) -> str:
        """The header's lines, as the message's generator asks for them."""
        return f"{self.name}: {self}{policy.linesep}"


def words(name: str, text: str) -> Ready:
    """One line of text as the value of header ``name``."""
    return _ready(name, _encoded(text, len(name) + 2))


def people(name: str, addresses: Sequence[Address]) -> Ready:
    """Addresses as the value of header ``name``."""
    return _ready(name, ",\r\n ".join(_person(one) for one in addresses))


def _person(one: Address) -> str:
    if one.display_name.isascii() and _ENCODED not in one.display_name and len(one.display_name) < _LONG:
        return formataddr((one.display_name, one.addr_spec))
    return f"{_encoded(one.display_name, 2)} <{one.addr_spec}>"


def _encoded(text: str, before: int) -> str:
    # A word that is longer than a line can be folded only where it is encoded.
    plain = text.isascii() and _ENCODED not in text and all(len(word) < _LONG for word in text.split())
    header = Header(text, "us-ascii" if plain else "utf-8", continuation_ws=" ")
    return header.encode(maxlinelen=76 - before, linesep="\r\n")


def _ready(name: str, value: str) -> Ready:
    made = Ready(value)
    made.name = name
    return made
