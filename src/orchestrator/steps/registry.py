"""From step modules and users' functions to the activities a worker serves."""

from __future__ import annotations

import difflib
import functools
import importlib
import os
import pkgutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, NoReturn

from pydantic import ValidationError
from temporalio import activity
from temporalio.common import RawValue

import orchestrator.steps as package
from orchestrator.errors import TerminalError
from orchestrator.spec.acts.agent import AgentConfig
from orchestrator.spec.base import ActConfig
from orchestrator.spec.call import AGENT_OPEN, AGENT_TURN, CLOSE_TASK, NOTE_TASK
from orchestrator.steps.agent.turn import open_agent, take_turn
from orchestrator.steps.attempt import current_step
from orchestrator.steps.context import StepContext
from orchestrator.steps.function.handlers import Function, invoke_arguments
from orchestrator.steps.function.processes import POOL, Processes
from orchestrator.steps.notify.alert import alert
from orchestrator.steps.runs.announce import announce
from orchestrator.steps.tasks import human_task

Json = Any
Body = Callable[..., Awaitable[Json]]
Activity = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class StepType:
    """An act step type: what authors call it, its config model, and what an attempt does."""

    name: str
    config: type[ActConfig]
    run: Body


@lru_cache(maxsize=1)
def step_types() -> Mapping[str, StepType]:
    """Every act step type this release executes: the modules below this package that have TYPE, CONFIG and ``run``."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    modules = [importlib.import_module(module.name) for module in found if not module.ispkg]
    types = [_step_type(module) for module in modules if hasattr(module, "TYPE")]
    return {step.name: step for step in types}


def _step_type(module: ModuleType) -> StepType:
    return StepType(module.TYPE, module.CONFIG, module.run)


def step_activities() -> list[Activity]:
    """One activity per step type, named like it, and the one that closes human tasks."""
    return [_activity(step) for step in step_types().values()] + [_close_task, _note_task, announce, alert]


def function_activities(functions: Mapping[str, Function]) -> list[Activity]:
    """One activity per name of a user's function, one that answers for every unknown name, and those of agents, whose
    tools functions are."""
    named = [_function_activity(name, function) for name, function in functions.items()]
    return [*named, _unknown(list(functions)), *_agent_activities(functions)]


def validate_config(model: type[ActConfig], config: Json, where: str) -> ActConfig:
    """The rendered config as the step's model. Raises TerminalError ``invalid_config`` naming the key."""
    try:
        return model.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in ("config", *first["loc"]))
        raise TerminalError("invalid_config", f"{where}: {key}: {first['msg']}") from error


def _activity(step: StepType) -> Activity:
    @activity.defn(name=step.name)
    async def attempt(config: Any, *more: Any) -> Any:
        context = current_step()
        return await step.run(validate_config(step.config, config, context.source), context, *more)

    return attempt


def _agent_activities(functions: Mapping[str, Function]) -> list[Activity]:
    @activity.defn(name=AGENT_OPEN)
    async def opening(config: Any, told: dict[str, Any]) -> Any:
        context = current_step()
        checked = validate_config(AgentConfig, config, context.source)
        assert isinstance(checked, AgentConfig)
        return await open_agent(checked, told, context, functions)

    @activity.defn(name=AGENT_TURN)
    async def turn(told: dict[str, Any]) -> Any:
        return await take_turn(told, current_step())

    return [opening, turn]


@activity.defn(name=NOTE_TASK)
async def _note_task(noting: Any) -> Any:
    return await human_task.note_task(noting, current_step(), _notify)


async def _notify(config: Json, context: StepContext) -> Json:
    """Do what a ``notification`` step does."""
    step = step_types()["notification"]
    return await step.run(validate_config(step.config, config, context.source), context)


@activity.defn(name=CLOSE_TASK)
async def _close_task(closing: Any) -> None:
    await human_task.close_task(closing, current_step())


def _function_activity(name: str, function: Function) -> Activity:
    if function.cpu:

        @activity.defn(name=name)
        async def call_in_process(*args: Any) -> Any:
            context = current_step()
            pool = await context.resources.shared(POOL, functools.partial(_processes, context))
            return await pool.run(function, list(args), context)

        return call_in_process

    if function.is_async:

        @activity.defn(name=name)
        async def call(*args: Any) -> Any:
            return await function.call(*invoke_arguments(function, list(args)))

        return call

    @activity.defn(name=name)
    def call_in_thread(*args: Any) -> Any:
        return function.call(*invoke_arguments(function, list(args)))

    return call_in_thread


async def _processes(context: StepContext) -> Processes:
    return Processes(context.settings.cpu_processes or _cores())


def _cores() -> int:
    """How many this process may use, where the system tells; else how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unknown(names: list[str]) -> Activity:
    @activity.defn(dynamic=True)
    async def unknown(args: Sequence[RawValue]) -> None:
        _refuse(activity.info().activity_type, names)

    return unknown


def _refuse(handler: str, names: list[str]) -> NoReturn:
    close = difflib.get_close_matches(handler, names, 1)
    meant = f" Did you mean '{close[0]}'?" if close else ""
    known = ", ".join(sorted(names)) or "none"
    raise TerminalError(
        "unknown_function",
        f"no function '{handler}' in activities/; there: {known}.{meant} Write it with @activity.defn, or give the "
        "step the task_queue of the worker that serves it.",
    )
