"""Human tasks: opened, noted and closed in the store by activities; the waiting is one future and one timer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pydantic import ValidationError
from temporalio.exceptions import ActivityError, is_cancelled_exception

from orchestrator.engine.activities import PERSISTENT, Call, Outcome
from orchestrator.engine.clock import now_text
from orchestrator.engine.constructs.made import is_made
from orchestrator.engine.constructs.task_answers import (
    COMMENT,
    action_of,
    is_among,
    refuse,
    refuse_action,
    refuse_vote,
    unfit_for_store,
)
from orchestrator.engine.failures import RunEnded, StepFailed, error_record
from orchestrator.engine.frame import Frame
from orchestrator.engine.gate import shielded
from orchestrator.engine.inbox import Receiver, new_future
from orchestrator.engine.run import Walk
from orchestrator.engine.together import raise_if_cancelled
from orchestrator.engine.waits import Wait
from orchestrator.spec.acts.human_task import DECIDED_ALREADY, REJECT, HumanTaskConfig
from orchestrator.spec.call import CLOSE_TASK, NOTE_TASK
from orchestrator.spec.definition import Json, Node, Timeout
from orchestrator.spec.inputs import check_schema
from orchestrator.spec.quorum import needs, out_of_reach, reached

Decision = dict[str, Json]


async def human_task(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Open the task, wait for a decision or the deadline, close it. Raises StepFailed ``rejected`` or
    ``deadline_exceeded`` and RunEnded as the author chose."""
    rendered = walk.render(walk.program.code(node).config, node, frame)
    if is_made(frame) and not walk.run.journal.state(path).get("opened"):
        # An author's tasks are known before they open, and early decisions count; nobody knows what an agent will ask.
        walk.run.inbox.forget(node.id, path)
    return await _Task(walk, node, path, rendered.value).run()


class _Task:
    """One task. What has happened stands in its state, so that it survives continue-as-new: ``message`` decides,
    ``votes`` count towards a quorum; ``stage`` is the step of the escalation, ``holder`` and ``people`` are who has it
    now; ``notes`` are what the store has to be told."""

    def __init__(self, walk: Walk, node: Node, path: str, config: dict[str, Json]) -> None:
        self._run = walk.run
        self._plans = walk.program.plans
        self._node = node
        self._path = path
        self._config = config
        self._task = _checked(node, path, config)
        self._state = walk.run.journal.state(path)
        self._wake = new_future()
        self._too_late = False

    async def run(self) -> Outcome:
        """The step's output."""
        state, clock = self._state, self._run.clock
        if "due" not in state:
            state["due"] = None if self._task.deadline is None else clock.after(self._task.deadline)
            if self._task.remind is not None:
                state["since"] = clock.now()
        due = self._due()
        try:
            decision = await self._decision(due)
        except asyncio.CancelledError:
            await shielded(self._close({"status": "cancelled"}))
            raise
        await shielded(self._close(_closing(decision)))
        return self._conclude(decision)

    def _due(self) -> str | None:
        return None if self._state["due"] is None else self._run.clock.text(self._state["due"])

    async def _decision(self, due: str | None) -> Decision:
        """Who decides before the task is written decides too: it may be seen a moment before we know of it."""
        receiver = Receiver(self._refusal, self._take, self._is_over)
        if not self._is_over():
            self._run.inbox.open(self._node.id, self._path, receiver)
        try:
            if not self._state.get("opened"):
                await self._open(due)
                raise_if_cancelled()
            while True:
                until, holder = self._due(), self._holder()
                # A pause of the clock moves the text of a deadline that stays what it was.
                until = due if self._stage == 0 else until
                with self._run.waits.open(Wait(self._path, self._node.id, "human-task", until, _name(holder))):
                    stage = self._stage
                    while not self._is_over() and (stage, holder) == (self._stage, self._holder()):
                        await self._go_on()
                if self._is_over():
                    break
        finally:
            self._run.inbox.close(self._node.id, self._path)
        return self._record(due if self._stage == 0 else self._due())

    async def _open(self, due: str | None) -> None:
        outcome = await self._run.activities.run(self._call(self._path, "human-task", [self._config, due]))
        opened = outcome.output or {}
        if "refused" in opened:
            raise StepFailed(error_record(self._node, self._path, "invalid_config", opened["refused"]))
        self._state["opened"] = True
        if self._stage == 0 and "people" not in self._state and opened.get("people") is not None:
            self._state["people"] = opened["people"]
        self._recount()

    async def _go_on(self) -> None:
        """Tell the store what has happened, else wait for the next thing to happen."""
        if self._state.get("notes"):
            await self._write_notes()
            raise_if_cancelled()
            return
        # Nothing has been awaited since the loop looked: what comes from now on wakes this one.
        self._wake = new_future()
        due, reminder = self._state["due"], self._reminder()
        if due is None and reminder is None:
            await self._wake
        elif reminder is None or (due is not None and due <= reminder):
            if not await self._run.clock.first(self._wake, due, f"deadline of {self._node.id}"):
                self._escalate()
        elif not await self._run.clock.first(self._wake, reminder, f"reminder of {self._node.id}"):
            self._state["reminded"] = self._run.clock.now()
            self._note("reminded", to=self._asked())

    # -- who has it ---------------------------------------------------------------------------------------------

    @property
    def _stage(self) -> int:
        """How often it has been escalated."""
        return int(self._state.get("stage", 0))

    def _holder(self) -> dict[str, str | None]:
        own = {"assignee": self._task.assignee, "group": self._task.group}
        holder: dict[str, str | None] = self._state.get("holder") or own
        return holder

    def _asked(self) -> list[str]:
        """Who has not answered yet: people as far as they are known, else the name that has the task."""
        answered = [vote["by"] for vote in self._votes()]
        people = self._people() or [str(_name(self._holder()))]
        return [person for person in people if not is_among(person, answered)]

    def _people(self) -> list[str] | None:
        people: list[str] | None = self._state.get("people")
        return people

    def _escalate(self) -> None:
        """The deadline has passed: somebody else has the task from now on, or nobody any more."""
        chain = self._task.escalations()
        if self._stage == len(chain):
            self._too_late = True
            return
        after = chain[self._stage]
        clock = self._run.clock
        before = _name(self._holder())
        holder = {"assignee": after.assignee, "group": after.group}
        self._state.update(stage=self._stage + 1, holder=holder, people=None)
        self._state["due"] = None if after.deadline is None else clock.after(after.deadline)
        if self._task.remind is not None:
            self._state.update(since=clock.now(), reminded=None)
        self._note("escalated", to=[_name(holder)], **{"from": before})

    def _reminder(self) -> int | None:
        """When to remind next. What was missed meanwhile is made good by one."""
        remind = self._task.remind
        if remind is None:
            return None
        since = self._state["since"]
        last = self._state.get("reminded") or since
        if isinstance(remind, list):
            instants = sorted(since + round(length * 1000) for length in remind)
            return next((instant for instant in instants if instant > last), None)
        every = round(remind * 1000)
        return int(since + ((last - since) // every + 1) * every)

    # -- messages -----------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        return "message" in self._state or self._too_late or bool(self._state.get("no_quorum"))

    def _votes(self) -> list[Decision]:
        votes: list[Decision] = self._state.get("votes", [])
        return votes

    def _counts(self) -> bool:
        """Whether several have to agree: until the task is escalated to somebody who has the last word."""
        return self._task.quorum is not None and self._stage == 0

    def _refusal(self, message: Json) -> str | None:
        if self._is_over():
            return f"the task is {DECIDED_ALREADY}"
        if action_of(message) is not None:
            if action_of(message) != COMMENT and self._counts() and self._people() is None:
                return "anybody may vote on this task, so nobody has to hand it on"
            return refuse_action(self._task, message, self._people(), self._votes())
        refused = refuse(self._task, message)
        if refused is None and self._counts():
            return refuse_vote(message["by"], self._people(), self._votes())
        return refused

    def _take(self, message: Json) -> None:
        action = action_of(message)
        if action == COMMENT:
            self._note("commented", by=message.get("by"), comment=message["comment"])
        elif action is not None:
            self._delegate(message)
        elif self._counts():
            vote = {key: message.get(key) for key in ("decision", "comment", "data")} | {"by": message["by"].strip()}
            self._state["votes"] = [*self._votes(), vote | {"at": now_text()}]
            self._note("voted", by=vote["by"], decision=message["decision"], comment=message.get("comment"))
            self._recount()
        else:
            self._state.update(message=message, at=now_text())
        if not self._wake.done():
            self._wake.set_result(None)

    def _delegate(self, message: Json) -> None:
        by, to = message["by"].strip(), message["to"].strip()
        people = self._people()
        if self._counts() and people is not None:
            self._state["people"] = [to if is_among(by, [person]) else person for person in people]
        else:
            self._state.update(holder={"assignee": to, "group": None}, people=[to])
        self._note("delegated", by=by, to=[to], comment=message.get("comment"))

    def _recount(self) -> None:
        """Whether the votes decide. Not before it is known who may vote: what others gave until then does not count."""
        if not self._counts() or not self._state.get("opened") or self._is_over():
            return
        people = self._people()
        votes = [vote for vote in self._votes() if people is None or is_among(vote["by"], people)]
        self._state["votes"] = votes
        quorum = self._task.quorum
        assert quorum is not None
        needed = needs(quorum, self._task.decision_names(), None if people is None else len(people), REJECT)
        given = [vote["decision"] for vote in votes]
        if reached(needed, given) is not None:
            last = votes[-1]
            self._state.update(message=last, at=last["at"])
        elif out_of_reach(needed, given, None if people is None else len(people) - len(votes)):
            self._state["no_quorum"] = True

    # -- the store ----------------------------------------------------------------------------------------------

    def _note(self, action: str, **about: Json) -> None:
        """Remember that the store has to be told."""
        number = self._state["noted"] = self._state.get("noted", 0) + 1
        told = {key: value for key, value in about.items() if value is not None}
        self._state.setdefault("notes", []).append({"number": number, "action": action, "at": now_text()} | told)

    def _noted(self, count: int) -> dict[str, Json]:
        """The first notes, and how the task stands after all that happened."""
        now: dict[str, Json] = self._holder() | {"deadline": self._due(), "votes": self._votes()}
        return {"notes": self._state["notes"][:count], "now": now}

    async def _write_notes(self) -> None:
        count = len(self._state["notes"])
        number = self._state["notes"][-1]["number"]
        call = self._call(f"{self._path}#note-{number}", NOTE_TASK, [{"path": self._path} | self._noted(count)])
        await self._run.activities.run(call)
        del self._state["notes"][:count]

    async def _close(self, closing: dict[str, Json]) -> None:
        """Write the end of the task, also while the run is being cancelled."""
        told = self._noted(len(self._state["notes"])) if self._state.get("notes") else {}
        arguments = [closing | {"path": self._path, "at": now_text()} | told]
        try:
            await self._run.activities.run(self._call(f"{self._path}#close", CLOSE_TASK, arguments))
        except ActivityError as failed:
            if not is_cancelled_exception(failed):
                raise

    def _call(self, path: str, kind: str, args: list[Json]) -> Call:
        bookkeeping = replace(self._node, timeout=Timeout(attempt=30.0), output_schema=None, task_queue=None)
        return Call(bookkeeping, path, kind, args, retry=PERSISTENT, plans=self._plans)

    def _record(self, due: str | None) -> Decision:
        """The output of a human-task step (FLOW_FORMAT §4)."""
        message: Decision | None = self._state.get("message")
        given = message or {}
        record: Decision = {key: given.get(key) for key in ("decision", "data", "comment", "by")}
        record |= {"at": self._state.get("at") or now_text(), "automatic": message is None, "due": due}
        return record | ({"votes": self._votes()} if self._task.quorum is not None else {})

    def _conclude(self, decision: Decision) -> Outcome:
        chosen = decision["decision"]
        if self._state.get("no_quorum"):
            message = f"no decision about '{self._node.id}' can reach its quorum any more: everybody asked has answered"
            votes = {"votes": decision["votes"]}
            raise StepFailed(error_record(self._node, self._path, "no_quorum", message, data=votes))
        if decision["automatic"]:
            return self._expired(decision)
        if chosen == REJECT and self._task.on_reject != "continue":
            if self._task.on_reject == "cancel":
                raise RunEnded(None, "cancelled")
            comment = f": {decision['comment']}" if decision.get("comment") else ""
            message = f"{decision.get('by') or 'somebody'} rejected '{self._node.id}'{comment}"
            raise StepFailed(error_record(self._node, self._path, "rejected", message, data=decision))
        return Outcome(decision)

    def _expired(self, decision: Decision) -> Outcome:
        on_deadline = self._task.on_deadline
        if self._task.at_the_end() == "cancel":
            raise RunEnded(None, "cancelled")
        if self._task.at_the_end() == "fail":
            message = f"nobody decided '{self._node.id}' before its deadline {decision['due']}"
            raise StepFailed(error_record(self._node, self._path, "deadline_exceeded", message))
        chosen = None if isinstance(on_deadline, str) else getattr(on_deadline, "decide", None)
        return Outcome(decision | {"decision": chosen})


def _checked(node: Node, path: str, config: dict[str, Json]) -> HumanTaskConfig:
    try:
        task = HumanTaskConfig.model_validate(config)
    except ValidationError as error:
        raise _invalid(node, path, error) from error
    if (unfit := unfit_for_store(config)) is not None:
        raise StepFailed(error_record(node, path, "invalid_config", f"the task cannot be written: {unfit}"))
    wrong = check_schema(task.form) if task.form else None
    if wrong is not None:
        # Found now and not when somebody answers: an error inside a message would stick the run.
        raise StepFailed(error_record(node, path, "invalid_config", f"config.form cannot be used: {wrong[1]}"))
    return task


def _name(holder: dict[str, str | None]) -> str | None:
    return holder["assignee"] or holder["group"]


def _closing(decision: Decision) -> dict[str, Json]:
    status = "expired" if decision["automatic"] else "decided"
    return {"status": status} | {key: decision[key] for key in ("decision", "data", "comment", "by", "automatic")}


def _invalid(node: Node, path: str, error: ValidationError) -> StepFailed:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return StepFailed(error_record(node, path, "invalid_config", f"config.{where}: {first['msg']}"))
