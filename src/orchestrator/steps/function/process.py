"""What a process for ``@cpu`` functions does: read a job, call the function, answer. Started by ``processes``."""

from __future__ import annotations

import functools
import logging
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pydantic_core import PydanticSerializationError, to_jsonable_python
from temporalio.exceptions import ApplicationError

from orchestrator.errors import FlowInvalid, StepError, TerminalError
from orchestrator.security.secrets import Secrets
from orchestrator.steps.context import CURRENT, Json, Resources, StepContext
from orchestrator.steps.function.handlers import Function, find_function, invoke_arguments
from orchestrator.steps.function.job import Job, Progress, Reply
from orchestrator.steps.raised import from_application

_FUNCTIONS: dict[tuple[str, str], Function] = {}


def serve() -> None:
    """Answer jobs until the worker is gone."""
    jobs = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    # The pipes are ours: what a function reads is empty, what it prints goes where the worker logs.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    received: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(jobs, received), daemon=True).start()
    say = functools.partial(_say, replies)
    while True:
        say(_answer(received.get(), say))


def _say(replies: BinaryIO, what: Reply | Progress) -> None:
    message = pickle.dumps(what)
    replies.write(len(message).to_bytes(8, "big") + message)
    replies.flush()


def _receive(jobs: BinaryIO, received: queue.SimpleQueue[Job]) -> None:
    """Its own thread, because the worker's end has to be noticed while a function computes."""
    try:
        while header := jobs.read(8):
            received.put(pickle.loads(jobs.read(int.from_bytes(header, "big"))))
    finally:
        # Everything a function started belongs to this session.
        os.killpg(0, signal.SIGKILL)


def _answer(job: Job, say: Callable[[Progress], None]) -> Reply:
    secrets = Secrets(job.step["settings"].secrets)

    def report(details: Json) -> None:
        say(Progress(secrets.mask(to_jsonable_python(details, fallback=str))))

    context = StepContext(secrets=secrets, resources=Resources(), report=report, **job.step)
    logging.basicConfig(level=context.settings.log_level, stream=sys.stderr)
    CURRENT.set(context)
    try:
        output = _call(job)
    except StepError as error:
        return _reply(context, error=_told(error))
    except ApplicationError as error:
        return _reply(context, error=_told(from_application(error)))
    except (Exception, SystemExit) as error:  # the function is the user's and may raise anything
        context.logger.warning("step %s of run %s raised", context.path, context.run_id, exc_info=True)
        return _reply(context, error=_told(StepError(type(error).__name__, str(error) or repr(error))))
    return _reply(context, output=output)


def _call(job: Job) -> Json:
    function = _function(job)
    output = function.call(*invoke_arguments(function, job.args))
    try:
        return to_jsonable_python(output)
    except PydanticSerializationError as error:
        raise TerminalError("invalid_output", f"the step returned what JSON cannot hold: {error}") from error


def _function(job: Job) -> Function:
    key = (job.file, job.function)
    if key not in _FUNCTIONS:
        try:
            _FUNCTIONS[key] = find_function(Path(job.file), job.function)
        except (FlowInvalid, LookupError) as error:
            message = f"{error}; the file was changed after the worker started: start the worker again"
            raise TerminalError("unknown_function", message) from error
    return _FUNCTIONS[key]


def _told(error: StepError) -> dict[str, Json]:
    return {
        "terminal": not error.retryable,
        "type": error.type,
        "message": error.message,
        "status": error.status,
        "retry_after": error.retry_after,
        "data": to_jsonable_python(error.data, fallback=str),
    }


def _reply(context: StepContext, output: Json = None, error: dict[str, Json] | None = None) -> Reply:
    usage = to_jsonable_python(context.usage, fallback=str)
    return Reply(output, error, usage, tuple(context.secrets.used))
