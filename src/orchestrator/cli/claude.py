"""Which Claude ``up`` and ``demo`` talk to."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

from orchestrator.cli.console import say
from orchestrator.devserver.temporal import die_with_parent
from orchestrator.errors import Unavailable
from orchestrator.settings import Settings

_STAND_IN_SECONDS = 20.0


@contextlib.asynccontextmanager
async def claude_for(settings: Settings) -> AsyncIterator[Settings]:
    """Settings with a Claude to talk to: the real API where a key is set, else a stand-in in its own process."""
    if settings.anthropic_api_key:
        where = settings.anthropic_base_url or "https://api.anthropic.com"
        say(f"Claude: the API at {where}, with your ANTHROPIC_API_KEY")
        yield settings
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator.testing.claude_stand_in", "--port", "0"),
        *(("--script", str(flows)) if (flows := settings.project_dir / "workflows").is_dir() else ()),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=die_with_parent(),
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), _STAND_IN_SECONDS)
        url = line.decode().strip()
        if not url:
            raise Unavailable("the Claude stand-in did not start; it said why above")
        say(f"Claude: a local stand-in with canned answers at {url}, because ANTHROPIC_API_KEY is not set", "yellow")
        yield replace(settings, anthropic_api_key="stand-in", anthropic_base_url=url)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
