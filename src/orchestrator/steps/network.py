"""The worker's one HTTP client, and the guard that keeps it out of private networks where settings say so."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy

import certifi
import httpcore
import httpx

from orchestrator.errors import TerminalError
from orchestrator.steps.context import StepContext

_CONNECT_TIMEOUT = 10.0
_MAX_CONNECTIONS = 500
_MAX_IDLE = 100
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def shared_client(context: StepContext) -> httpx.AsyncClient:
    """The client all steps of this worker share: no cookies kept, no proxy or netrc taken from the
    environment, no time limit but on connecting (attempts are bounded by the step's timeout)."""

    async def open_client() -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=_Transport(guarded=not context.settings.allow_private_network),
            timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT),
            # A jar that accepts nothing: what one run is given must not reach the next.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )

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


class _Transport(httpx.AsyncHTTPTransport):
    def __init__(self, *, guarded: bool) -> None:
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        super().__init__(verify=context, trust_env=False)
        # httpx has no parameter for the network backend; the pool is where httpcore takes it.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_IDLE,
            keepalive_expiry=5.0,
            network_backend=_PublicNetwork() if guarded else None,
        )


class _PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only. It resolves the name itself and connects to the very address it
    judged, so that a name cannot answer twice."""

    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _resolve(host, port)
        allowed = [address for address in addresses if is_public(address)]
        if not allowed:
            raise TerminalError(
                "address_refused",
                f"'{host}' is {addresses[0]}, in a private network, which this installation does not call; "
                "set ORCHESTRATOR_ALLOW_PRIVATE_NETWORK=true where that is meant",
            )
        for address in allowed[:-1]:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._backend.connect_tcp(allowed[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise httpcore.ConnectError(str(error)) from error
    return [str(entry[4][0]) for entry in found]
