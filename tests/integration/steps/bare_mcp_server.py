"""An MCP server without a library, over stdio, that misbehaves on request: ``python bare_mcp_server.py KEY=VALUE …``.

It starts in a few hundredths of a second, and says what no decent server would. ``tools`` is a JSON list; ``pages``
splits it; a tool's name says what a call does.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = Any
GIVEN = dict(argument.split("=", 1) for argument in sys.argv[1:])
tools: list[Json] = []
offered: dict[str, Json] = {}
"""What the client said it can do."""


def write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def send(**message: Json) -> None:
    write(json.dumps({"jsonrpc": "2.0", **message}))


def listed(cursor: str | None) -> Json:
    size = int(GIVEN.get("pages", "1000"))
    start = int(cursor or 0)
    rest = {"nextCursor": str(start + size)} if start + size < len(tools) else {}
    return {"tools": tools[start : start + size], **rest}


def flood() -> None:
    while True:
        write("not a message " * 1000)


def long_line(number: int, arguments: Json, *, with_id: bool) -> None:
    result = json.dumps({"content": [{"type": "text", "text": "x" * arguments["size"]}]})
    write(f'{{"result":{result},"jsonrpc":"2.0","id":{number}}}' if with_id else result)


def link(number: int, arguments: Json) -> None:
    if Path(arguments["done"]).exists():
        answer(number, json.dumps(arguments))
        return
    wanted = {"mode": "url", "message": "Sign in first", "url": "https://example.com/in", "elicitationId": "e1"}
    send(id=number, error={"code": -32042, "message": "sign in", "data": {"elicitations": [wanted]}})


def grow(number: int) -> None:
    tools.append({"name": "grown", "inputSchema": {"type": "object"}})
    send(method="notifications/tools/list_changed")
    answer(number, "grown")


def noise(number: int) -> None:
    for _ in range(50):
        write("[INFO] working")
    answer(number, "{}")


def secret() -> None:
    sys.stderr.write(f"cannot sign in with {os.environ.get('TOKEN')}")
    sys.stderr.flush()
    os._exit(1)


def book(number: int, arguments: Json) -> None:
    """Asks in the middle of the call, and waits."""
    schema = {"type": "object", "properties": {"seats": {"type": "integer"}}}
    send(id="q1", method="elicitation/create", params={"message": "How many seats?", "requestedSchema": schema})
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "notifications/cancelled":
            return
        if message.get("id") == "q1":
            said = message["result"]
            told = said["content"]["seats"] if said["action"] == "accept" else said["action"]
            answer(number, f"{arguments['film']}: {told}")
            return


def answer(number: int, text: str) -> None:
    send(id=number, result={"content": [{"type": "text", "text": text}]})


TOOLS: dict[str, Callable[[int, Json], object]] = {
    "flood": lambda number, given: flood(),
    "noise": lambda number, given: noise(number),
    "huge": lambda number, given: answer(number, "x" * given["size"]),
    "huge_last": lambda number, given: long_line(number, given, with_id=True),
    "no_id": lambda number, given: long_line(number, given, with_id=False),
    "sloppy": lambda number, given: send(id=number, result={"content": "just text"}),
    "broken": lambda number, given: write(f'{{"id": {number}, "what": "is this"}}'),
    "hang": lambda number, given: time.sleep(60),
    "offered": lambda number, given: answer(number, ", ".join(offered)),
    "pid": lambda number, given: answer(number, str(os.getpid())),
    "variable": lambda number, given: answer(number, os.environ.get(given["name"], "")),
    "link": link,
    "book": book,
    "grow": lambda number, given: grow(number),
    "secret": lambda number, given: secret(),
}


def call(number: int, name: str, arguments: Json) -> None:
    if name in TOOLS:
        TOOLS[name](number, arguments)
    else:
        answer(number, json.dumps(arguments))


def main() -> None:
    """Answer until stdin ends."""
    tools.extend(json.loads(GIVEN["tools"]) if "tools" in GIVEN else [{"name": name} for name in ["echo", *TOOLS]])
    for tool in tools:
        tool.setdefault("inputSchema", {}).setdefault("type", "object")
    if "greeting" in GIVEN:
        write(GIVEN["greeting"])
    if "babble" in GIVEN:
        flood()
    counted = 0
    for line in sys.stdin:
        message = json.loads(line)
        method, number, given = message.get("method"), message.get("id"), message.get("params", {})
        if method == "initialize":
            about = {"capabilities": {"tools": {"listChanged": True}}, "serverInfo": {"name": "bare", "version": "1"}}
            offered.update(given["capabilities"])
            send(id=number, result={"protocolVersion": given["protocolVersion"], **about})
        elif method == "tools/list":
            counted += 1
            if "log" in GIVEN:
                Path(GIVEN["log"]).write_text(str(counted))
            send(id=number, result=listed(given.get("cursor")))
        elif method == "tools/call":
            call(number, given["name"], given.get("arguments", {}))
        elif number is not None:
            send(id=number, error={"code": -32601, "message": "Method not found"})


if __name__ == "__main__":
    main()
