"""What ``function`` steps call: the project's own Python functions, each a standard Temporal activity."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from temporalio import activity

from orchestrator.errors import FlowInvalid, Problem, TerminalError
from orchestrator.spec.base import ACTS
from orchestrator.steps.context import Json
from orchestrator.steps.function.loop_watch import USERS

F = TypeVar("F", bound=Callable[..., Any])
_CPU = "__orchestrator_cpu__"


def cpu(call: F) -> F:
    """Marks a function that computes for longer than moments: ``@activity.defn`` and ``@cpu`` above a plain ``def``. It
    runs in a process of the worker's pool, so that it uses another core, cannot hold up the other steps, and is ended
    when its step is cancelled or out of time."""
    setattr(call, _CPU, True)
    return call


@dataclass(frozen=True, slots=True)
class Parameter:
    """One positional parameter: how its JSON value becomes what the function expects."""

    name: str
    adapter: TypeAdapter[Any] | None
    """None where the author gave no type: the JSON value as it is."""
    required: bool
    rest: bool = False
    """True for ``*args``."""


@dataclass(frozen=True, slots=True)
class Function:
    """A handler found in ``activities/``."""

    name: str
    """The activity's name."""
    call: Callable[..., Any]
    is_async: bool
    file: str
    line: int
    doc: str
    signature: str
    parameters: tuple[Parameter, ...] = ()
    cpu: bool = False
    """Runs in a process of its own (``@cpu``)."""


def discover(folder: Path) -> dict[str, Function]:
    """Every ``@activity.defn`` function of the folder's ``*.py`` files under each name a flow may write as
    ``handler``: the activity's name, and that and the function's own name in snake_case and camelCase. Files
    that start with ``_`` are there for the others to import.

    Raises FlowInvalid naming each file that cannot be imported, each name used twice or taken by a step type,
    and each function that cannot be called with JSON.
    """
    found: dict[str, Function] = {}
    problems: list[Problem] = []
    files = sorted(folder.glob("*.py")) if folder.is_dir() else []
    with _importable(folder.resolve()):
        for file in files:
            if file.name.startswith("_"):
                continue
            try:
                module = _load(file)
            except _ImportProblem as error:
                problems.append(error.problem)
                continue
            for call in _decorated(module):
                try:
                    _add(found, _function(call, file))
                except _FunctionProblem as error:
                    line = call.__code__.co_firstlineno
                    problems.append(Problem(str(error), str(file), line, hint=error.hint))
    if problems:
        raise FlowInvalid(problems)
    return _by_spelling(found)


def find_function(file: Path, name: str) -> Function:
    """The one function of that activity name, its file read anew. Raises FlowInvalid where the file has changed
    since ``discover`` and cannot be imported, LookupError where it no longer has the function."""
    with _importable(file.parent):
        try:
            module = _load(file)
        except _ImportProblem as error:
            raise FlowInvalid([error.problem]) from error
        for call in _decorated(module):
            if activity._Definition.must_from_callable(call).name == name:
                return _function(call, file)
    raise LookupError(f"{file} no longer has a function '{name}'")


def invoke_arguments(function: Function, args: list[Json]) -> list[Any]:
    """The JSON arguments as the function's parameters want them. Raises TerminalError ``invalid_config``
    naming the parameter, or the member of it, that does not fit."""
    parameters = function.parameters
    rest = parameters[-1] if parameters and parameters[-1].rest else None
    fixed = [parameter for parameter in parameters if not parameter.rest]
    if len(args) > len(fixed) and rest is None:
        raise TerminalError(
            "invalid_config",
            f"{_called(function)} takes {len(fixed)} argument(s), the step gives {len(args)}; "
            "'params' is one argument, 'args' one for each",
        )
    missing = [parameter.name for parameter in fixed[len(args) :] if parameter.required]
    if missing:
        raise TerminalError(
            "invalid_config",
            f"{_called(function)} needs '{missing[0]}'; give 'params' (one argument) or 'args' in the config",
        )
    return [
        _converted(function, fixed[position] if position < len(fixed) else rest, value)
        for position, value in enumerate(args)
    ]


def _called(function: Function) -> str:
    return f"{function.name}{function.signature} ({function.file}:{function.line})"


def _converted(function: Function, parameter: Parameter | None, value: Json) -> Any:
    if parameter is None or parameter.adapter is None:
        return value
    try:
        return parameter.adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join([parameter.name, *(str(part) for part in first["loc"])])
        raise TerminalError("invalid_config", f"{_called(function)}: {where}: {first['msg']}") from error


class _ImportProblem(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _FunctionProblem(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """While the files are imported they may import each other. Afterwards neither sys.path nor sys.modules knows
    their short names, so that a changed file is read again and another project's file of that name is its own."""
    entry = str(folder)
    before = set(sys.modules)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
        for name in [name for name in sys.modules if name not in before and not name.startswith(USERS)]:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(f"{entry}{os.sep}"):
                del sys.modules[name]


def _load(file: Path) -> ModuleType:
    # A name of its own for each project, so that no file shadows an installed module or another project's.
    digest = hashlib.sha256(str(file.parent.resolve()).encode()).hexdigest()[:8]
    name = f"{USERS}{digest}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the file is the user's and may raise anything
        sys.modules.pop(name, None)
        raise _ImportProblem(_import_problem(error, file)) from error
    return module


def _import_problem(error: BaseException, file: Path) -> Problem:
    line = 1
    if isinstance(error, SyntaxError) and error.filename == str(file):
        line = error.lineno or 1
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == str(file):
                line = frame.lineno or 1
    hint = "its functions cannot be used until it can be imported"
    if isinstance(error, ModuleNotFoundError):
        hint = f"install '{error.name}' where the worker runs, or correct the import"
    return Problem(f"the file cannot be imported: {type(error).__name__}: {error}", str(file), line, hint=hint)


def _decorated(module: ModuleType) -> list[Callable[..., Any]]:
    """The module's own decorated functions by line; imported ones belong to the file they come from."""
    own = [
        value
        for value in vars(module).values()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and hasattr(value, "__temporal_activity_definition")
    ]
    unique = list({id(value): value for value in own}.values())
    return sorted(unique, key=lambda call: call.__code__.co_firstlineno)


def _function(call: Callable[..., Any], file: Path) -> Function:
    definition = activity._Definition.must_from_callable(call)
    if definition.name is None:
        raise _FunctionProblem("a dynamic activity has no name a flow could use", "give it a name of its own")
    is_cpu = getattr(call, _CPU, False)
    if is_cpu and definition.is_async:
        raise _FunctionProblem(
            f"{call.__name__} is marked @cpu and is an `async def`: a process of its own has nothing to wait for",
            "write it as a plain `def`, or leave @cpu away",
        )
    return Function(
        name=definition.name,
        call=call,
        is_async=definition.is_async,
        file=str(file),
        line=inspect.unwrap(call).__code__.co_firstlineno,
        doc=inspect.getdoc(call) or "",
        signature=str(inspect.signature(call)),
        parameters=tuple(_parameters(call)),
        cpu=is_cpu,
    )


def _parameters(call: Callable[..., Any]) -> Iterator[Parameter]:
    try:
        hints = get_type_hints(call, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise _FunctionProblem(
            f"the types of {call.__name__} cannot be read: {error}", "import what its annotations name"
        ) from error
    for name, parameter in inspect.signature(call).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        # Keyword-only parameters do not get here: the SDK's decorator refuses them.
        required = parameter.default is parameter.empty
        rest = parameter.kind is parameter.VAR_POSITIONAL
        adapter = _adapter(call, name, hints[name]) if name in hints else None
        yield Parameter(name, adapter, required and not rest, rest)


def _adapter(call: Callable[..., Any], name: str, hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise _FunctionProblem(
            f"parameter '{name}' of {call.__name__} is {hint}, which JSON cannot fill",
            "use plain types, a dataclass, a TypedDict or a pydantic model",
        ) from error


def _add(found: dict[str, Function], function: Function) -> None:
    spelled = _spelled(function)
    for name in spelled:
        if name in ACTS:
            raise _FunctionProblem(f"'{name}' is the name of a step type", f"call it for example '{name}_task'")
    for other in found.values():
        if not set(spelled).isdisjoint(_spelled(other)):
            raise _FunctionProblem(
                f"'{function.name}' is already a handler: {other.file}:{other.line} ('{other.name}')",
                "names that differ in spelling only are one name; rename one of them",
            )
    found[function.name] = function


def _spelled(function: Function) -> list[str]:
    names = (function.name, function.call.__name__)
    return list(dict.fromkeys(spelling for name in names for spelling in (name, _snake(name), _camel(name))))


def _by_spelling(found: dict[str, Function]) -> dict[str, Function]:
    return {name: function for function in found.values() for name in _spelled(function)}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)
