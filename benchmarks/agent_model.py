"""The model of the agent benchmark: ``python -m benchmarks.agent_model`` prints its URL and serves until SIGTERM.

It answers at once, wants one tool call in every turn, and ends after as many as the goal says.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from orchestrator.testing.claude_replies import Reply, When
from orchestrator.testing.claude_request import Request
from orchestrator.testing.claude_server import ClaudeStandIn

GOAL = "Take notes; turns: "
TOOL = "take_note"


def answer(request: Request) -> Reply:
    """The next tool call, or the end."""
    _, _, turns = request.opening.partition(GOAL)
    if request.turn < int(turns):
        return Reply.tool_use(TOOL, {"value": request.turn}, id=f"toolu_{request.turn}")
    return Reply.text("done")


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ClaudeStandIn([When(lambda request: GOAL in request.opening, answer)]) as claude:
        sys.stdout.write(f"{claude.base_url}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main())
