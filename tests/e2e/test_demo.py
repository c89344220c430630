"""``orchestrator demo`` shows a whole run, the answered review included, and cleans up behind itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.e2e.product import Product


def test_the_demo_runs_from_the_webhook_to_the_answered_review(launch: Callable[..., Product]) -> None:
    demo = launch("demo")
    assert demo.process.wait(60) == 0, demo.said()
    said = demo.said()
    assert "local stand-in" in said
    assert "/api/webhooks/content" in said
    assert "temporal signal review" in said
    assert re.search(r"content-moderation-\w+: completed", said)
    assert '"status": "approved"' in said
    assert "Temporal Web UI" in said and "/docs" in said


def test_the_demo_leaves_no_process_behind(launch: Callable[..., Product]) -> None:
    demo = launch("demo")
    demo.wait_for("temporal signal review")
    group = children_of(demo.process.pid)
    assert len(group) >= 2, "a Temporal server and a stand-in"
    assert demo.process.wait(60) == 0, demo.said()
    assert [pid for pid in group if is_alive(pid)] == []


def test_the_demo_takes_free_ports_where_the_usual_ones_are_taken(launch: Callable[..., Product]) -> None:
    running = launch("up")
    running.wait_for("ready")
    taken = {name: running.environment[name] for name in running.environment if name.endswith("_PORT")}
    demo = launch("demo", **{name: port for name, port in taken.items() if name.startswith("ORCHESTRATOR_")})
    assert demo.process.wait(60) == 0, demo.said()


def test_the_demo_outside_a_project_says_what_is_missing(launch: Callable[..., Product], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    demo = launch("demo", ORCHESTRATOR_PROJECT_DIR=str(empty))
    assert demo.process.wait(60) == 1
    assert "workflows/content-moderation.yaml" in demo.said()
    assert "Traceback" not in demo.said()


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in listed.split()]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
