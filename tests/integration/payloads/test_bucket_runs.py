"""Runs whose large values live in a bucket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client
from tests.engine.harness import open_workbench

from orchestrator.payloads.converter import release

GROW = """
id: grow
inputs: {bytes: integer}
steps:
  - {id: big, type: function, config: {handler: grow, params: {bytes: "{{ inputs.bytes }}"}}}
  - {id: pass, type: function, config: {handler: reveal, params: {text: "{{ steps.big.output }}"}}}
output: "{{ steps.pass.output.text | length }}"
"""


async def test_runs_finish_with_their_values_in_a_bucket(temporal: Client, tmp_path: Path, s3: str) -> None:
    place = f"s3://values/runs?endpoint={s3}"
    async with open_workbench(temporal, tmp_path, payloads=place, cached_runs=0) as bench:
        sizes = [300_000 + n for n in range(5)]
        assert await asyncio.gather(*(bench.run(GROW, {"bytes": size}) for size in sizes)) == sizes
        assert not (bench.settings.state / "objects").exists()
        await release(bench.temporal.data_converter)


async def test_a_bucket_that_is_away_fails_the_step_and_not_the_worker(temporal: Client, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "testing")
        patched.setattr("orchestrator.steps.attempt._STORE_TRIES", (0.1,))
        place = "s3://values/runs?endpoint=http://127.0.0.1:1&region=us-east-1"
        flow = (
            "id: g\nsteps: [{id: big, type: function, retry: none, config: {handler: grow, params: {bytes: 300000}}}]"
        )
        async with open_workbench(temporal, tmp_path, payloads=place) as bench:
            # The details of a failure are small: only the output needed the bucket.
            error = await bench.failure(flow)
            assert (error["type"], "127.0.0.1:1" in error["message"]) == ("storage_unavailable", True)
            assert await bench.run("id: h\nsteps: [{id: a, type: function, config: {handler: echo, args: [1]}}]") == 1
            await release(bench.temporal.data_converter)
