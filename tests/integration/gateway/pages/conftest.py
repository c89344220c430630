"""Readers of the gateway's pages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.integration.gateway.conftest import Door

TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


def token_in(page: httpx.Response) -> str:
    """What the page's forms carry."""
    found = TOKEN.search(page.text)
    assert found is not None, page.text
    return found[1]


class Reader:
    """Somebody with a browser at the pages of a gateway."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def look(self, path: str) -> httpx.Response:
        return await self.http.get(path)

    async def send(self, path: str, **form: Any) -> httpx.Response:
        """The page's form, with these fields."""
        token = token_in(await self.look(path))
        return await self.http.post(path, data={"form_token": token} | form)


Readers = Callable[..., Reader]


@pytest.fixture
async def reader() -> AsyncIterator[Readers]:
    """``reader(door, name, language)``: somebody who has said that name."""
    async with AsyncExitStack() as stack:

        def make(door: Door, name: str | None, language: str = "en") -> Reader:
            http = httpx.AsyncClient(base_url=door.http.base_url, headers={"accept-language": language}, timeout=30)
            stack.push_async_callback(http.aclose)
            if name is not None:
                http.cookies.set("orchestrator_name", quote(name))
            return Reader(http)

        yield make
