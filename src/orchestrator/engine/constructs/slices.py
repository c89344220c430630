"""A ``for-each`` over many items, carried out by child runs of some hundred each, so that no history grows with the
collection (ENGINE §10)."""

from __future__ import annotations

from collections.abc import Iterator

from temporalio import workflow

from orchestrator.engine.activities import Outcome
from orchestrator.engine.children import Launch
from orchestrator.engine.constructs.each import Each, too_many
from orchestrator.engine.failures import StepFailed, error_record
from orchestrator.engine.frame import Frame
from orchestrator.engine.journal import State
from orchestrator.engine.run import Walk
from orchestrator.engine.together import raise_if_cancelled, run_all
from orchestrator.spec.definition import Envelope, Json, Node, definition_to_json, envelope_to_json
from orchestrator.spec.places import locate

SPLIT_ABOVE = 1_000
SLICE = 500
MOST_CHILDREN = 50

_TIED = frozenset({"set", "return", "human-task", "agent", "wait-for-event", "run-steps", "flow"})
"""Steps that belong to the run itself: its vars, its end, its messages."""


async def for_each(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Run the steps once per item: here, or in child runs where there are many."""
    each = Each(walk, node, frame, path)
    if _splits(walk, node, len(each.items)):
        return await _run(walk, node, frame, path, each)
    await each.run()
    return each.outcome()


def _splits(walk: Walk, node: Node, count: int) -> bool:
    """Whether child runs carry the loop out: many items, and a body that does not touch the run it is in."""
    if count <= SPLIT_ABOVE or walk.run.envelope.slice is not None:
        return False
    if walk.program.definition is not walk.run.envelope.definition or node.config.get("until") is not None:
        return False
    return not any(inner.type in _TIED or "compensate" in inner.lists for inner in node.walk() if inner is not node)


async def _run(walk: Walk, node: Node, frame: Frame, path: str, each: Each) -> Outcome:
    """Run the slices, some at once, and put their results together."""
    state = walk.run.journal.state(path)
    items = each.items
    width = min(MOST_CHILDREN, each.concurrency, -(-len(items) // SLICE))
    todo = iter(range(0, len(items), SLICE))

    async def work() -> None:
        for first in todo:
            if str(first) not in state.setdefault("slices", {}):
                await _slice(walk, node, frame, path, items, first, max(1, each.concurrency // width), state)
                _check_tolerance(state, each.tolerated)

    await run_all([work() for _ in range(width)], stops=lambda error: True)
    done = [state["slices"][str(first)] for first in range(0, len(items), SLICE)]
    errors = [error for one in done for error in one["errors"]]
    collected = node.config.get("collect") != "none"
    return Outcome([output for one in done for output in one["outputs"]] if collected else None, {"errors": errors})


async def run_slice(walk: Walk, told: dict[str, Json]) -> dict[str, Json]:
    """In the child: the passes of one slice, under the paths they would have had in the parent."""
    node = locate(walk.program.definition, told["path"]).node
    root = walk.run.frame
    root.scope["vars"].update(told["vars"])
    walk.run.journal.repeat(told["path"], told.get("repeats", 0))
    prefix = told["path"].removesuffix(node.id)
    frame = Frame(root.scope | told["names"], dict(told["steps"]), prefix, "", told["names"])
    each = Each(walk, node, frame, told["path"], told)
    await each.run()
    return each.collected()


async def _slice(
    walk: Walk,
    node: Node,
    frame: Frame,
    path: str,
    items: list[Json],
    first: int,
    concurrency: int,
    state: State,
) -> None:
    open_: State = state.setdefault("open", {}).setdefault(str(first), {})
    if "child" not in open_:
        told = {
            "path": path,
            "first": first,
            "total": len(items),
            "items": items[first : first + SLICE],
            "concurrency": concurrency,
            "repeats": walk.run.journal.repeats(path),
            "names": frame.names,
            "vars": dict(frame.scope["vars"]),
            "steps": {name: frame.steps[name] for name in sorted(_reads(walk, node)) if name in frame.steps},
        }
        await walk.run.children.start(_launch(walk, node, path, first, told), open_)
    report = await walk.run.children.result(open_["child"], part=True)
    raise_if_cancelled()
    if report["status"] != "completed":
        cause = report.get("error") or {}
        if str((cause.get("step") or {}).get("path", "")).startswith(f"{path}["):
            # A pass failed: the failure of the loop is the same as without slices.
            raise StepFailed(cause)
        kind = str(cause.get("type") or report["status"])
        message = f"items {first} and following: {cause.get('message') or 'the child run was ' + report['status']}"
        raise StepFailed(error_record(node, path, kind, message, cause=cause or None))
    state["slices"][str(first)] = report["output"]
    del state["open"][str(first)]


def _check_tolerance(state: State, tolerated: float) -> None:
    errors = [error for one in state["slices"].values() for error in one["errors"]]
    if len(errors) > tolerated:
        raise too_many(errors, errors[-1]["error"])


def _launch(walk: Walk, node: Node, path: str, first: int, told: dict[str, Json]) -> Launch:
    run_ = walk.run
    envelope = run_.envelope
    body: Json = envelope.trigger.get("body")
    generation = run_.journal.generation(path)
    child = Envelope(
        envelope.definition,
        inputs=envelope.inputs,
        env=envelope.env,
        trigger=envelope.trigger,
        root=run_.root,
        attempt=envelope.attempt,
        parent={"run": workflow.info().workflow_id, "flow": envelope.definition.flow, "step": node.id, "path": path}
        | {"wait": True},
        test=envelope.test,
        search_attributes=envelope.search_attributes,
        searchable=envelope.searchable,
        depth=envelope.depth + 1,
        largest_payload=envelope.largest_payload,
        continue_after=envelope.continue_after,
        slice=told,
    )
    last = first + len(told["items"]) - 1
    return Launch(
        id=f"{run_.root}:{path}[{first}-{last}]" + (f"#{generation}" if generation > 1 else ""),
        definition=envelope.definition,
        args=[body, envelope_to_json(child, body), definition_to_json(envelope.definition)],
        trigger="flow",
        summary=f"{path}: items {first} to {last}",
        searchable=envelope.searchable,
    )


def _reads(walk: Walk, node: Node) -> set[str]:
    """Ids of the steps that the body names."""
    return set(_named(walk, node))


def _named(walk: Walk, node: Node) -> Iterator[str]:
    for inner in node.walk():
        for reference in walk.program.code(inner).references():
            if reference.root == "steps" and reference.path:
                yield str(reference.path[0])
