"""The process under measurement: ``python -m benchmarks.host KIND …``. Prints one JSON line when it serves."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from temporalio.client import Client

from benchmarks import handwritten
from orchestrator.client.connection import connect_temporal
from orchestrator.devserver.connect import connected
from orchestrator.devserver.serve import HttpServer
from orchestrator.devserver.stack import Stack
from orchestrator.errors import Problem
from orchestrator.settings import Settings
from orchestrator.worker import FlowWorker

KINDS = ("handwritten-worker", "handwritten-web", "tuned-worker", "tuned-web", "flow-worker", "flow-web")


class Teller:
    """Problems are fatal here: a flow that is not published cannot be measured."""

    def note(self, text: str) -> None:
        """Something went as it should."""

    def problems(self, problems: Sequence[Problem]) -> None:
        """Stop at once."""
        raise SystemExit("\n".join(str(problem) for problem in problems))


@asynccontextmanager
async def open_host(kind: str, settings: Settings, echo_port: int) -> AsyncIterator[int]:
    """Serves until left; gives the HTTP port, 0 where there is none."""
    async with AsyncExitStack() as stack:
        if kind == "flow-web":
            served = await stack.enter_async_context(Stack(settings, Teller(), watch_files=False))
            yield urlsplit(served.gateway_url).port or 0
        elif kind == "flow-worker":
            parts = await stack.enter_async_context(connected(settings))
            await stack.enter_async_context(FlowWorker(settings, parts.client.temporal, parts.store, parts.project))
            yield 0
        else:
            # "tuned" has the connection that the product uses on one machine: no compression.
            tuned = kind.startswith("tuned")
            client = await (connect_temporal(settings) if tuned else Client.connect(settings.address))
            await stack.enter_async_context(handwritten.worker(client, echo_port))
            if kind.endswith("-worker"):
                yield 0
            else:
                server = await stack.enter_async_context(HttpServer(handwritten.web(client), "127.0.0.1", 0))
                yield server.port


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--address", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--echo-port", type=int, required=True)
    given = parser.parse_args()
    settings = Settings(
        project_dir=given.folder, temporal_address=given.address, port=0, task_queue="orchestrator-bench"
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_host(given.kind, settings, given.echo_port) as port:
        sys.stdout.write(json.dumps({"port": port}) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main())
