"""The pinned, normalised form of a flow: exactly what a run executes, as plain immutable data.

``normalise`` writes it, the engine reads it, Temporal carries it as JSON. Defaults are filled in, names are
resolved, so that neither a new release nor an edited file can change a run in flight. ``FORMAT`` rises when the
shape changes; the engine reads every older number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from pydantic import TypeAdapter

FORMAT = 1

LARGEST_PAYLOAD = 1_900_000
"""Temporal refuses a single payload over 2 MB."""
CONTINUE_AFTER = 5_000
"""ENGINE §2: a replay of that many events takes about a second."""

Json = Any
"""Any JSON value: None, bool, int, float, str, list or dict with text keys."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how often an attempt is repeated (FLOW_FORMAT §6). Times are seconds."""

    max_attempts: int = 3
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    initial_interval: float = 1.0
    multiplier: float = 2.0
    max_interval: float = 60.0
    jitter: float = 0.0
    """Share of the delay that is random: 0 none, 1 full."""
    max_duration: float | None = None
    on: tuple[str, ...] = ("retryable",)
    not_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds. For an act step ``attempt`` bounds each try and ``total`` all of them, queueing included; a control
    step has ``total`` only: the whole block. None means no bound of its own."""

    attempt: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One step. Child lists live in ``lists`` by name, so that every walk over a definition is the same three lines:

    ========== =======================================================
    type       lists
    ========== =======================================================
    block      steps
    parallel   branches
    condition  then, else
    switch     case[0], case[1], …, default
    for-each   steps
    while      steps
    try        steps, catch[0], …, finally
    saga       steps
    any        on_error, compensate (where the author wrote steps there)
    ========== =======================================================

    ``config`` is what the author wrote minus those lists; durations in it are seconds. Strings in it are templates,
    except the expression fields of control types (``if``, ``while``, ``until``, ``items``, ``value``,
    ``cases[n].if``), which are expressions.
    """

    id: str
    type: str
    source: str
    """``file:line:column`` of the step in the YAML."""
    named: bool = True
    """False where the id was made up (``type-n``): such a step cannot be named in expressions."""
    name: str | None = None
    condition: str | None = None
    """The step's ``if`` expression."""
    needs: tuple[str, ...] | None = None
    """None: waits for all steps above it in its list. Otherwise the ids of the siblings it waits for."""
    explicit_needs: bool = False
    """True where the author wrote ``needs`` with at least one id: skipped when all of those were skipped."""
    config: dict[str, Json] = field(default_factory=dict)
    lists: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    retry: Retry | None = None
    """None for steps that are never tried twice (control types, ``retry: none``)."""
    timeout: Timeout = Timeout()
    on_error: Literal["fail", "continue", "steps"] = "fail"
    """``steps``: run ``lists['on_error']``; their output becomes the step's."""
    compensate_on: Literal["completed", "attempted"] = "completed"
    output_schema: dict[str, Json] | None = None
    cache: dict[str, Json] | None = None
    task_queue: str | None = None
    priority: int | None = None
    durability: Literal["step", "express"] = "step"
    at_most_once: bool = False
    counts: bool = True
    """As a branch of a parallel: whether it can end the race."""
    mocked: bool = False
    """In a test of the flow: something answers for the step, so it is one activity whatever its type."""
    bindings: dict[str, dict[str, Json]] = field(default_factory=dict)
    """Catalogue entries the flow itself declares and this step names: ``{"services": {"crm": {…}}}``. What is
    declared in ``orchestrator.yaml`` stays there and is read by the worker."""

    def walk(self) -> Iterator[Node]:
        """This step and every step inside it, in the order of the file."""
        yield self
        for children in self.lists.values():
            for child in children:
                yield from child.walk()


@dataclass(frozen=True, slots=True)
class Definition:
    """A flow as a run sees it."""

    flow: str
    version: str
    hash: str
    """SHA-256 (hex) over the canonical JSON of what the author wrote, ``version`` aside: the identity of the content
    (see ``normalise.content_hash``)."""
    file: str
    steps: tuple[Node, ...]
    name: str | None = None
    inputs: dict[str, Json] = field(default_factory=dict)
    """JSON Schema of the inputs as one object schema: ``{"type": "object", "properties": …, "required": […]}``."""
    env: dict[str, Json] = field(default_factory=dict)
    """Declared names with their defaults; the values are fixed when a run starts."""
    vars: dict[str, Json] = field(default_factory=dict)
    """Start values; strings are templates."""
    output: Json = None
    has_output: bool = False
    timeout: float | None = None
    """Seconds for the whole run, waits included; None is no limit."""
    handlers: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    """``fallback`` and ``finally`` of ``error_handling``."""
    task_queue: str | None = None
    concurrency: dict[str, Json] | None = None
    """``{limit, key, when_full}``: how many runs go on at once; ``key`` is a template."""
    monitoring: dict[str, Json] | None = None
    """``{metrics, alerts: [{condition, any, channel, message}]}``: runs are written into the ledger; ``any`` is the
    condition as ``spec.monitoring`` writes it."""
    format: int = FORMAT

    def walk(self) -> Iterator[Node]:
        """Every step, handlers included, in the order of the file."""
        for node in self.steps:
            yield from node.walk()
        for nodes in self.handlers.values():
            for node in nodes:
                yield from node.walk()


@dataclass(frozen=True, slots=True)
class Envelope:
    """Everything a run is started with besides the body (argument 1 of the workflow).

    Our client passes it as argument 2 and the definition, which is the larger and never changes, as argument 3: each is
    a payload of its own (ENGINE §2). A run that any other Temporal client starts without them builds the same thing in
    one local activity.
    """

    definition: Definition
    inputs: dict[str, Json] = field(default_factory=dict)
    """Validated, defaults filled in."""
    env: dict[str, Json] = field(default_factory=dict)
    trigger: dict[str, Json] = field(default_factory=dict)
    """FLOW_FORMAT §8: ``type, id, time, body`` and what the type adds."""
    root: str = ""
    """The first run's id, carried through continue-as-new and retry; empty: this run is the first."""
    attempt: int = 1
    retry_of: str | None = None
    parent: dict[str, Json] | None = None
    test: bool = False
    until: str | None = None
    """Id of the step after whose completion the run returns that step's output."""
    search_attributes: bool = False
    """Whether the namespace is known to have ours registered."""
    searchable: bool = False
    """Whether runs carry their version and trigger among them from the start."""
    depth: int = 0
    """How many runs stand above this one."""
    largest_payload: int = LARGEST_PAYLOAD
    """Bytes one argument or result of this run may have; more where external storage is configured."""
    continue_after: int = CONTINUE_AFTER
    """History events after which the run continues as new (ENGINE §2)."""
    slice: dict[str, Json] | None = None
    """Set where this run carries out a part of a large ``for-each`` of its parent."""
    announce: Sequence[str] = ()
    """The engine's own events about this run that somebody subscribed to when it started."""
    skip: str | None = None
    """Why this run ends at once, having done nothing: the schedule that started it does not apply."""
    format: int = FORMAT


_DEFINITION: TypeAdapter[Definition] = TypeAdapter(Definition)


def definition_to_json(definition: Definition) -> dict[str, Json]:
    """The definition as JSON, defaults left out."""
    dumped: dict[str, Json] = _DEFINITION.dump_python(definition, mode="json", exclude_defaults=True)
    return dumped | {"format": definition.format}


def definition_from_json(data: Json) -> Definition:
    """The definition that ``definition_to_json`` wrote. Raises pydantic's ValidationError on any other shape."""
    return _DEFINITION.validate_python(data)


def definition_key(definition: Definition) -> str:
    """What identifies a definition's content and the file its messages point at: workers keep compiled ones by it."""
    # Content that was published before alerts were raised is pinned without them.
    monitored = " monitored" if definition.monitoring is not None else ""
    return f"{definition.hash} {definition.version} {definition.file}{monitored}"


_EMPTY: tuple[Json, ...] = (None, "", {}, False)
_LEFT_OUT: dict[str, tuple[Json, ...]] = {
    "depth": (0,),
    "largest_payload": (LARGEST_PAYLOAD,),
    "continue_after": (CONTINUE_AFTER,),
    "announce": ((), []),
}
"""Values of members that need not travel."""


def envelope_to_json(envelope: Envelope, body: Json) -> dict[str, Json]:
    """The envelope as JSON beside the body and the definition it is started with; ``definition`` holds the key alone.
    Empty members are left out, and so is what repeats the body: ``trigger.body``, and the inputs where they are the
    body's own members."""
    members = {one.name: getattr(envelope, one.name) for one in fields(Envelope)}
    dumped: dict[str, Json] = {
        name: value for name, value in members.items() if value not in _LEFT_OUT.get(name, _EMPTY)
    }
    dumped["definition"] = definition_key(envelope.definition)
    if envelope.inputs != body:
        dumped["inputs"] = envelope.inputs
    else:
        dumped.pop("inputs", None)
    if envelope.trigger.get("body") == body:
        dumped["trigger"] = {name: value for name, value in envelope.trigger.items() if name != "body"}
    return dumped


def envelope_from_json(data: dict[str, Json], definition: Definition, body: Json) -> Envelope:
    """The envelope that ``envelope_to_json`` wrote, around its decoded definition. Raises TypeError on any other
    shape."""
    envelope = Envelope(**(data | {"definition": definition}))
    trigger = {"body": body} | envelope.trigger
    return replace(envelope, trigger=trigger, inputs=data.get("inputs", body if isinstance(body, dict) else {}))
