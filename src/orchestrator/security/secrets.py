"""Secrets: resolved only inside an activity, remembered there so that no result or message carries one out."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import TerminalError

MASK = "***"
_SHORTEST = 4
"""Values shorter than this are not masked: they would blank ordinary text."""


class Secrets:
    """The secrets one step attempt may resolve. ``mask`` hides every value that ``get`` handed out."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._used: set[str] = set()

    def get(self, name: str) -> str:
        """The secret's value. Raises TerminalError ``missing_secret`` that says which variable to set."""
        value = self._values.get(name)
        if value is None:
            close = difflib.get_close_matches(name, self._values, 1)
            meant = f" Did you mean '{close[0]}'?" if close else ""
            raise TerminalError(
                "missing_secret", f"secret '{name}' is not set: give the worker ORCHESTRATOR_SECRET_{name}.{meant}"
            )
        self._used.add(value)
        return value

    def remember(self, value: str) -> None:
        """Mask this value too: a credential made from secrets, such as a fetched token."""
        if value:
            self._used.add(value)

    @property
    def used(self) -> frozenset[str]:
        """The values that are masked."""
        return frozenset(self._used)

    def mask_text(self, text: str) -> str:
        """The text with every used secret replaced by ``***``, also where it stands JSON-escaped."""
        for value in sorted(self._used, key=len, reverse=True):
            if len(value) >= _SHORTEST:
                text = text.replace(value, MASK)
                escaped = json.dumps(value, ensure_ascii=False)[1:-1]
                if escaped != value:
                    text = text.replace(escaped, MASK)
        return text

    def found_in(self, value: Any) -> bool:
        """Whether the JSON value holds any secret of this worker, handed out or not, in one of its texts."""
        if isinstance(value, str):
            known = {*self._values.values(), *self._used}
            return any(secret in value for secret in known if len(secret) >= _SHORTEST)
        if isinstance(value, list):
            return any(self.found_in(item) for item in value)
        if isinstance(value, dict):
            return any(self.found_in(key) or self.found_in(item) for key, item in value.items())
        return False

    def mask(self, value: Any) -> Any:
        """The JSON value with every used secret masked in all its texts, keys included."""
        if not self._used:
            return value
        if isinstance(value, str):
            return self.mask_text(value)
        if isinstance(value, list):
            return [self.mask(item) for item in value]
        if isinstance(value, dict):
            return {self.mask_text(key): self.mask(item) for key, item in value.items()}
        return value
