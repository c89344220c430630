"""One frozen Settings, read once at the edge (CLI, tests, ``Client.connect``) and passed down. Nothing else reads
the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestrator.errors import SettingsInvalid

PREFIX = "ORCHESTRATOR_"
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:]+")
"""A name, or an address without brackets."""
LARGEST_INLINE = 1_900_000
"""Bytes of one value that Temporal itself carries: it refuses more than 2 MB."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every knob of the product. Environment names are ``ORCHESTRATOR_<FIELD IN CAPITALS>`` unless said otherwise."""

    project_dir: Path = field(default_factory=Path.cwd)
    """Holds orchestrator.yaml, workflows/ and activities/."""
    state_dir: Path = Path(".orchestrator")
    """Everything the product writes; relative to ``project_dir``."""
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""
    """How others reach the gateway; empty: ``http://host:port``."""
    timezone: str = "UTC"
    """IANA name of the time zone for which pages tell moments."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which ``/mcp`` may be reached besides localhost, ``host`` and that of ``public_url``, comma
    separated."""
    store_url: str = ""
    """SQLAlchemy URL without a driver: ``sqlite:///…`` or ``postgresql://…``; empty: SQLite in ``state_dir``."""
    temporal_address: str = ""
    """``TEMPORAL_ADDRESS``; empty: 127.0.0.1:temporal_port, or what Temporal's own configuration file says."""
    temporal_namespace: str = "default"
    """``TEMPORAL_NAMESPACE``."""
    temporal_port: int = 7233
    """Port of the embedded server."""
    temporal_ui_port: int = 8233
    temporal_ui_url: str = ""
    """Where people find Temporal's Web UI; empty: on ``temporal_ui_port`` of this machine, where the server is the
    embedded one, else nowhere."""
    task_queue: str = "orchestrator-main"
    """Only queues named ``orchestrator-*`` carry the workflow that interprets flows."""
    search_attributes: str = "waiting"
    """What runs can be searched by besides flow and status: ``waiting`` (who is waited for), or ``all``: version and
    trigger too, written with every start."""
    max_body: int = 1_000_000
    """Bytes a webhook body may have unless its trigger says otherwise."""
    body_timeout: float = 30.0
    """Seconds in which a webhook's body has to be here."""
    payloads: str = "file"
    """Where values above 100 KB live: ``file`` (``state_dir``/objects), ``file:///path``,
    ``s3://bucket/prefix?endpoint=…&region=…``, or ``none``: inside Temporal."""
    payload_limit: int = 50_000_000
    """Bytes one value (a step's output, a webhook's body) may have at all; 1,900,000 where ``payloads`` is ``none``."""
    codec_origins: tuple[str, ...] = ()
    """Origins of Temporal Web UIs that the gateway's ``/codec`` answers, comma separated; empty: there is none."""
    sync_timeout: float = 30.0
    """Seconds a ``respond: result`` webhook waits before it answers 202."""
    idempotency_window: float = 7 * 86400.0
    """Seconds a delivery is remembered."""
    audit_days: float = 365.0
    """How long the history of closed tasks is kept."""
    ledger_days: float = 90.0
    """How long finished runs of flows with ``monitoring`` are counted."""
    allow_private_network: bool = True
    """Whether http steps may call addresses of private networks."""
    file_roots: tuple[Path, ...] = (Path("data"),)
    """Folders the file step may touch, relative to ``project_dir`` (``ORCHESTRATOR_FILE_ROOTS``, colon separated)."""
    cpu_processes: int = 0
    """Functions marked ``@cpu`` that run at once; 0: one for each core this process may use."""
    log_level: str = "INFO"
    anthropic_api_key: str | None = field(default=None, repr=False)
    """``ANTHROPIC_API_KEY``."""
    anthropic_base_url: str | None = None
    """``ANTHROPIC_BASE_URL``."""
    claude_silence: float = 180.0
    """Seconds without a byte from Claude after which a call is given up."""
    env: Mapping[str, str] = field(default_factory=dict)
    """``ORCHESTRATOR_ENV_<NAME>``: values of flows' ``env``."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """``ORCHESTRATOR_SECRET_<NAME>``: values of ``secrets.<NAME>``."""

    @property
    def state(self) -> Path:
        """The state directory as an absolute path."""
        return self.project_dir.resolve() / self.state_dir

    @property
    def gateway_url(self) -> str:
        """How others reach the gateway, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def address(self) -> str:
        """Host and port of the Temporal frontend."""
        return self.temporal_address or f"127.0.0.1:{self.temporal_port}"

    @property
    def temporal_ui(self) -> str | None:
        """The Web UI's address without a trailing slash; None where it is not known."""
        if self.temporal_ui_url:
            return self.temporal_ui_url.rstrip("/")
        return None if self.temporal_address else f"http://127.0.0.1:{self.temporal_ui_port}"

    @property
    def largest_payload(self) -> int:
        """Bytes one value of a run may have."""
        return min(self.payload_limit, LARGEST_INLINE) if self.payloads == "none" else self.payload_limit

    def searchable(self, *, registered: bool) -> bool:
        """Whether runs carry version and trigger as search attributes; never where the namespace has not ours
        ``registered``."""
        return registered and self.search_attributes == "all"

    @property
    def store(self) -> str:
        """The store's URL, the default filled in."""
        return self.store_url or f"sqlite:///{self.state / 'store.db'}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from environment variables. Raises SettingsInvalid naming the variable."""
        source = os.environ if environ is None else environ
        values: dict[str, object] = {
            "env": _named(source, f"{PREFIX}ENV_"),
            "secrets": _named(source, f"{PREFIX}SECRET_"),
            "temporal_address": source.get("TEMPORAL_ADDRESS", ""),
            "temporal_namespace": source.get("TEMPORAL_NAMESPACE", "") or "default",
            "anthropic_api_key": source.get("ANTHROPIC_API_KEY") or None,
            "anthropic_base_url": source.get("ANTHROPIC_BASE_URL") or None,
        }
        for name, read in READERS.items():
            text = source.get(PREFIX + name.upper())
            if text is None or text == "":
                continue
            try:
                values[name] = read(text)
            except ValueError as error:
                raise SettingsInvalid(f"{PREFIX}{name.upper()}={text!r} cannot be used: {error}") from error
        return cls(**values)  # type: ignore[arg-type]


def _named(source: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in source.items() if key.startswith(prefix)}


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError("a port is a number from 0 to 65535")
    return port


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s\"'<>?#@]+(/[^\s\"'<>?#]*)?", text):
        raise ValueError("write an address such as https://temporal.example.com")
    return text


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError("it cannot be negative")
    return count


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError("write a number of seconds, more than 0")
    return seconds


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= 36_500:
        raise ValueError("write a number of days, more than 0 and at most 36500")
    return days


def _flag(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("write true or false")
    return words[text.lower()]


def _timezone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError("write an IANA name such as Asia/Seoul") from error


def _search_attributes(text: str) -> str:
    if text not in ("waiting", "all"):
        raise ValueError("write waiting or all")
    return text


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(":") if part)


def _bytes(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("a number of bytes is at least 1")
    return number


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in origins:
        if not origin.startswith(("http://", "https://")):
            raise ValueError("an origin looks like http://127.0.0.1:8233")
    return origins


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ValueError(f"{host!r} is no host name; write for example flows.example.com, without scheme and port")
    return hosts


READERS: Mapping[str, Callable[[str], object]] = {
    "project_dir": Path,
    "state_dir": Path,
    "host": str,
    "port": _port,
    "public_url": str,
    "timezone": _timezone,
    "allowed_hosts": _hosts,
    "store_url": str,
    "temporal_port": _port,
    "temporal_ui_port": _port,
    "temporal_ui_url": _url,
    "task_queue": str,
    "search_attributes": _search_attributes,
    "max_body": int,
    "body_timeout": _seconds,
    "payloads": str,
    "payload_limit": _bytes,
    "codec_origins": _origins,
    "sync_timeout": float,
    "idempotency_window": float,
    "audit_days": _days,
    "ledger_days": _days,
    "allow_private_network": _flag,
    "file_roots": _paths,
    "cpu_processes": _count,
    "claude_silence": _seconds,
    "log_level": str,
}
