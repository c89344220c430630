"""A stand-in for the Claude API: work and test without a key, through the real SDK, over real HTTP.

In a test::

    async with ClaudeStandIn(["Hello", Reply.rate_limited(2), When("weather", "Sunny")]) as claude:
        settings = Settings(anthropic_api_key="any", anthropic_base_url=claude.base_url)

As a process of its own (its URL is the first line it prints; it ends on SIGTERM or Ctrl-C)::

    python -m orchestrator.testing.claude_stand_in --port 0 --script replies.json
    ANTHROPIC_API_KEY=any ANTHROPIC_BASE_URL=http://127.0.0.1:43211 orchestrator up

``replies.json`` is a list of replies as ``Reply.from_json`` reads them; one with ``match`` is a rule, one with
``match`` and ``turns`` the script of a conversation (``rule_from_json``). In place of a file, a folder: then the
``SCRIPT`` of every ``stand_in.py`` in it counts. What has been asked so far: ``GET /_stand_in/requests``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.testing.claude_persona import MODERATION, Persona, Words
from orchestrator.testing.claude_replies import Reply, Rule, Turns, When, rule_from_json
from orchestrator.testing.claude_request import Request
from orchestrator.testing.claude_scripts import project_script
from orchestrator.testing.claude_server import ClaudeStandIn

__all__ = [
    "MODERATION",
    "ClaudeStandIn",
    "Persona",
    "Reply",
    "Request",
    "Turns",
    "When",
    "Words",
    "main",
    "read_script",
]


def read_script(text: str) -> list[Reply | Rule]:
    """The replies and rules of a script file. Raises ValueError naming the entry that cannot be used."""
    entries = json.loads(text)
    if not isinstance(entries, list):
        raise ValueError("a script is a JSON list of replies")
    script: list[Reply | Rule] = []
    for number, entry in enumerate(entries):
        try:
            script.append(rule_from_json(entry) if "match" in entry else Reply.from_json(entry))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"entry {number} of the script cannot be used: {error}") from error
    return script


async def _serve(stand_in: ClaudeStandIn) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with stand_in:
        sys.stdout.write(f"{stand_in.base_url}\n")
        sys.stdout.flush()
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped. Returns 2 for a script or address that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.testing.claude_stand_in", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--script", type=Path, help="JSON file with replies, or a folder with `stand_in.py` files")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each reply")
    given = parser.parse_args(arguments)
    script: list[Any] = []
    try:
        if given.script is not None:
            folder = given.script.is_dir()
            script = project_script(given.script) if folder else read_script(given.script.read_text(encoding="utf-8"))
        asyncio.run(_serve(ClaudeStandIn(script, host=given.host, port=given.port, delay=given.delay)))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the stand-in cannot start: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
