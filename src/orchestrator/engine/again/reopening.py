"""From where a control step goes on when it is opened again: its state, per type (ENGINE §1). Pure.

A step that failed or was stopped has kept its state. One that had completed has not, and what its record tells takes
its place. Deadlines, attempts and delays begin anew in every case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.spec.definition import Json

Record = Mapping[str, Json]
State = dict[str, Json]

_OLD = ("deadline", "bound", "wake", "until", "retry_at", "retry_until", "handling", "failure", "listening", "since")


def fresh(state: Mapping[str, Json]) -> State:
    """A state without what belonged to the old run: its instants, and the error that a handler was at."""
    return {name: value for name, value in state.items() if name not in _OLD}


def branch(state: Mapping[str, Json], record: Record) -> State:
    """A condition or switch stays in the list it had taken; where it had taken none, it decides again."""
    if state:
        return fresh(state)
    taken = record.get("branch")
    if taken in (None, "none"):
        return {}
    return {"branch": None if taken == "default" else taken}


def race(state: Mapping[str, Json], record: Record, completed: Iterable[str]) -> State:
    """A parallel is decided again by the branches that are ``completed`` and those that run again."""
    still = list(completed)
    finished = state.get("finished") or record.get("finished") or []
    kept = {name: value for name, value in state.items() if name == "wait_for"}
    return kept | {"finished": [branch for branch in finished if branch in still]}


def attempt(state: Mapping[str, Json], record: Record, label: str | None, caught: Json) -> tuple[str, State]:
    """The list of a try that goes on, and its state. ``label`` is the list that has to; without it
    the step decides, as it does where what came before that list had failed:

    - what failed inside ``finally`` or a ``catch`` goes on there, and the body stays as it ended;
    - anything else goes on in the body, which may be caught again.

    ``caught`` is the error of the body's failed step, as its record tells it.
    """
    if label is None or (label == "finally" and state):
        label = _open_list(state)
    if label == "finally":
        return label, fresh(state) if "stage" in state else {"stage": "finally", "output": record.get("output")}
    if label.startswith("catch[") and caught is not None:
        return label, {"stage": "catch", "catch": int(label[6:-1]), "error": caught}
    return "steps", {}


def _open_list(state: Mapping[str, Json]) -> str:
    ended = state.get("ended")
    if state.get("stage") == "finally" and ("output" in state or (ended and ended["status"] == "completed")):
        return "finally"
    return f"catch[{state['catch']}]" if "catch" in state else "steps"


def is_done(kind: str, state: Mapping[str, Json], index: int) -> bool:
    """Whether a pass of a loop is over."""
    if kind == "while":
        return bool(index < state.get("pass", 0))
    return index < state.get("low", 0) or index in state.get("beyond", ())


def each(state: Mapping[str, Json], record: Record, again: Sequence[int], *, start: int | None, failed: bool) -> State:
    """A for-each goes on with the passes that are not done; ``again`` are passes to run again beside those, ``start``
    is the pass from which on all of them do.

    Where the loop itself had ``failed``, the passes that it had tolerated until then run again too.
    """
    new = fresh(state) if state else _each_of(record, again)
    if start is not None:
        new |= {"low": min(new.get("low", 0), start), "beyond": []}
        new.pop("stopped", None)
    errors: list[dict[str, Json]] = list(new.get("errors", []))
    low: int = new.get("low", 0)
    repeated = dict.fromkeys([*new.get("again", []), *again, *(one["index"] for one in errors if failed)])

    def stays(index: int) -> bool:
        return index not in repeated and (start is None or index < start)

    new["again"] = sorted(index for index in repeated if index < low)
    new["beyond"] = [index for index in new.get("beyond", []) if stays(index)]
    new["errors"] = [one for one in errors if stays(one["index"])]
    new["outputs"] = {index: output for index, output in new.get("outputs", {}).items() if stays(int(index))}
    return new


def sliced(state: Mapping[str, Json]) -> State:
    """A for-each that child runs carry out: those that had not ended well, or with failed items, are started again."""
    slices = {first: done for first, done in state["slices"].items() if not done["errors"]}
    return fresh(state) | {"slices": slices, "open": {}}


def _each_of(record: Record, again: Sequence[int]) -> State:
    """The state of a for-each that had completed: all is done, and nothing comes after it."""
    outputs = record.get("output") or []
    errors = record.get("errors", [])
    failed = [one["index"] for one in errors]
    return {
        "low": max([len(outputs), *(index + 1 for index in (*again, *failed))]),
        "outputs": {str(index): output for index, output in enumerate(outputs) if index not in failed},
        "errors": errors,
        "stopped": True,
    }
