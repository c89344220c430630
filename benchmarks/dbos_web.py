"""W5 on DBOS, as somebody who knows it would write it: ``python -m benchmarks.dbos_web --database URL --echo-port N``.

It runs in an environment of its own (see ``peers``) and so imports nothing of the product. Prints one JSON line when it
serves."""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
from typing import Any

import httpx
import uvicorn
import uvloop
from dbos import DBOS, DBOSConfig
from fastapi import FastAPI

from benchmarks.flows import STEPS

_clients: list[httpx.AsyncClient] = []
"""The one HTTP client of all steps."""

app = FastAPI()


@DBOS.step()
async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await _clients[0].post(path, json=body)
    answer.raise_for_status()
    return {"status": answer.status_code, "headers": dict(answer.headers), "body": answer.json()}


@DBOS.workflow()
async def five(body: dict[str, Any]) -> dict[str, Any]:
    count = body["start"]
    for step in STEPS:
        answer = await post(f"/{step}", {"count": count + 1, "name": f"step {step}"})
        count = answer["body"]["count"]
    return {"total": count, "size": "big" if count > 3 else "small"}


@app.post("/webhook-express")
async def webhook(body: dict[str, Any]) -> dict[str, Any]:
    return await five(body)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--echo-port", type=int, required=True)
    given = parser.parse_args()
    config: DBOSConfig = {"name": "bench", "system_database_url": given.database, "log_level": "WARNING"}
    DBOS(config=config)
    DBOS.launch()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.listen(2048)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{given.echo_port}") as client:
        _clients.append(client)
        # Connections wait in the listener's queue until the server takes them.
        sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
        sys.stdout.flush()
        server = uvicorn.Server(uvicorn.Config(app, http="httptools", access_log=False, log_level="warning"))
        await server.serve(sockets=[listener])
    DBOS.destroy()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main())
