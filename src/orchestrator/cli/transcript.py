"""``runs transcript``: read what a run's agents said, were told and called."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from orchestrator.cli.console import moment, run, show, show_json, show_table
from orchestrator.cli.runs import AsJson, RunId
from orchestrator.client import Transcript, TranscriptMessage, TranscriptSummary
from orchestrator.devserver.connect import connected
from orchestrator.settings import Settings

_SHOWN = 2_000
"""Characters of one block; --json has them all."""

Path = Annotated[
    str | None, typer.Argument(metavar="[PATH]", help="The agent's step, as the list shows it; without it, the list.")
]
Generation = Annotated[
    int | None, typer.Option("--generation", min=1, help="Which time, where a step was run again; the newest without.")
]


def transcript(
    context: typer.Context, run_id: RunId, path: Path = None, generation: Generation = None, as_json: AsJson = False
) -> None:
    """Read the conversations of a run's agents, also while they go on."""
    run(_list(context.obj, run_id, as_json) if path is None else _show(context.obj, run_id, path, generation, as_json))


async def _list(settings: Settings, run_id: str, as_json: bool) -> None:
    async with connected(settings) as parts:
        found = await parts.client.run(run_id).transcripts()
    if as_json:
        show_json(found)
    elif not found:
        show(f"no agent of run {run_id} has begun")
    else:
        show_table(("PATH", "AGENT", "MODEL", "TURNS", "TOKENS", "COST", "UPDATED"), map(_row, found))


def _row(found: TranscriptSummary) -> tuple[Any, ...]:
    path = found.path if found.generation == 1 else f"{found.path} --generation {found.generation}"
    return (path, found.agent, found.model, found.turns, *_spent(found.usage), found.updated_at)


def _spent(usage: dict[str, Any]) -> tuple[str, str]:
    read = sum(usage.get(f"{name}input_tokens") or 0 for name in ("", "cache_creation_", "cache_read_"))
    cost = usage.get("cost", 0.0)
    return f"{read:,} in, {usage.get('output_tokens', 0):,} out", cost if isinstance(cost, str) else f"${cost:.4f}"


async def _show(settings: Settings, run_id: str, path: str, generation: int | None, as_json: bool) -> None:
    async with connected(settings) as parts:
        found = await parts.client.run(run_id).transcript(path, generation=generation)
    if as_json:
        show_json(found)
        return
    for line in _lines(found):
        show(line)


def _lines(found: Transcript) -> Iterator[str]:
    """The conversation as a person reads it."""
    who = f"agent {found.agent}" if found.agent else "an agent"
    yield f"{found.path}: {who}, {found.model}"
    yield f"tools: {', '.join(tool['name'] for tool in found.tools) or 'none'}"
    for name, why in found.left_out.items():
        yield f"left out: {name}: {why}"
    yield from _titled("system", found.system)
    names: dict[str, str] = {}
    for message in found.messages:
        yield f"\n-- turn {message.turn}, {_speaker(message)}, {moment(message.at)}{_numbers(message)}"
        for block in message.content:
            if block.get("type") == "tool_use":
                names[block["id"]] = block["name"]
            yield from _block(block, names)


def _speaker(message: TranscriptMessage) -> str:
    if message.role == "assistant":
        return "the model"
    results = any(block.get("type") == "tool_result" for block in message.content)
    return "its tools" if results else "asked"


def _numbers(message: TranscriptMessage) -> str:
    return f" ({', '.join(_spent(message.usage))})" if message.usage else ""


def _block(block: dict[str, Any], names: dict[str, str]) -> Iterator[str]:
    match block.get("type"):
        case "text":
            yield from _indented(block["text"])
        case "thinking":
            yield from _titled("(thinking)", block.get("thinking") or "not shown by the model")
        case "tool_use":
            yield from _titled(f"-> {block['name']}", json.dumps(block["input"], ensure_ascii=False))
        case "tool_result":
            failed = ", failed" if block.get("is_error") else ""
            yield f"  <- {names.get(block['tool_use_id'], block['tool_use_id'])}{failed}"
            for part in block["content"]:
                yield from _indented(part["text"] if part.get("type") == "text" else f"[{part.get('type')}]", "     ")
        case kind:
            yield f"  [{kind}]"


def _titled(title: str, text: str) -> Iterator[str]:
    yield f"  {title}"
    yield from _indented(text, "     ")


def _indented(text: str, indent: str = "  ") -> Iterator[str]:
    cut = text[:_SHOWN] + (f" … ({len(text):,} characters; --json shows them all)" if len(text) > _SHOWN else "")
    # What a tool returned may hold what moves a terminal's cursor.
    plain = "".join(char if char.isprintable() or char in "\n\t" else "�" for char in cut)
    yield textwrap.indent(plain, indent)


def add_to(app: typer.Typer) -> None:
    """Register the verb among those on runs."""
    app.command("transcript")(transcript)
