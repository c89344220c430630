"""The worker's side of agents: an agent is opened once, and each turn is one call of its model.

The loop is the engine's. The conversation is kept in the store under the key the engine gives; an answer is written
there before it is returned, so that an attempt that dies after it is not paid for twice.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from anthropic.types import Message
from temporalio import activity

from orchestrator.errors import StepError, TerminalError
from orchestrator.security.secrets import Secrets
from orchestrator.spec.acts.agent import AgentConfig, AgentTraits
from orchestrator.spec.definition import Json
from orchestrator.steps.agent.declared import limits_of, merged, people_of
from orchestrator.steps.agent.messages import correction_of, request_of, results_of, system_of, text_block
from orchestrator.steps.agent.names import original_members
from orchestrator.steps.agent.store import asked, kept, store_of
from orchestrator.steps.agent.tools import Functions, Toolset, collect
from orchestrator.steps.claude.call import as_turn, check_end, connect, resolve_model, send
from orchestrator.steps.claude.pricing import UNPRICED
from orchestrator.steps.claude.schema import AnswerMismatch, read_answer
from orchestrator.steps.claude.spending import answer_limit, spent_tokens
from orchestrator.steps.context import StepContext
from orchestrator.store.transcripts import OPENING, Entry, TranscriptKey, Transcripts, answer_of, before_turn

DEEPEST = 5
"""How many agents may be at work inside of another one."""
_SHOWN_GOAL = 300
_LONG_SECRET = 8
"""Characters from which a secret is masked in a transcript though nobody asked for it; a shorter one is often a word.
A secret that the attempt itself resolved is masked in any case."""
_LONG_KEY = 20


async def open_agent(
    config: AgentConfig, told: dict[str, Json], context: StepContext, functions: Functions
) -> dict[str, Json]:
    """Settle who the agent is and what it may use, and begin its transcript. ``told`` is ``{"transcript": key,
    "schema", "depth"}``. Returns ``{"tools", "approve", "approval", "limits"}``, with ``left_out`` where tools could
    not be used; the same again when it was done already.

    Raises TerminalError ``too_deep``, ``invalid_config``, ``store_missing``, what ``collect`` raises, and StepError
    ``store_unavailable``.
    """
    if told["depth"] > DEEPEST:
        raise TerminalError(
            "too_deep",
            f"this agent was called by an agent that was called by an agent, {told['depth']} deep; at most {DEEPEST} "
            "are possible: let one agent have the tools itself",
        )
    if not config.goal.strip():
        raise TerminalError("invalid_config", f"{context.source}: the agent's `goal` is empty")
    transcripts, key = store_of(context).transcripts, _key(told, context)
    known = await asked(transcripts.read(key, limit=1))
    if known and known[0].position == OPENING and known[0].content["execution"] == _execution():
        opened: dict[str, Json] = known[0].content["opened"]
        return opened
    traits = merged(config, context)
    tools = await collect(traits.tools, functions, context)
    opened = _opened(traits, tools)
    content = _masked(_opening(config, traits, tools, told["schema"], context) | {"opened": opened}, context)
    about = {"agent": config.agent, "model": content["model"], "goal": content["goal"][:_SHOWN_GOAL]}
    # A run of another execution under this key never got beyond its opening, or is another run of the same id.
    await asked(transcripts.begin(key, Entry(OPENING, "opening", about, content)))
    for name, why in tools.left_out.items():
        context.logger.warning("agent %s of run %s goes without '%s': %s", context.path, context.run_id, name, why)
    return opened


def _opened(traits: AgentTraits, tools: Toolset) -> dict[str, Json]:
    """What the engine goes by."""
    for name in traits.approve:
        # What begins with `*` is a rule for whatever may come; anything else that fits nothing is a slip of the pen.
        fits = any(fnmatchcase(tool, name) for tool in (*tools.tools, *tools.left_out))
        if not fits and not name.startswith("*"):
            known = ", ".join(list(tools.tools)[:20]) or "none"
            raise TerminalError(
                "invalid_config",
                f"`approve` names '{name}', and the agent has no such tool, so nobody would be asked; its "
                f"tools: {known}",
            )
    opened: dict[str, Json] = {
        "tools": tools.targets,
        "approve": traits.approve,
        "approval": people_of(traits),
        "limits": limits_of(traits),
    }
    return opened | ({"left_out": tools.left_out} if tools.left_out else {})


def _opening(
    config: AgentConfig, traits: AgentTraits, tools: Toolset, schema: dict[str, Json] | None, context: StepContext
) -> dict[str, Json]:
    """What the model goes by: everything a turn sends besides what was said."""
    return {
        "agent": config.agent,
        "execution": _execution(),
        "model": resolve_model(traits.model, context),
        "system": system_of(traits.system, schema),
        "goal": config.goal,
        "tools": tools.definitions,
        "renamed": tools.renamed,
        "schema": schema,
        "max_tokens": traits.max_tokens,
        "effort": traits.effort,
        "thinking": traits.thinking,
        "cache": traits.cache,
        "max_tool_result": traits.max_tool_result,
    }


def _execution() -> str:
    """What this attempt is one of: the same for all attempts of one scheduled activity, and for no other. A run id may
    be used again, by a delivery after a failed run, and a `try` runs a failed step again under the same key."""
    if not activity.in_activity():
        return ""
    info = activity.info()
    return f"{info.workflow_run_id} {info.scheduled_time.isoformat()}"


async def take_turn(told: dict[str, Json], context: StepContext) -> dict[str, Json]:
    """One call of the model, unless its answer is in the transcript. ``told`` is ``{"transcript", "turn", "results",
    "correction", "left"}``. Returns ``{"stop": "calls" | "paused" | "end" | "invalid", "calls", "text", "value",
    "problem"}``; ``context.usage`` is the turn's, attempts that failed included, also when its answer was there.

    Raises TerminalError ``transcript_lost``, ``missing_key``, ``max_tokens``, ``refusal``, ``budget_exceeded``,
    ``unpriced`` and for requests the API refuses; StepError ``store_unavailable`` and as the claude step does.
    """
    transcripts, key, turn = store_of(context).transcripts, _key(told, context), int(told["turn"])
    entries = {entry.position: entry for entry in await asked(transcripts.read(key))}
    if OPENING not in entries or (turn > 0 and answer_of(turn - 1) not in entries):
        raise TerminalError(
            "transcript_lost",
            f"the conversation of agent '{context.path}' is not in the store (any more) as far as its turn {turn}: the "
            "store was emptied, or ORCHESTRATOR_STORE_URL names another one than the run began with; bring it back and "
            "retry the run, or re-run from this step to begin a new conversation",
        )
    opening: dict[str, Json] = entries[OPENING].content
    answer = entries.get(answer_of(turn))
    if answer is not None:
        context.usage.update(answer.about["usage"])
        return _outcome(answer, opening)
    so_far = [entry for position, entry in sorted(entries.items()) if position < before_turn(turn)]
    message = _message(told, entries[answer_of(turn - 1)] if turn else None, opening)
    if message is not None:
        said = Entry(before_turn(turn), "user", {}, _masked(message, context))
        await kept(lambda: transcripts.rewrite(key, said))
        so_far.append(said)
    asking = _Asking(turn, request_of(opening, so_far), told["left"], context, transcripts, key)
    return _outcome(await asking.answer(), opening)


@dataclass(frozen=True, slots=True)
class _Asking:
    """One attempt to get the answer of a turn."""

    turn: int
    request: dict[str, Json]
    left: dict[str, Json]
    context: StepContext
    transcripts: Transcripts
    key: TranscriptKey

    async def answer(self) -> Entry:
        """The model's answer, in the transcript."""
        context, before = self.context, await self._spent_before()
        try:
            message = await self._send(_less(self.left, before))
        except StepError:
            await self._keep_spent()
            _add(context.usage, before)
            raise
        _add(context.usage, before)
        usage = dict(context.usage)
        about: dict[str, Json] = {"stop": message.stop_reason, "model": message.model, "usage": usage}
        own = Entry(answer_of(self.turn), "assistant", about, _masked(as_turn(message)["content"], context))
        written = await kept(lambda: self.transcripts.write(self.key, own))
        if written.content != own.content:
            # Another attempt, taken for dead, was faster. Both are paid for.
            _add(context.usage, written.about["usage"])
        return written

    async def _send(self, left: dict[str, Json]) -> Message:
        sdk = await connect(self.context)
        wanted = self.request["max_tokens"]
        try:
            limit = await answer_limit(sdk, self.request, self.context, tokens=left["tokens"], cost=left["cost"])
            message = await send(sdk, self.request | {"max_tokens": limit}, self.context)
            check_end(message, limit, wanted)
        except TerminalError as error:
            if error.type != "budget_exceeded":
                raise
            raise TerminalError(
                error.type,
                f"the agent's limits do not cover its turn {self.turn}, with {_left(left)} left: raise them, or ask "
                "for less",
                data=error.data,
            ) from error
        return message

    async def _spent_before(self) -> dict[str, Json]:
        """What attempts of this turn consumed that gave no answer."""
        total: dict[str, Json] = {}
        for lost in await asked(self.transcripts.lost(self.key, self.turn)):
            if lost["execution"] == _execution():
                _add(total, lost["usage"])
        return total

    async def _keep_spent(self) -> None:
        """A failed attempt is paid for too, as far as it got; Temporal keeps nothing of it once the next succeeds."""
        if self.context.usage:
            about = {"execution": _execution(), "usage": dict(self.context.usage)}
            with suppress(StepError):
                # The failure itself is worth more than what it cost.
                await asked(self.transcripts.add_lost(self.key, self.turn, self.context.attempt, about))


def _message(told: dict[str, Json], before: Entry | None, opening: dict[str, Json]) -> list[Json] | None:
    """What is said before the turn; None where the model only goes on."""
    if before is None:
        return [text_block(opening["goal"])]
    if told.get("correction") is not None:
        return correction_of(told["correction"])
    calls = _calls(before)
    return results_of(calls, told.get("results") or [], opening) if calls else None


def _less(left: dict[str, Json], spent: dict[str, Json]) -> dict[str, Json]:
    """What attempts that failed have left of the limits."""
    tokens, cost = left["tokens"], left["cost"]
    known = spent.get("cost", 0.0)
    return {
        "tokens": None if tokens is None else tokens - spent_tokens(spent),
        "cost": None if cost is None else cost - (known if isinstance(known, int | float) else 0.0),
    }


def _left(left: dict[str, Json]) -> str:
    words = [] if left["tokens"] is None else [f"{left['tokens']:,} of limits.tokens"]
    return " and ".join(words + ([] if left["cost"] is None else [f"{left['cost']:.4f} dollars of limits.cost"]))


def _add(usage: dict[str, Json], more: dict[str, Json]) -> None:
    """Sum up what calls consumed. A cost that nobody knows makes the sum unknown."""
    for name, value in more.items():
        known = usage.get(name)
        if name == "cost" and UNPRICED in (known, value):
            usage[name] = UNPRICED
        elif isinstance(value, int | float) and isinstance(known, int | float):
            usage[name] = round(known + value, 9)
        else:
            usage.setdefault(name, value)


def _outcome(answer: Entry, opening: dict[str, Json]) -> dict[str, Json]:
    """What the engine has to know of an answer."""
    names = opening["renamed"]
    calls = [
        {
            "id": call["id"],
            "name": call["name"],
            "arguments": original_members(call["input"], names.get(call["name"], {})),
        }
        for call in _calls(answer)
    ]
    outcome: dict[str, Json] = {"stop": "end", "calls": calls, "text": None, "value": None, "problem": None}
    if calls:
        return outcome | {"stop": "calls"}
    if answer.about["stop"] == "pause_turn":
        return outcome | {"stop": "paused"}
    text = "".join(block["text"] for block in answer.content if block.get("type") == "text")
    schema = opening["schema"]
    if schema is None:
        return outcome | {"text": text}
    try:
        return outcome | {"text": text, "value": read_answer(text, schema)}
    except AnswerMismatch as problem:
        return outcome | {"stop": "invalid", "text": text, "problem": str(problem)}


def _calls(answer: Entry) -> list[dict[str, Any]]:
    return [block for block in answer.content if block.get("type") == "tool_use"]


def _key(told: dict[str, Json], context: StepContext) -> TranscriptKey:
    return TranscriptKey.read(told["transcript"], context.root_id)


def _masked(value: Json, context: StepContext) -> Json:
    """The value without any secret of this worker: what enters a conversation is kept, and sent to the model."""
    settings = context.settings
    every = Secrets(settings.secrets)
    for secret in (*settings.secrets.values(), *context.secrets.used):
        if len(secret) >= _LONG_SECRET or secret in context.secrets.used:
            every.remember(secret)
    if len(settings.anthropic_api_key or "") >= _LONG_KEY:
        every.remember(settings.anthropic_api_key or "")
    return every.mask(value)
