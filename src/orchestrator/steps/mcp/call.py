"""One call of an MCP server: what is learned on its way that the SDK does not tell, and why it may have to stop."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class Question:
    """Something the server asks the user in the middle of a call."""

    id: str
    message: str
    schema: dict[str, Json]
    same: str
    """Equal for questions that say the same."""

    def to_json(self) -> dict[str, Json]:
        """As the engine takes it."""
        return {"id": self.id, "message": self.message, "schema": self.schema}


class Asked(Exception):
    """The call goes on only with answers. ``state`` is the server's, to be given back with them."""

    def __init__(self, questions: list[Question], state: str | None = None) -> None:
        super().__init__("; ".join(question.message for question in questions))
        self.questions = questions
        self.state = state


class TooLarge(Exception):
    """The server sends more than a result may have; the rest of it is not kept."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit


class SignInFailed(Exception):
    """No access token could be had. ``passing`` when another try may help."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class ServerGone(Exception):
    """The connection ended. ``cause`` is why, as far as known; ``unsent`` when no server can have seen the
    call; ``said`` is the end of what a command wrote to stderr."""

    def __init__(self, cause: BaseException | None, *, unsent: bool, said: str = "") -> None:
        super().__init__(str(cause) if cause else "the connection closed")
        self.cause = cause
        self.unsent = unsent
        self.said = said


@dataclass(slots=True, eq=False)
class Call:
    """What one call is told and what becomes known of it: the SDK keeps neither status nor headers."""

    answers: dict[str, dict[str, Json]] = field(default_factory=dict)
    """To questions that the server will ask again, by what they say."""
    status: int = 0
    headers: dict[str, str] | None = None
    in_session: bool = False
    """Whether the request named a session that an earlier answer had opened."""
    reason: Exception | None = None
    """Why the call was stopped."""
    stopped: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def session_lost(self) -> bool:
        """Whether the server has forgotten the session, and so refused the call."""
        return self.status == 404 and self.in_session

    def begin(self) -> None:
        """Forget the answer to the request before."""
        self.status, self.headers, self.in_session = 0, None, False

    def stop(self, reason: Exception) -> None:
        """End the call with ``reason``; the first one counts."""
        if self.reason is None:
            self.reason = reason
            self.stopped.set_result(None)


CALL: ContextVar[Call | None] = ContextVar("orchestrator_mcp_call", default=None)
"""The SDK sends each request, and handles what comes back on its stream, in the context of the call that made it."""
