"""``ORCHESTRATOR_PAYLOADS`` as the place it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from orchestrator.errors import SettingsInvalid
from orchestrator.settings import Settings

Kind = Literal["file", "s3", "none"]
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OPTIONS = {"endpoint", "region"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where values above the threshold go. ``root`` belongs to ``file``, the rest to ``s3``."""

    kind: Kind
    root: Path | None = None
    bucket: str = ""
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None

    def __str__(self) -> str:
        if self.kind == "s3":
            at = f" at {self.endpoint}" if self.endpoint else ""
            return f"s3://{self.bucket}/{self.prefix}{at}"
        return f"files under {self.root}" if self.kind == "file" else "none: every value stays in Temporal"


def default_root(settings: Settings) -> Path:
    """The folder that ``file`` means."""
    return settings.state / "objects"


def place_of(settings: Settings) -> Place:
    """The place that the settings name. Raises SettingsInvalid."""
    text = settings.payloads
    if text == "none":
        return Place("none")
    if text == "file":
        return Place("file", default_root(settings))
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise _unusable(text, str(error)) from error
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
        if parts.netloc not in ("", "localhost") or not path.is_absolute():
            raise _unusable(text, "write file:///absolute/path")
        return Place("file", path)
    if parts.scheme == "s3":
        return _bucket(text, parts.netloc, parts.path.strip("/"), parse_qs(parts.query))
    raise _unusable(text, "write file, file:///path, s3://bucket/prefix?endpoint=… or none")


def _bucket(text: str, bucket: str, prefix: str, options: dict[str, list[str]]) -> Place:
    if not _BUCKET.fullmatch(bucket):
        raise _unusable(text, f"'{bucket}' is no name of a bucket")
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise _unusable(text, f"'{unknown[0]}' is no option; there are {', '.join(sorted(_OPTIONS))}")
    given = {name: values[-1] for name, values in options.items()}
    endpoint = given.get("endpoint")
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise _unusable(text, "endpoint is the URL of the S3 service, such as https://s3.example.com")
    return Place("s3", bucket=bucket, prefix=prefix, endpoint=endpoint, region=given.get("region"))


def _unusable(text: str, why: str) -> SettingsInvalid:
    return SettingsInvalid(f"ORCHESTRATOR_PAYLOADS={text!r} cannot be used: {why}")
