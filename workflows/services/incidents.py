"""What watches and what operates: a monitoring system and a control plane for services that may be unwell.

A service that nobody described has had a bad release; ``PUT /operations/services/{service} {"ailment": "overload"}``
makes it another case. Metrics and logs follow from what was done about it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException
from pydantic import BaseModel, Field

Json = Any
Ailment = Literal["bad-release", "leak", "overload", "stubborn", "none"]
Key = Annotated[str, Header(alias="Idempotency-Key")]

router = APIRouter()

BAD_RELEASE = 42
ENOUGH_REPLICAS = 4
LOGS: dict[Ailment, list[str]] = {
    "bad-release": ["ERROR TypeError: price is undefined (checkout.js:88)", "WARN first seen in release 42"],
    "leak": ["ERROR OutOfMemoryError: heap space", "WARN garbage collection took 9.4 s"],
    "overload": ["ERROR timed out waiting for a connection from the pool", "WARN 412 requests are queued"],
    "stubborn": ["ERROR upstream says no", "ERROR upstream says no"],
    "none": ["INFO all is well"],
}


@dataclass
class Service:
    """How one service is set up, and what it suffers from."""

    ailment: Ailment = "bad-release"
    release: int = BAD_RELEASE
    replicas: int = 2
    restarts: int = 0
    flags: dict[str, bool] = field(default_factory=dict)

    @property
    def unwell(self) -> bool:
        """Whether its ailment still shows."""
        return {
            "bad-release": self.release >= BAD_RELEASE,
            "leak": self.restarts == 0,
            "overload": self.replicas < ENOUGH_REPLICAS,
            "stubborn": True,
            "none": False,
        }[self.ailment]


class Setup(BaseModel):
    """What a service shall suffer from."""

    ailment: Ailment


class Release(BaseModel):
    """The release that shall run."""

    release: int = Field(ge=1)


class Scale(BaseModel):
    """How many replicas shall run."""

    replicas: int = Field(ge=1, le=10)


class Flag(BaseModel):
    """A switch."""

    enabled: bool


_services: dict[str, Service] = {}
_answers: dict[str, Json] = {}
"""By idempotency key: a request that comes again changes nothing."""


def service_named(name: str) -> Service:
    """The service; one that was never heard of has just been released badly."""
    return _services.setdefault(name, Service())


def shown(name: str) -> Json:
    """The service as the control plane shows it."""
    return {"service": name, **asdict(service_named(name))}


@router.get("/observability/logs/{service}")
def logs(service: str) -> Json:
    """The newest lines."""
    found = service_named(service)
    return {"service": service, "lines": LOGS[found.ailment] if found.unwell else LOGS["none"]}


@router.get("/observability/metrics/{service}")
def metrics(service: str) -> Json:
    """Share of failed requests, latency in milliseconds, load."""
    unwell = service_named(service).unwell
    return {"service": service, "error_rate": 0.31 if unwell else 0.002, "p95_ms": 2400 if unwell else 180}


@router.get("/observability/releases/{service}")
def releases(service: str) -> Json:
    """What was released of late, the newest first."""
    release = service_named(service).release
    return {"releases": [{"release": release, "note": "new prices"}, {"release": release - 1, "note": "as before"}]}


@router.get("/observability/incidents")
def incidents(service: str) -> Json:
    """Earlier incidents of a service."""
    return {"incidents": [{"id": f"{service}-1", "cause": "a release", "remedy": "the release before it"}]}


@router.put("/operations/services/{service}")
def prepare(service: str, setup: Setup) -> Json:
    """A service as new, with an ailment."""
    _services[service] = Service(setup.ailment)
    return shown(service)


@router.get("/operations/services/{service}")
def look(service: str) -> Json:
    """How a service is set up."""
    return shown(service)


@router.post("/operations/services/{service}/restart")
def restart(service: str, key: Key) -> Json:
    """Start it anew."""
    if key not in _answers:
        service_named(service).restarts += 1
        _answers[key] = shown(service)
    return _answers[key]


@router.post("/operations/services/{service}/release")
def release_to(service: str, wanted: Release, key: Key) -> Json:
    """Run another release."""
    if key not in _answers:
        service_named(service).release = wanted.release
        _answers[key] = shown(service)
    return _answers[key]


@router.post("/operations/services/{service}/scale")
def scale(service: str, wanted: Scale, key: Key) -> Json:
    """Run so many replicas."""
    if key not in _answers:
        service_named(service).replicas = wanted.replicas
        _answers[key] = shown(service)
    return _answers[key]


@router.post("/operations/services/{service}/flags/{flag}")
def switch(service: str, flag: str, wanted: Flag, key: Key) -> Json:
    """Turn a feature on or off."""
    if not flag.isidentifier():
        raise HTTPException(422, f"'{flag}' is no name of a flag")
    if key not in _answers:
        service_named(service).flags[flag] = wanted.enabled
        _answers[key] = shown(service)
    return _answers[key]
