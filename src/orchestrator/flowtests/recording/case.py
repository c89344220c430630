"""A finished run as a case of a test file: its answers as mocks, what people and the world sent as events, and its end
as what is expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator.flowtests.recording.recorded import Attempt, Message, RecordedRun
from orchestrator.spec.definition import Definition, Json, Node
from orchestrator.spec.flowtests.checks import NEEDS_ANSWER
from orchestrator.spec.flowtests.model import Usage
from orchestrator.spec.places import is_inside, locate, places
from orchestrator.spec.reading import WAITING

LONGEST_TEXT = 4_000
"""Characters of one text; of a longer one the beginning is kept."""
KEPT_TEXT = 200
_NEVER = "30d"
"""How long the answer of a step takes that was stopped before it answered."""
_ERROR = ("type", "message", "status", "retryable", "data")
_START = {
    "webhook": ("body", "method", "headers", "query", "params"),
    "schedule": ("scheduled_time",),
    "event": ("body", "event", "events"),
    "file": ("file",),
    "queue": ("body", "message_id"),
}
"""What of a trigger's scope a start is made from again, by type."""


@dataclass(slots=True)
class Recording:
    """A case, as a test file holds it, and remarks about it for whoever reads the file."""

    case: dict[str, Json]
    remarks: list[str] = field(default_factory=list)


def recording(run: RecordedRun) -> Recording:
    """The case that repeats ``run``."""
    made = Recording({"name": f"as in run {run.id}"})
    case = made.case
    case.update(_start(run))
    case["env"] = {
        name: value for name, value in run.envelope.env.items() if run.envelope.definition.env.get(name) != value
    }
    case["mocks"] = _mocks(run)
    case["events"] = [event for _, event in sorted(_events(run), key=lambda timed: timed[0])]
    case["expect"] = _expect(run)
    made.case = {name: _cut(value, name, made.remarks) for name, value in case.items() if value not in ({}, [])}
    return made


def without_what_differs(made: Recording, output: Json) -> None:
    """Expect of the output only what a second run, whose output is ``output``, gave too: ids and times differ."""
    expected = made.case["expect"].pop("output", None)
    same = _same(expected, output)
    if isinstance(same, dict) and same:
        made.case["expect"]["output_has"] = same
    made.remarks.append("what differs from run to run is left out of the expected output")


def _same(one: Json, other: Json) -> Json:
    """The members that two values share, nested; a list only as a whole."""
    if isinstance(one, dict) and isinstance(other, dict):
        shared = {name: _same(one[name], other[name]) for name in one if name in other}
        return {name: value for name, value in shared.items() if value is not _DIFFERENT}
    return one if one == other else _DIFFERENT


_DIFFERENT = object()


def _start(run: RecordedRun) -> dict[str, Json]:
    trigger = run.envelope.trigger
    kind = trigger.get("type", "api")
    if kind not in _START:
        return {"inputs": run.envelope.inputs}
    members = {name: trigger[name] for name in _START[kind] if trigger.get(name) not in (None, {}, [])}
    return {"trigger": {"type": kind, "id": trigger.get("id"), **members}}


# -- mocks ----------------------------------------------------------------------------------------------------


def _mocks(run: RecordedRun) -> dict[str, Json]:
    """By step, inside loops by path."""
    mocks: dict[str, Json] = {}
    for path in _acts(run):
        answers = [_answer(attempt) for attempt in run.attempts.get(path, ())] or [_of_record(run.steps[path])]
        if run.steps[path]["status"] == "cancelled":
            answers = [{"output": None, "delay": _NEVER}]
        same = all(answer == answers[0] for answer in answers)
        mocks[_name(run, path)] = answers[0] if same else answers
    return mocks


def _acts(run: RecordedRun) -> Iterator[str]:
    """Paths of the steps that did something; what an agent did is its own affair."""
    agents = [path for path, record in run.steps.items() if record["type"] == "agent"]
    for path, record in run.steps.items():
        if record["type"] not in NEEDS_ANSWER or record["status"] in ("skipped", "running"):
            continue
        if not any(is_inside(path, agent) for agent in agents):
            yield path


def _node(definition: Definition, path: str, record: Mapping[str, Json]) -> Node:
    """The step of a path; one that was computed at run time stands in no definition."""
    try:
        return locate(definition, path).node
    except LookupError:
        return Node(path, record["type"], definition.file)


def _answer(attempt: Attempt) -> dict[str, Json]:
    told: dict[str, Json] = {"output": attempt.output} if attempt.error is None else {"error": _error(attempt.error)}
    if attempt.seconds >= 1:
        told["delay"] = _duration(attempt.seconds)
    return told | ({"usage": _usage(attempt.usage)} if attempt.usage else {})


def _of_record(record: Mapping[str, Json]) -> dict[str, Json]:
    """What no activity of its own answered: agents, sub-flows, express steps."""
    told: dict[str, Json] = (
        {"error": _error(record["error"])} if "error" in record else {"output": record.get("output")}
    )
    seconds = _seconds(record, "started_at", "finished_at")
    if seconds >= 1:
        told["delay"] = _duration(seconds)
    return told | ({"usage": _usage(record["usage"])} if record.get("usage") else {})


def _error(error: Mapping[str, Json]) -> dict[str, Json]:
    return {name: error[name] for name in _ERROR if error.get(name) is not None}


def _usage(usage: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in usage.items() if name in Usage.model_fields and value is not None}


# -- events ---------------------------------------------------------------------------------------------------


def _events(run: RecordedRun) -> Iterator[tuple[float, dict[str, Json]]]:
    """What happened from outside, each with its time."""
    tasks = {node.id for node in run.envelope.definition.walk() if node.type == WAITING}
    for message in run.messages:
        if message.name in tasks and isinstance(message.content, dict) and "decision" in message.content:
            yield message.at, _decision(run, message)
        elif message.name in ("orchestrator.pause", "orchestrator.resume"):
            yield message.at, {**_anchor(run, message.at), message.name.split(".")[1]: True}
    for path, record in run.steps.items():
        if record["type"] == "wait-for-event":
            for event in _arrivals(run, path, record):
                yield _offset(run, record, "finished_at"), event
    if run.cancelled_at is not None and run.status == "cancelled":
        yield run.cancelled_at, {**_anchor(run, run.cancelled_at), "cancel": True}


def _anchor(run: RecordedRun, at: float) -> dict[str, Json]:
    """When something happened, told by the newest step that had begun and not ended: in a test the answers before it
    take no time."""
    under_way = [
        (path, at - _offset(run, record, "started_at"))
        for path, record in run.steps.items()
        if _offset(run, record, "started_at") <= at < _offset(run, record, "finished_at")
    ]
    if not under_way:
        return {"after": _duration(at)}
    path, since = under_way[-1]
    return {"on": _name(run, path)} | ({"after": _duration(since)} if since >= 1 else {})


def _name(run: RecordedRun, path: str) -> str:
    """How a test names a step: by its id, inside loops by its path."""
    return path if "[" in path else _node(run.envelope.definition, path, run.steps[path]).id


def _decision(run: RecordedRun, message: Message) -> dict[str, Json]:
    content = message.content
    given = {name: content[name] for name in ("data", "comment", "by") if content.get(name) is not None}
    path = _task_path(run, message)
    since = 0.0 if path is None else message.at - _offset(run, run.steps[path], "started_at")
    named = message.name if path is None else _name(run, path)
    late = {"on": named, "after": _duration(since)} if since >= 1 else {}
    return {**late, "decide": named, "decision": content["decision"], **given}


def _task_path(run: RecordedRun, message: Message) -> str | None:
    """The path of the task that a decision was for: the one it names, else the one of that name that was open."""
    named = message.content.get("task")
    path = str(named).removeprefix(f"{run.id}:") if named else None
    if path in run.steps:
        return path
    opened = [
        path
        for path, record in run.steps.items()
        if record["type"] == WAITING
        and path.rpartition("/")[2] == message.name
        and _offset(run, record, "started_at") <= message.at
    ]
    return opened[-1] if opened else None


def _arrivals(run: RecordedRun, path: str, record: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    """What a wait was given; nothing where its time ran out."""
    node = _node(run.envelope.definition, path, record)
    seconds = _seconds(record, "started_at", "finished_at")
    when: dict[str, Json] = {"on": node.id} | ({"after": _duration(seconds)} if seconds >= 1 else {})
    if node.config.get("callback"):
        if "error" in record and record["error"]["type"] != "deadline_exceeded":
            told = {name: record["error"][name] for name in ("type", "message")}
            yield {**when, "callback": node.id, "error": told}
        elif event := (record.get("output") or {}).get("event"):
            yield {**when, "callback": node.id, "data": event.get("data")}
        return
    for event in ((record.get("output") or {}).get("events") or {}).values():
        if "signal" in node.config:
            yield {**when, "signal": node.config["signal"], "data": event.get("data")}
        else:
            members = {name: event[name] for name in ("data", "source", "subject", "id") if event.get(name) is not None}
            yield {**when, "event": event["type"], **members}


# -- expectations ---------------------------------------------------------------------------------------------


def _expect(run: RecordedRun) -> dict[str, Json]:
    expect: dict[str, Json] = {} if run.status == "completed" else {"status": run.status}
    if run.status == "completed":
        expect["output"] = run.output
    elif run.error is not None:
        step = (run.error.get("step") or {}).get("id")
        expect["error"] = {"type": run.error["type"]} | ({"step": step} if step else {})
    ran, skipped = _states(run)
    expect |= {"ran": ran, "skipped": skipped}
    if run.compensated:
        definition = run.envelope.definition
        expect["compensated"] = [
            _node(definition, path, run.steps.get(path, {"type": ""})).id for path in run.compensated
        ]
    return {name: value for name, value in expect.items() if value != []}


def _states(run: RecordedRun) -> tuple[list[str], list[str]]:
    """Ids of the steps that ran and of those that were skipped, in the order of the file. Inside loops a step that ran
    in any pass has run."""
    seen: dict[str, list[str]] = {}
    for path, record in run.steps.items():
        seen.setdefault(_node(run.envelope.definition, path, record).id, []).append(record["status"])
    named = [place.node.id for place in places(run.envelope.definition) if place.node.named]
    ran = [name for name in named if any(status in ("completed", "failed") for status in seen.get(name, ()))]
    skipped = [name for name in named if name in seen and all(status == "skipped" for status in seen[name])]
    return ran, skipped


# -- values ---------------------------------------------------------------------------------------------------


def _cut(value: Json, at: str, remarks: list[str]) -> Json:
    """The value with the beginning of its longest texts; what was cut is told in ``remarks``."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        remarks.append(f"{at} had {len(value):,} characters; the first {KEPT_TEXT} stand here")
        return value[:KEPT_TEXT]
    if isinstance(value, dict):
        return {name: _cut(member, f"{at}.{name}", remarks) for name, member in value.items()}
    if isinstance(value, list):
        return [_cut(item, f"{at}[{index}]", remarks) for index, item in enumerate(value)]
    return value


def _duration(seconds: float) -> str:
    whole = round(seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def _seconds(record: Mapping[str, Json], start: str, end: str) -> float:
    if start not in record or end not in record:
        return 0.0
    return (_moment(record[end]) - _moment(record[start])).total_seconds()


def _offset(run: RecordedRun, record: Mapping[str, Json], name: str) -> float:
    return (_moment(record[name]) - run.started_at).total_seconds() if name in record else 0.0


def _moment(text: Any) -> datetime:
    return datetime.fromisoformat(text)
