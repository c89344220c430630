"""``python -m benchmarks [--only PART] [--rounds N] [--save]``; the parts are ``PARTS``."""

from __future__ import annotations

import argparse
import sys

import uvloop

from benchmarks import agents, beside_n8n, express, flowtests, loops, mcp, micro, report, steps, webhook
from benchmarks.n8n import missing_n8n

PARTS = ("micro", "steps", "webhook", "accepted", "express", "n8n", "loops", "agents", "mcp", "flowtests")


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part alone; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each on fresh servers (default 5)")
    parser.add_argument("--save", action="store_true", help="append the tables to benchmarks/results.md")
    given = parser.parse_args()
    chosen = _present(given.only)
    setup = f"{report.machine()}, {given.rounds} rounds"
    _say(setup + "\n")
    tables = []
    for part in PARTS:
        if part in chosen:
            busy = f"Load average before: {report.load():.1f}.\n"
            _say(f"{part}. {busy}")
            tables.append(f"{await _table(part, given.rounds)}\n{busy}")
            _say(tables[-1])
    if given.save:
        report.save("\n".join(tables), setup)


def _present(only: list[str] | None) -> list[str]:
    """The parts to measure: those that are asked for, otherwise all; n8n where it is installed. Raises SystemExit where
    nothing is left."""
    missing = missing_n8n()
    chosen = [part for part in only or PARTS if part != "n8n" or missing is None]
    if missing is not None and "n8n" in (only or PARTS):
        if not chosen:
            raise SystemExit(missing)
        _say(missing + "\n")
    return chosen


async def _table(part: str, rounds: int) -> str:
    if part == "micro":
        return report.table("Small figures", micro.measure(rounds))
    if part == "steps":
        return report.table("Five function steps, one worker process", await steps.measure(rounds))
    if part == "loops":
        passes = report.table("While, one function step in each pass", await loops.measure_while(rounds))
        items = report.table(f"For-each, {loops.ITEMS} items, one function step each", await loops.measure_each(rounds))
        return f"{passes}\n{items}"
    if part == "agents":
        return report.table("Agent, a model call and a function call in each turn", await agents.measure(rounds))
    if part == "mcp":
        return report.table("Call of an MCP server's tool over stdio", await mcp.measure(rounds), mcp.KEPT)
    if part == "flowtests":
        return report.table(
            "Tests of flows, each with three HTTP steps, a loop and 30 days", await flowtests.measure(rounds)
        )
    if part == "express":
        rows, base = await express.measure(rounds, _say)
        return report.table("Webhook, five HTTP steps, synchronous answer, express", rows, base)
    if part == "n8n":
        return beside_n8n.tables(await beside_n8n.measure(rounds))
    if part == "accepted":
        return report.table(
            "Webhook, answered with 202 when its run is started", await webhook.measure_accepted(rounds)
        )
    return report.table("Webhook, five HTTP steps, synchronous answer", await webhook.measure(rounds))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
