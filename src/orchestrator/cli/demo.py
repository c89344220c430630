"""``orchestrator demo``: one run of the content moderation flow, from the webhook to the answered review."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx

from orchestrator.cli import progress
from orchestrator.cli.claude import claude_for
from orchestrator.cli.console import moment, say, say_problems, show, show_table
from orchestrator.client import Run
from orchestrator.devserver.stack import Stack
from orchestrator.devserver.temporal import free_port, port_is_free
from orchestrator.errors import Problem, Unavailable
from orchestrator.settings import Settings

Json = Any

FLOW_FILE = "workflows/content-moderation.yaml"
WEBHOOK = "/api/webhooks/content"
CONTENT = {"id": "content_123", "content": "테스트 메시지입니다", "user_id": "user_456"}
DECISION = {"decision": "approve", "comment": "문제가 없습니다", "by": "demo"}
CHANNEL = "REVIEW_CHANNEL"
"""Where that flow tells its reviewers, empty for nowhere."""
_OUTPUT_WIDTH = 60


class Told:
    """What the demo says of the stack: problems only, the rest is its own story."""

    def note(self, text: str) -> None:
        """Published flows are no news here."""

    def problems(self, problems: Sequence[Problem]) -> None:
        """A flow that cannot be used."""
        say_problems(problems)


async def demo(settings: Settings, keep_open: Callable[[], Any] | None = None) -> None:
    """Run the demo and end. ``keep_open`` is awaited before everything stops. Raises OrchestratorError."""
    if not (settings.project_dir / FLOW_FILE).is_file():
        raise Unavailable(f"the demo runs {FLOW_FILE}, which is not in {settings.project_dir}: start it in the project")
    settings = _on_free_ports(replace(settings, state_dir=settings.state_dir / "demo", temporal_address=""))
    # There is no Slack in a demo.
    settings = replace(settings, env={**settings.env, CHANNEL: ""})
    async with claude_for(settings) as with_claude, Stack(with_claude, Told(), watch_files=False) as stack:
        run = await _deliver(stack)
        state = await _watch(stack, run)
        _show(run, state, await run.result())
        say(f"\nTemporal Web UI  {stack.temporal_ui}/namespaces/default/workflows/{run.id}")
        say(f"HTTP API         {stack.gateway_url}/docs")
        if keep_open is not None:
            say("everything stays open until Ctrl-C", "dim")
            await keep_open()
        else:
            say("both end with the demo; `orchestrator demo --keep` leaves them open", "dim")


def _on_free_ports(settings: Settings) -> Settings:
    def usable(port: int) -> int:
        return port if port_is_free(port) else free_port()

    return replace(
        settings,
        host="127.0.0.1",
        public_url="",
        port=usable(settings.port),
        temporal_port=usable(settings.temporal_port),
        temporal_ui_port=usable(settings.temporal_ui_port),
    )


async def _deliver(stack: Stack) -> Run:
    url = f"{stack.gateway_url}{WEBHOOK}"
    say(f"POST {url}  {json.dumps(CONTENT, ensure_ascii=False)}")
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.post(url, json=CONTENT)
    if answer.status_code != httpx.codes.ACCEPTED:
        raise Unavailable(f"the webhook answered {answer.status_code}: {answer.text[:300]}")
    started = answer.json()
    say(f"{answer.status_code}  run {started['run_id']} of flow {started['flow']} {started['version']}\n")
    return stack.client.run(started["run_id"])


async def _watch(stack: Stack, run: Run) -> dict[str, Json]:
    """Show the run until it is over; a review it waits for is answered with a Temporal signal."""
    answered: dict[str, None] = {}
    told = progress.Told(_tell)
    while True:
        state = await progress.follow(run, told, waits=lambda wait: wait["path"] not in answered)
        if state["status"] in progress.OVER:
            return state
        for wait in state["waits"]:
            answered[wait["path"]] = None
            await _answer(stack, run, wait)


async def _answer(stack: Stack, run: Run, wait: dict[str, Json]) -> None:
    for task in await stack.client.tasks(run_id=run.id):
        say(f"\n  a person has to decide: {task.title}", "cyan")
        until = f", until {moment(task.deadline)}" if task.deadline else ""
        say(f"  for {task.assignee or task.group}{until}", "dim")
    say(f"  temporal signal {wait['step']}  {json.dumps(DECISION, ensure_ascii=False)}\n", "cyan")
    await run.signal(wait["step"], DECISION)


def _tell(path: str, record: dict[str, Json]) -> None:
    mark, style = progress.MARKS.get(record["status"], ("?", None))
    if record["status"] == "running" and record["type"] in progress.CONTROL:
        return
    label = f"{record['name']} ({path})" if record.get("name") else path
    say(f"  {mark} {label}  {record['type']}  {progress.duration(record)}", style)


def _show(run: Run, state: dict[str, Json], result: Json) -> None:
    say("")
    show_table(
        ("STEP", "TYPE", "STATUS", "TIME", "ATTEMPTS", "OUTPUT"),
        (
            (path, record["type"], record["status"], progress.duration(record), record["attempts"], _brief(record))
            for path, record in state["steps"].items()
        ),
        title=f"{run.id}: {state['status']}",
    )
    show(f"result: {json.dumps(result, ensure_ascii=False)}")


def _brief(record: dict[str, Json]) -> str:
    if "error" in record:
        return str(record["error"]["message"])[:_OUTPUT_WIDTH]
    text = json.dumps(record.get("output"), ensure_ascii=False) if record.get("output") is not None else ""
    return text if len(text) <= _OUTPUT_WIDTH else text[: _OUTPUT_WIDTH - 1] + "…"
