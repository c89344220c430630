"""The ``api`` step: a method of a service from the catalogue."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from orchestrator.errors import TerminalError
from orchestrator.spec.acts.api import ApiConfig, RateLimit, Service, ServiceMethod
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.web.exchange import exchange
from orchestrator.steps.web.outgoing import Request, as_text, json_body, merged

TYPE = "api"
CONFIG = ApiConfig

_PLACE = re.compile(r"\{([^{}]+)\}")


async def run(config: ApiConfig, context: StepContext) -> Json:
    """Call the method; the output is the body of the answer. Errors: see ``exchange``."""
    service = context.entry("services", config.service, Service)
    method = _method(config, service)
    body = config.body if config.body is not None else method.body
    request = Request(
        url=f"{service.base_url.rstrip('/')}/{_path(config, method).lstrip('/')}",
        method=method.method,
        headers=merged(service.headers, method.headers, config.headers),
        query=method.query | config.query,
        body=None if body is None else json_body(body),
        auth=service.auth,
        expect=method.expect,
        timeout=service.timeout,
    )
    if service.rate_limit is not None:
        await _turn(config.service, service, service.rate_limit, context)
    return (await exchange(request, context)).body


def _method(config: ApiConfig, service: Service) -> ServiceMethod:
    if config.method in service.methods:
        return service.methods[config.method]
    close = difflib.get_close_matches(config.method, service.methods, 3) or sorted(service.methods)
    known = ", ".join(f"'{name}'" for name in close) or "none"
    raise TerminalError("not_found", f"service '{config.service}' has no method '{config.method}'; there: {known}")


def _path(config: ApiConfig, method: ServiceMethod) -> str:
    called = f"{config.service}.{config.method}"
    places = _PLACE.findall(method.path)
    for name in config.params:
        if name not in places:
            known = ", ".join(f"'{place}'" for place in places) or "none"
            raise TerminalError(
                "invalid_config",
                f"path {method.path} of {called} has no place for param '{name}'; its places: {known}",
            )

    def fill(match: re.Match[str]) -> str:
        return _segment(match[1], config.params, called)

    return _PLACE.sub(fill, method.path)


def _segment(name: str, params: Mapping[str, Any], called: str) -> str:
    if params.get(name) is None:
        raise TerminalError("invalid_config", f"{called} needs param '{name}': it is part of the path")
    text = as_text(params[name], f"param '{name}'")
    if text in ("", ".", ".."):
        raise TerminalError("invalid_config", f"param '{name}' of {called} is {text!r}, which would change the path")
    return quote(text, safe="")


class Bucket:
    """A token bucket: holds up to ``requests`` turns and gains them evenly over ``per`` seconds."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._turns = float(limit.requests)
        self._at = asyncio.get_running_loop().time()
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Wait for a turn; callers get theirs in the order they came."""
        async with self._lock:
            rate = self._limit.requests / self._limit.per
            while True:
                now = asyncio.get_running_loop().time()
                self._turns = min(float(self._limit.requests), self._turns + (now - self._at) * rate)
                self._at = now
                if self._turns >= 1:
                    self._turns -= 1
                    return
                await asyncio.sleep((1 - self._turns) / rate)

    async def aclose(self) -> None:
        """Nothing is held open."""


async def _turn(name: str, service: Service, limit: RateLimit, context: StepContext) -> None:
    async def open_bucket() -> Bucket:
        return Bucket(limit)

    key = f"rate:{name}:{service.base_url}:{limit.requests}/{limit.per}"
    await (await context.resources.shared(key, open_bucket)).take()
