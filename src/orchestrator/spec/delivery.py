"""Rules on how a step reaches its worker: express, and queues of other programs (ENGINE §6, §8). They look at what a
step inherits, so they read the normalised step beside the written one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.spec.call import OWN_QUEUE_PREFIX
from orchestrator.spec.definition import Node
from orchestrator.spec.findings import Findings, is_template
from orchestrator.spec.reading import WAITING, Placed
from orchestrator.spec.source import Path
from orchestrator.spec.step import RetryPolicy, TimeoutSpec

Json = Any

EXPRESS_LIMIT = 5.0
"""Seconds one attempt of an express step may take."""


def check_delivery(steps: Iterable[Placed], nodes: Iterable[Node], findings: Findings) -> None:
    """Report every step that cannot be delivered the way its flow says. ``nodes`` are what ``steps`` became."""
    for step, top in zip(steps, nodes, strict=True):
        for placed, node in zip(step.walk(), top.walk(), strict=True):
            if node.durability == "express":
                _express(placed, node, findings)
            if is_foreign(node.task_queue) and placed.type == "function":
                _foreign(placed, node, findings)
            if node.cache is not None and is_foreign(node.task_queue):
                message = f"`cache` does nothing on `{placed.id}`: another program's worker knows no cache of ours"
                findings.error((*placed.path, "cache"), message, "put it on steps of this project's worker", key=True)


def is_foreign(queue: str | None) -> bool:
    """Whether a task queue is known to be served by somebody else's worker."""
    return queue is not None and not is_template(queue) and not queue.startswith(OWN_QUEUE_PREFIX)


def _express(placed: Placed, node: Node, findings: Findings) -> None:
    name, path = placed.id, placed.path
    record = "`defaults: {durability: step}` on a block around it records it"
    if placed.type in (WAITING, "agent"):
        findings.error(
            (*path, "type"), f"`{name}` is express, and a `{placed.type}` step takes longer than that", record
        )
    if "compensate" in placed.lists:
        message = f"`{name}` is express: a crash may repeat it, so it is not known what to compensate"
        findings.error((*path, "compensate"), message, record, key=True)
    if not placed.is_act or placed.type == "agent":
        return
    if is_foreign(node.task_queue):
        at = _queue_path(placed)
        findings.error(at, f"`{name}` is express, and the queue `{node.task_queue}` is another program's", record)
    if node.at_most_once:
        message = f"`{name}` is express: a crash may repeat it, which `at_most_once` rules out"
        findings.error((*path, "at_most_once"), message, record, key=True)
    if node.timeout.attempt is None or node.timeout.attempt > EXPRESS_LIMIT:
        given = node.timeout.attempt or 0.0
        findings.error(
            _timeout_path(placed),
            f"`{name}` is express, and one attempt may take {given:g} s; at most {EXPRESS_LIMIT:g} s are allowed",
            "express needs `timeout: 5s` (or less), on the step or in `defaults`",
            key=True,
        )


def _timeout_path(placed: Placed) -> Path:
    own = placed.step.timeout
    if own is None or (isinstance(own, TimeoutSpec) and own.attempt is None):
        return placed.path
    return (*placed.path, "timeout")


def _queue_path(placed: Placed) -> Path:
    if placed.step.task_queue is not None:
        return (*placed.path, "task_queue")
    return placed.config_paths.get("task_queue", placed.path)


def _foreign(placed: Placed, node: Node, findings: Findings) -> None:
    retry = node.retry
    if retry is None or retry.max_attempts <= 1 or retry.backoff == "exponential":
        return
    own = isinstance(placed.step.retry, RetryPolicy) and "backoff" in placed.step.retry.model_fields_set
    findings.error(
        (*placed.path, "retry", "backoff") if own else _queue_path(placed),
        f"`{placed.id}` is retried on the queue `{node.task_queue}` of another program, which knows no {retry.backoff} "
        "backoff",
        "write `backoff: exponential`, with `multiplier: 1` for the same wait every time",
    )
