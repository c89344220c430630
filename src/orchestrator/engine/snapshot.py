"""What a run takes along when it continues as new or is retried: one JSON object, written and read here."""

from __future__ import annotations

from orchestrator.engine.interpreter import Interpreter
from orchestrator.engine.life import Ending, Life
from orchestrator.spec.definition import Json

FORMAT = 1


def journal_of(walk: Interpreter, life: Life, continued: int) -> dict[str, Json]:
    """The journal and everything that has to be as it was."""
    run = walk.run
    definition = run.envelope.definition
    return {
        "format": FORMAT,
        "flow": definition.flow,
        "version": definition.version,
        "hash": definition.hash,
        "root": run.root,
        "attempt": run.envelope.attempt,
        "started_at": run.frame.scope["run"]["started_at"],
        "vars": run.frame.scope["vars"],
        "clock": run.clock.to_json(),
        "paused": run.gate.paused,
        "deadline": life.deadline,
        "ending": None if life.ending is None else life.ending.to_json(),
        "continued": continued,
        **run.warnings.to_json(),
        **run.compensations.to_json(),
        **run.journal.to_json(),
    }


def restore(walk: Interpreter, life: Life, data: dict[str, Json]) -> int:
    """Become the run that ``journal_of`` wrote; how often it has continued."""
    run = walk.run
    run.journal.restore(data)
    run.compensations.restore(data)
    run.clock.restore(data.get("clock") or {})
    run.gate.paused = bool(data.get("paused"))
    run.warnings.restore(data)
    run.frame.scope["vars"].update(data["vars"])
    if data.get("started_at"):
        run.frame.scope["run"]["started_at"] = data["started_at"]
    life.deadline = data.get("deadline")
    life.ending = None if data.get("ending") is None else Ending(**data["ending"])
    return int(data.get("continued", 0))
