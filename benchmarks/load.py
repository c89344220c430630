"""Closed-loop load: as many requests at once as there are connections, each answered before the next is sent."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Load:
    """What one load phase gave; latencies in seconds."""

    latencies: tuple[float, ...]
    elapsed: float

    @property
    def count(self) -> int:
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.count / self.elapsed

    def percentile(self, share: float) -> float:
        """Latency in milliseconds that ``share`` of the answers did not exceed."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def drive(call: Callable[[int], Awaitable[None]], count: int, at_once: int) -> Load:
    """``count`` calls, ``at_once`` in flight."""
    numbers = iter(range(count))
    latencies: list[float] = []

    async def lane() -> None:
        for number in numbers:
            began = time.perf_counter()
            await call(number)
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*[lane() for _ in range(at_once)])
    return Load(tuple(latencies), time.perf_counter() - began)


class Connection:
    """One kept-alive HTTP connection that costs the load generator little."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in answer.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        status = int(answer.split(b" ", 2)[1])
        return status, json.loads(await self._reader.readexactly(length))

    async def aclose(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()


async def post_for(
    port: int, path: str, body: Any, expected: Any, connections: int, seconds: float, expected_status: int = 200
) -> Load:
    """POST the body over ``connections`` connections for ``seconds``. Raises RuntimeError at the first other answer;
    ``expected`` None takes any answer of that status."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def lane() -> None:
        connection = Connection(port)
        try:
            while time.perf_counter() < end:
                began = time.perf_counter()
                status, answer = await connection.post(path, body)
                if status != expected_status or expected not in (None, answer):
                    raise RuntimeError(f"POST {path} answered {status} {answer}, not {expected}")
                latencies.append(time.perf_counter() - began)
        finally:
            await connection.aclose()

    began = time.perf_counter()
    await asyncio.gather(*[lane() for _ in range(connections)])
    return Load(tuple(latencies), time.perf_counter() - began)


def middle(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)
