"""Processes for functions marked ``@cpu``: started when first needed, used again, ended with the step they work for."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
from contextlib import suppress
from dataclasses import fields

from orchestrator.errors import StepError
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.function.handlers import Function
from orchestrator.steps.function.job import Job, Progress, Reply
from orchestrator.steps.raised import WORKER_LOST

POOL = "processes"
"""The key of the pool among the worker's resources."""
_OWN = ("resources", "secrets", "logger", "report")
"""Members of a StepContext that a process makes for itself."""
_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from orchestrator.steps.function.process import serve
serve()
"""


class Processes:
    """A worker's processes. ``size`` of them work at once; what comes then waits."""

    def __init__(self, size: int) -> None:
        self._free = asyncio.Semaphore(size)
        self._idle: list[_Process] = []
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, function: Function, args: list[Json], context: StepContext) -> Json:
        """Call the function in a process and give its output as JSON. Raises what the function raised, and StepError
        ``worker_lost`` when the process ended under it. Cancelled, it ends the process at once."""
        step = {one.name: getattr(context, one.name) for one in fields(context) if one.name not in _OWN}
        async with self._free:
            process = self._take() or await _Process.start()
            try:
                reply = await process.ask(Job(function.file, function.name, args, step), context)
            except BaseException as error:
                ended = self._end(process)
                if isinstance(error, asyncio.IncompleteReadError | ConnectionError):
                    await asyncio.shield(ended)
                    raise StepError(WORKER_LOST, _lost(function, process.code)) from error
                raise
            self._idle.append(process)
        return reply.of(context)

    async def aclose(self) -> None:
        """End every process and wait until they are gone."""
        while self._idle:
            self._end(self._idle.pop())
        await asyncio.gather(*self._ending)

    def _take(self) -> _Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.code is None:
                return process
            self._end(process)
        return None

    def _end(self, process: _Process) -> asyncio.Task[None]:
        ending = asyncio.create_task(process.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending


class _Process:
    """One process and its pipes. It answers one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> _Process:
        # A session of its own: ended together with what the function started; Ctrl-C is the worker's to handle.
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-c",
                _BOOT,
                json.dumps(sys.path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        )

    @property
    def code(self) -> int | None:
        """Exit code; None while it lives."""
        return self._process.returncode

    async def ask(self, job: Job, context: StepContext) -> Reply:
        """The reply to a job; what is said of its progress on the way is reported."""
        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None
        assert reader is not None
        message = pickle.dumps(job)
        writer.write(len(message).to_bytes(8, "big"))
        writer.write(message)
        await writer.drain()
        while True:
            size = int.from_bytes(await reader.readexactly(8), "big")
            said: Progress | Reply = pickle.loads(await reader.readexactly(size))
            if isinstance(said, Reply):
                return said
            context.report(said.details)

    async def end(self) -> None:
        """By force: what computes hears nothing else."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def _lost(function: Function, code: int | None) -> str:
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = f"signal {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += ", which is how the system ends what takes too much memory"
    return f"the process that ran {function.name} ({function.file}:{function.line}) ended in the middle of it: {how}"
