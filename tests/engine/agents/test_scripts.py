"""Made-up conversations: whatever a model says, what is asked, called and told is what the script alone foretells."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from tests.engine.agents.bench import AgentBench, agent, flow, tools
from tests.engine.agents.model import PRICE, Turn, calls

from orchestrator.testing import Reply

Json = Any
SEEDS = range(200 if settings.get_current_profile_name() == "chaos" else 5)
HICCUPS = (Reply.overloaded(), Reply.malformed(), Reply.failure(503, "later"))
"""Each is followed by the same question."""


class Script:
    """A conversation by chance, and what must come of it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.turns: list[Turn] = []
        self.shown: list[list[str | None]] = []
        """What the model is told, turn by turn; None where a failure is told."""
        self.called: list[Counter[str]] = []
        """What functions write down, turn by turn."""
        self.requests = 0
        for _ in range(self._random.randint(1, 8)):
            self._turn()
        self._say("the end")

    def _turn(self) -> None:
        if self._random.random() < 0.15:
            self._say(Reply.paused("a moment"))
            return
        made = [self._call() for _ in range(self._random.choice((1, 1, 2, 3, 5)))]
        self.shown.append([shown for _, shown, _ in made])
        self.called.append(Counter(line for _, _, line in made if line is not None))
        self._say(calls(*(call for call, _, _ in made), text=self._random.choice(("", "I shall."))))

    def _say(self, reply: Reply | str) -> None:
        hiccups = [self._random.choice(HICCUPS)] if self._random.random() < 0.2 else []
        self.turns.append([*hiccups, reply])
        self.requests += len(hiccups) + 1

    def _call(self) -> tuple[tuple[str, dict[str, Json]], str | None, str | None]:
        """A call, what is told of it, and what its function writes down."""
        number, word = self._random.randint(-5, 99), self._random.choice(("ab", "한글", "{{ inputs }}", "</x>"))
        made: list[tuple[tuple[str, dict[str, Json]], str | None, str | None]] = [
            (("add", {"a": number}), str(number + 1), f"add {number} 1"),
            (("add", {"b": 7, "a": number}), str(number + 7), f"add {number} 7"),
            (("in_thread", {"text": word}), word[::-1], f"in_thread {word}"),
            (("explode", {"why": word}), None, f"explode {word}"),
            (("add", {}), None, None),
            (("in_thread", {"text": [word]}), None, None),
            (("no_such_tool", {"a": number}), None, None),
        ]
        return self._random.choice(made)


def read(shown: str) -> str | None:
    """What the model was shown, as the script foretells it."""
    if shown.startswith("!"):
        return None
    return str(json.loads(shown)) if shown.lstrip("-").isdecimal() else shown


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_conversation_by_chance_is_what_its_script_foretells(agents: AgentBench, seed: int) -> None:
    """In one execution, and in a run that continues as new whenever it can."""
    for continue_after in (None, 1):
        agents.bench.continue_after = continue_after
        agents.clear()
        script = Script(seed)
        agents.model.plays("think", *script.turns)
        step = agent(tools=tools("add", "in_thread", "explode")) | {
            "retry": {"max_attempts": 3, "initial_interval": "10ms"}
        }
        said, usage = await agents.run(flow(step, output=["{{ steps.think.output.text }}", "{{ steps.think.usage }}"]))
        assert said == "the end"
        assert len(agents.model.exchanges) == script.requests
        assert [[read(text) for text in told] for told in agents.model.shown("think")] == script.shown
        assert usage["calls"] == len(script.turns)
        assert usage["cost"] == pytest.approx(PRICE * len(script.turns))
        written = iter(agents.calls())
        for expected in script.called:
            assert Counter(next(written) for _ in range(expected.total())) == expected
        assert list(written) == []
