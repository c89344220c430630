"""``orchestrator mcp serve`` as a client starts it: a process of its own, the protocol on stdin and stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from mcp import Client, StdioServerParameters

HELLO = (
    "id: hello\nexpose: {mcp: {wait: 0}}\ninputs: {name: string}\nsteps: [{id: w, type: wait, config: {duration: 1}}]\n"
)


def environment(address: str, folder: Path) -> dict[str, str]:
    return {"TEMPORAL_ADDRESS": address, "ORCHESTRATOR_PROJECT_DIR": str(folder)}


async def test_a_client_that_starts_the_server_itself_has_the_same_tools(temporal_server: str, tmp_path: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "orchestrator", "mcp", "serve"],
        env=environment(temporal_server, tmp_path),
    )
    async with Client(server, read_timeout_seconds=60) as client:
        published = await client.call_tool("publish_flow", {"text": HELLO})
        assert (published.structured_content or {})["tool"] == "hello"
        assert "hello" in {tool.name for tool in (await client.list_tools()).tools}
        refused = await client.call_tool("hello", {})
        assert refused.is_error
        started = await client.call_tool("hello", {"name": "Ada"})
        assert (started.structured_content or {})["status"] == "running"


def test_a_client_of_the_handshake_era_is_served_until_stdin_ends_and_lines_that_are_no_messages_are_passed_over(
    temporal_server: str, tmp_path: Path
) -> None:
    shake = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    lines = [
        "no message",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": shake}),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "mcp", "serve"],
        env=environment(temporal_server, tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    with process:
        try:
            process.stdin.write("".join(f"{line}\n" for line in lines))
            process.stdin.flush()
            answers = [json.loads(process.stdout.readline()) for _ in range(2)]
            rest, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, rest) == (0, "")
    assert [answer["id"] for answer in answers] == [1, 2]
    assert "publish_flow" in {tool["name"] for tool in answers[1]["result"]["tools"]}
    assert "MCP server on stdin and stdout" in said
