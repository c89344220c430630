"""Branches side by side, and when a race between them is decided (FLOW_FORMAT §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.engine.activities import Outcome
from orchestrator.engine.constructs.graph import members
from orchestrator.engine.failures import RunEnded, StepFailed, combined, error_record, told
from orchestrator.engine.frame import Frame
from orchestrator.engine.journal import Record
from orchestrator.engine.run import Walk
from orchestrator.engine.together import Ended, run_all, settle
from orchestrator.spec.definition import Json, Node


@dataclass(slots=True)
class Race:
    """Counts what finished. Only completed branches count, skipped ones leave the total, ``counts: false`` is not part
    of it."""

    wait_for: str | int
    """``all``, ``any``, ``majority`` or a number."""
    counting: frozenset[str]
    finish_all: bool = False
    finished: list[str] = field(default_factory=list)
    """Ids of completed branches by completion, those that do not count included."""
    _skipped: int = 0
    _failed: int = 0
    _over: int = 0

    def ends(self, branch: str, status: str) -> bool:
        """A branch has ended with this status; whether that decides the race."""
        if status == "completed" and branch not in self.finished:
            self.finished.append(branch)
        if branch not in self.counting:
            return self.won
        self._over += 1
        self._skipped += status == "skipped"
        self._failed += status not in ("completed", "skipped")
        return self.won or (self.lost and not self.finish_all)

    @property
    def needed(self) -> int:
        """How many branches have to complete."""
        total = len(self.counting) - self._skipped
        match self.wait_for:
            case "all":
                return total
            case "any":
                return min(1, total)
            case "majority":
                return total // 2 + 1 if total else 0
            case number:
                return max(1, int(number)) if total else 0

    @property
    def won(self) -> bool:
        """Whether enough have completed."""
        return self._completed >= self.needed

    @property
    def lost(self) -> bool:
        """Whether enough can no longer complete."""
        return self.able < self.needed

    @property
    def able(self) -> int:
        """How many count and were neither skipped nor failed."""
        return len(self.counting) - self._skipped - self._failed

    @property
    def winner(self) -> str | None:
        """The first branch that counts and completed."""
        return next((branch for branch in self.finished if branch in self.counting), None)

    @property
    def _completed(self) -> int:
        return self._over - self._skipped - self._failed


async def parallel(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Run the branches until the race is decided; the losers are cancelled or left to finish."""
    branches = node.lists.get("branches", ())
    inner = frame.into(node)
    race = _race(walk, node, frame, path, branches)
    if race.lost:
        raise _out_of_reach(race, node, path)

    # Which failed first is known to the state alone once the run has continued as new.
    failed: list[str] = walk.run.journal.state(path).setdefault("failed", [])

    def decided(index: int, outcome: Record | BaseException) -> bool:
        if isinstance(outcome, BaseException):
            if branches[index].id not in failed:
                failed.append(branches[index].id)
            return race.ends(branches[index].id, "failed")
        # A failure that its author let pass (`on_error: continue`) leaves the race as a skip does.
        status = str(outcome["status"])
        return race.ends(branches[index].id, "skipped" if status == "failed" else status)

    ended = await run_all(
        members(walk, branches, inner), stops=lambda error: not isinstance(error, StepFailed), enough=decided
    )
    if not race.won:
        await settle(ended.pending)
        results = dict(zip([branch.id for branch in branches], ended.results, strict=True))
        errors = [results[name] for name in failed]
        raise combined(
            [error for error in errors if isinstance(error, BaseException)] or [_out_of_reach(race, node, path)]
        )
    left = [branch.id for branch, result in zip(branches, ended.results, strict=True) if result is None]
    if node.config.get("losers") == "finish":
        walk.run.strays.adopt(ended.pending)
    else:
        await settle(ended.pending)
        left = []
    _warn(walk, ended)
    return _outcome(race, branches, ended, left)


def _out_of_reach(race: Race, node: Node, path: str) -> StepFailed:
    message = f"`wait_for` asks for {race.needed} branches to complete and {race.able} can: the others do not count"
    return StepFailed(error_record(node, path, "invalid_config", f"{message}, were skipped or failed"))


def resume_losers(walk: Walk, node: Node, frame: Frame) -> None:
    """After continue-as-new: branches of a race that is over and that were left to finish go on."""

    async def go_on() -> None:
        await run_all(
            members(walk, node.lists["branches"], frame.into(node)), stops=lambda error: isinstance(error, RunEnded)
        )

    walk.run.strays.start(go_on())


def _race(walk: Walk, node: Node, frame: Frame, path: str, branches: Sequence[Node]) -> Race:
    state = walk.run.journal.state(path)
    if "wait_for" not in state:
        code = walk.program.code(node).fields.get("wait_for")
        state["wait_for"] = node.config.get("wait_for", "all") if code is None else walk.evaluate(code, node, frame)
    wanted: Json = state["wait_for"]
    if isinstance(wanted, bool) or not (wanted in ("all", "any", "majority") or isinstance(wanted, int | float)):
        message = f"`wait_for` gave {told(wanted)}; it is all, any, majority or a number"
        raise StepFailed(error_record(node, path, "invalid_config", message))
    return Race(
        wanted if isinstance(wanted, str) else int(wanted),
        frozenset(branch.id for branch in branches if branch.counts),
        finish_all=node.config.get("on_failure") == "finish_all",
        finished=state.setdefault("finished", []),
    )


def _warn(walk: Walk, ended: Ended[Record]) -> None:
    """Failures that the race could do without."""
    for index in ended.finished:
        error = ended.results[index]
        if isinstance(error, StepFailed):
            walk.run.warnings.append(f"a branch failed and was not needed: {error}")


def _outcome(race: Race, branches: Sequence[Node], ended: Ended[Record], left: list[str]) -> Outcome:
    records = {
        branch.id: result
        for branch, result in zip(branches, ended.results, strict=True)
        if isinstance(result, dict) and result["status"] == "completed"
    }
    winner = race.winner
    shown = [winner] if race.wait_for == "any" and winner is not None else list(records)
    extra: dict[str, Json] = {"finished": list(race.finished)}
    if race.wait_for != "all":
        extra["winner"] = winner
    if left:
        # Read again after continue-as-new: see ``resume_losers``.
        extra["losers"] = left
    return Outcome({name: records[name].get("output") for name in shown}, extra)
