"""How the Claude stand-in answers when nothing is scripted: the same words for the same request, valid for
the schema that was asked for. It only pretends to understand; what it decides comes from listed words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.testing.claude_replies import Reply
from orchestrator.testing.claude_request import Request

Json = Any

_SUBJECT = re.compile(
    r"^[ \t]*(?:콘텐츠|내용|메시지|본문|content|message|text|input|body)[ \t]*[:：]"
    r"[ \t]*(.+?)(?:\n[ \t]*\n|\Z)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_TAGGED = re.compile(r"<(\w+)>(.*?)</\1>", re.DOTALL)
_BOUND = re.compile(r"(minimum|maximum|exclusiveMinimum|exclusiveMaximum): (-?\d+(?:\.\d+)?)")
_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Words:
    """When one of ``words`` stands in a prompt's subject, these members of the answer have these values."""

    words: tuple[str, ...]
    values: Mapping[str, Json]


MODERATION = (
    Words(
        ("욕설", "바보", "사기", "도박", "scam", "casino", "hate", "idiot"),
        {
            "appropriate": False,
            "confidence": 0.97,
            "sentiment": "negative",
            "reason": "부적절하거나 사기로 보이는 표현이 있습니다",
        },
    ),
    Words(
        ("테스트", "애매", "아마", "test", "maybe", "borderline"),
        {
            "appropriate": True,
            "confidence": 0.62,
            "sentiment": "neutral",
            "reason": "의미가 분명하지 않아 사람이 확인해야 합니다",
        },
    ),
    Words(
        (),
        {
            "appropriate": True,
            "confidence": 0.95,
            "sentiment": "positive",
            "reason": "문제가 될 표현이 없습니다",
        },
    ),
)
"""Content moderation: bad words are refused with confidence, unclear ones need a human, the rest passes."""


def subject_of(prompt: str) -> str:
    """What a prompt is about: the text in its last ``<tag>…</tag>``, or after ``Content:``, or all of it."""
    tagged = _TAGGED.findall(prompt)
    if tagged:
        return str(tagged[-1][1]).strip()
    named = _SUBJECT.findall(prompt)
    return str(named[-1]).strip() if named else prompt.strip()


@dataclass(frozen=True, slots=True)
class Persona:
    """Answers any request. ``rules`` are tried in order: the first with a listed word (or no words) decides
    the members it names; every other member is made up from the schema, the same each time."""

    rules: Sequence[Words] = field(default=MODERATION)

    def answer(self, request: Request) -> Reply:
        """Structured output where a schema is given, otherwise a short text about the prompt."""
        subject = subject_of(request.prompt)
        if request.schema is None:
            return Reply.text(f"(stand-in) {_shorten(subject, 200)}")
        seed = int.from_bytes(hashlib.sha256(request.prompt.encode()).digest()[:6], "big")
        return Reply.json(_Maker(request.schema, self._decided(subject), subject, seed).value())

    def _decided(self, subject: str) -> Mapping[str, Json]:
        text = subject.casefold()
        for rule in self.rules:
            if not rule.words or any(word.casefold() in text for word in rule.words):
                return rule.values
        return {}


def _shorten(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _fits(schema: Mapping[str, Json], value: Json) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    types: dict[str, type | tuple[type, ...]] = {"boolean": bool, "number": (int, float), "string": str}
    expected = types.get(str(schema.get("type")))
    return expected is not None and isinstance(value, expected)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes one value for one schema."""

    root: Mapping[str, Json]
    decided: Mapping[str, Json]
    subject: str
    seed: int

    def value(self) -> Json:
        return self._make(self.root, "", 0)

    def _make(self, schema: Mapping[str, Json], name: str, depth: int) -> Json:
        if depth > _DEPTH:
            return None
        if "$ref" in schema:
            target: Any = self.root
            for part in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
                target = target[part] if part else target
            return self._make(target, name, depth + 1)
        if name in self.decided and _fits(schema, self.decided[name]):
            return self.decided[name]
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][self.seed % len(schema["enum"])]
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self._make(schema[choice][0], name, depth + 1)
        if "allOf" in schema:
            parts = [self._make(part, name, depth + 1) for part in schema["allOf"]]
            return {key: item for part in parts for key, item in part.items()}
        return self._plain(schema, name, depth)

    def _plain(self, schema: Mapping[str, Json], name: str, depth: int) -> Json:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = kind[0]
        match kind:
            case "object":
                members = {name: {} for name in schema.get("required", ())} | schema.get("properties", {})
                return {key: self._make(member, key, depth + 1) for key, member in members.items()}
            case "array":
                length = max(1, int(schema.get("minItems", 1)))
                return [self._make(schema.get("items", {}), name, depth + 1) for _ in range(length)]
            case "boolean":
                return True
            case "null":
                return None
            case "integer" | "number":
                return self._number(schema, name, str(kind))
            case _:
                return self._text(schema, name)

    def _number(self, schema: Mapping[str, Json], name: str, kind: str) -> int | float:
        # The SDK moves bounds the API does not enforce into the description: read them back from there.
        bounds: dict[str, float] = {key: float(value) for key, value in _BOUND.findall(schema.get("description", ""))}
        bounds |= {key: float(schema[key]) for key in ("minimum", "maximum") if key in schema}
        low = bounds.get("minimum", bounds.get("exclusiveMinimum", 0.0))
        share = any(word in name.lower() for word in ("confidence", "score", "probability", "ratio", "risk"))
        high = bounds.get("maximum", bounds.get("exclusiveMaximum", low + (1.0 if share else 100.0)))
        place = low + (high - low) * (0.1 + 0.8 * (self.seed % 97) / 96)
        return min(max(round(place), int(low)), int(high)) if kind == "integer" else round(place, 3)

    def _text(self, schema: Mapping[str, Json], name: str) -> str:
        fixed = {
            "date": "2026-01-15",
            "date-time": "2026-01-15T09:00:00Z",
            "time": "09:00:00Z",
            "duration": "PT1H",
            "email": "someone@example.com",
            "uri": "https://example.com/",
            "uuid": "00000000-0000-4000-8000-000000000001",
            "ipv4": "192.0.2.1",
            "ipv6": "2001:db8::1",
            "hostname": "example.com",
        }
        form = str(schema.get("format", ""))
        return fixed.get(form) or f"{name or 'answer'}: {_shorten(self.subject, 60)}"
