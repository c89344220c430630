"""Whatever is sent to any operation of the API: an answer that its description foretells, and never a 5xx."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import temporalio.client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import Door, open_door

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5"))
"""For each operation."""
FLOW = """
id: fuzzed
triggers:
  - {type: webhook, path: /fuzzed}
  - {type: schedule, id: nightly, cron: "0 0 * * *"}
  - {type: file, id: upload, path: data/in}
  - {type: queue, id: work, queue: fuzzed}
inputs: {n: {type: integer, default: 1}}
steps: [{id: ask, type: human-task, config: {assignee: ada, form: {type: object, properties: {note: {type: string}}}}}]
"""
PROJECT = "queues: {fuzzed: {}}\n"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
async def house(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Door]:
    (tmp_path / "orchestrator.yaml").write_text(PROJECT)
    async with open_door(
        temporal,
        tmp_path,
    ) as door:
        await door.publish(FLOW)
        yield door


async def test_every_operation_answers_as_it_is_described_and_never_with_a_5xx(house: Door) -> None:
    run = await house.client.start("fuzzed", {})
    described = (await house.http.get("/openapi.json")).json()
    known = {"flow": ["fuzzed"], "run_id": [run.id], "trigger": ["nightly", "upload", "work"], "queue": ["fuzzed"]}
    await asyncio.to_thread(fuzz, described, str(house.http.base_url), known)
    assert (await house.http.get("/health")).status_code == 200


def fuzz(described: dict[str, Any], url: str, known: dict[str, list[str]]) -> None:
    """Send examples to every operation. Half of them name something that exists."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        schema = schemathesis.openapi.from_dict(described)
        operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) > 30
    for operation in operations:

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(), data=st.data())
        def one(case: Any, data: st.DataObject) -> None:
            for name in [name for name in case.path_parameters or {} if name in known]:
                if data.draw(st.booleans()):
                    case.path_parameters[name] = data.draw(st.sampled_from(known[name]))
            case.call_and_validate(base_url=url, checks=CHECKS, timeout=30)

        one()
