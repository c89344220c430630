"""``orchestrator demo`` shows a whole run, the answered review included, and cleans up behind itself."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.product import Product, children_of, fresh, is_alive

SECONDS = 100.0
"""A demo takes five; beside the other tests of a small machine it takes longer."""


def test_the_demo_runs_from_the_webhook_to_the_answered_review(launch: Callable[..., Product]) -> None:
    demo = launch("demo", fresh)
    assert demo.process.wait(SECONDS) == 0, demo.said()
    said = demo.said()
    assert "local stand-in" in said
    assert "/api/webhooks/content" in said
    assert "temporal signal review" in said
    assert re.search(r"content-moderation-\w+: completed", said)
    assert '"status": "approved"' in said
    assert re.search(r"– \S+/tell-reviewers  slack", said), "there is no Slack in a demo: the message is skipped"
    assert "Temporal Web UI" in said and "/docs" in said


def test_the_demo_leaves_no_process_behind(launch: Callable[..., Product]) -> None:
    demo = launch("demo")
    # Looked for from the start: where this test is slow, the demo is over before its last words are read.
    deadline = time.monotonic() + 60
    while len(group := children_of(demo.process.pid)) < 2:
        assert time.monotonic() < deadline, f"a Temporal server and a stand-in never ran:\n{demo.said()}"
        time.sleep(0.02)
    assert demo.process.wait(SECONDS) == 0, demo.said()
    assert [pid for pid in group if is_alive(pid)] == []


def test_the_demo_takes_free_ports_where_the_usual_ones_are_taken(launch: Callable[..., Product]) -> None:
    with contextlib.ExitStack() as held:
        taken = {}
        for name in ("PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT"):
            listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            taken[f"ORCHESTRATOR_{name}"] = str(listener.getsockname()[1])
        demo = launch("demo", **taken)
        assert demo.process.wait(SECONDS) == 0, demo.said()


def test_the_demo_outside_a_project_says_what_is_missing(launch: Callable[..., Product], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    demo = launch("demo", ORCHESTRATOR_PROJECT_DIR=str(empty))
    assert demo.process.wait(SECONDS) == 1
    assert "workflows/content-moderation.yaml" in demo.said()
    assert "Traceback" not in demo.said()
