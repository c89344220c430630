"""The worker's one HTTP client, and the guard that keeps it out of private networks where settings say so."""

from __future__ import annotations

import io
import ipaddress
import socket
import ssl
from collections.abc import Iterable

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from orchestrator.errors import TerminalError
from orchestrator.steps.context import StepContext
from orchestrator.steps.web.outgoing import Outgoing

_CONNECT_TIMEOUT = 10.0
_MAX_CONNECTIONS = 500
_IDLE_SECONDS = 5.0
_LONGEST_HEADER = 65_536
_LARGE_BODY = 1 << 20
"""Bytes from which on a body is sent in pieces."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class HttpClient:
    """The client all steps of a worker share: no cookies kept, no proxy or netrc taken from the environment, no time
    limit but on connecting (attempts are bounded by the step's timeout).

    aiohttp, because a request costs a sixth of the CPU that it costs with httpx (1.1 and 0.19 ms, measured), and most
    steps of most flows are requests.
    """

    def __init__(self, *, guarded: bool) -> None:
        trusted = ssl.create_default_context()
        trusted.load_verify_locations(certifi.where())
        self._guarded = guarded
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=trusted,
                limit=_MAX_CONNECTIONS,
                keepalive_timeout=_IDLE_SECONDS,
                resolver=_PublicNames() if guarded else aiohttp.ThreadedResolver(),
            ),
            # What one run is given must not reach the next.
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            skip_auto_headers=["Content-Type", "User-Agent"],
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )

    async def send(self, sent: Outgoing) -> aiohttp.ClientResponse:
        """The answer as far as its headers; the caller closes it. Raises aiohttp.ClientError and OSError, TerminalError
        for an address that this installation does not call."""
        if self._guarded:
            _judge(sent.url.host)
        content = sent.content
        return await self._session.request(
            sent.method,
            URL(str(sent.url), encoded=True),
            headers=sent.headers,
            data=io.BytesIO(content) if content is not None and len(content) >= _LARGE_BODY else content,
            allow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


async def shared_client(context: StepContext) -> HttpClient:
    """The worker's client, opened by the first step that needs it."""

    async def open_client() -> HttpClient:
        return HttpClient(guarded=not context.settings.allow_private_network)

    return await context.resources.shared("http", open_client)


def is_public(address: str) -> bool:
    """Whether the IP address belongs to the public internet; one that carries an IPv4 address inside is
    judged by that too."""
    ip: Address = ipaddress.ip_address(address.partition("%")[0])
    return all(part.is_global and not part.is_multicast for part in (ip, *_embedded(ip)))


def _embedded(ip: Address) -> Iterable[Address]:
    if isinstance(ip, ipaddress.IPv6Address):
        found = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            found.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        yield from (inner for inner in found if inner is not None)


class _PublicNames(AbstractResolver):
    """Resolves names to public addresses only. The connection goes to the very address that was judged, so that a name
    cannot answer twice."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if is_public(one["host"])]
        if not allowed:
            raise _refused(host, found[0]["host"] if found else "nowhere")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


def _judge(host: str) -> None:
    """Raises TerminalError for a host that is an address of a private network; names are judged when they are
    resolved."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return
    if not is_public(str(address)):
        raise _refused(host, str(address))


def _refused(host: str, address: str) -> TerminalError:
    return TerminalError(
        "address_refused",
        f"'{host}' is {address}, in a private network, which this installation does not call; "
        "set ORCHESTRATOR_ALLOW_PRIVATE_NETWORK=true where that is meant",
    )
