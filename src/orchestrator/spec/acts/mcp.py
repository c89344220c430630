"""Config of the ``mcp`` step (FLOW_FORMAT §9), and of the servers it names."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from orchestrator.spec.base import ActConfig, Duration, Spec, act

_HTTP_URL = r"^https?://[^/?#\s]"


class ClientCredentials(Spec):
    """OAuth for machines (RFC 6749 §4.4): tokens are fetched from ``issuer``, kept in memory and fetched again when
    they are used up or refused."""

    client_id: str = Field(min_length=1)
    client_secret: str = Field(min_length=1)
    scope: str | None = None
    issuer: str = Field(pattern=_HTTP_URL)
    """The authorization server these credentials belong to. Another one that the MCP server names never gets them."""


class RefreshToken(Spec):
    """OAuth with a refresh token that stays the same: access tokens are fetched with it and kept in memory."""

    token_url: str = Field(pattern=_HTTP_URL)
    refresh_token: str = Field(min_length=1)
    client_id: str | None = None
    client_secret: str | None = None
    scope: str | None = None


class McpAuth(Spec):
    """How the worker signs in, with nobody there to click. A fixed token is written under ``headers``."""

    client_credentials: ClientCredentials | None = None
    refresh_token: RefreshToken | None = None
    token_file: str | None = Field(default=None, min_length=1)
    """A JSON file with ``access_token``, and to refresh it ``refresh_token``, ``token_url``, ``client_id`` and perhaps
    ``client_secret`` and ``expires_at`` (seconds since 1970). It is written anew at each refresh. Relative to the
    project."""

    @model_validator(mode="after")
    def _one(self) -> McpAuth:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("write exactly one of 'client_credentials', 'refresh_token' and 'token_file'")
        return self


class McpServer(Spec):
    """One entry of ``mcp`` in orchestrator.yaml or a flow: a command that speaks MCP on stdin and stdout, or a URL.

    A command gets a small safe environment plus ``env``, never the worker's own.
    """

    description: str | None = None
    command: str | None = Field(default=None, min_length=1)
    args: list[str] = Field(default=[])
    env: dict[str, str] = Field(default={})
    cwd: str | None = None
    """Relative to the project; empty: the project itself."""
    url: str | None = Field(default=None, pattern=_HTTP_URL)
    transport: Literal["http", "sse"] = "http"
    """``http``: streamable HTTP; ``sse``: its predecessor, which some servers still speak alone."""
    headers: dict[str, str] = Field(default={})
    auth: McpAuth | None = None
    timeout: Duration = 60.0
    """For each call."""
    connect_timeout: Duration = 60.0
    """For starting the command or reaching the URL, until the server has answered the first request."""
    idle: Duration = 300.0
    """A connection nobody used for so long is closed."""
    shared: bool = True
    """Whether all runs on a worker share one connection. ``false`` gives every run its own: for servers that remember
    what they were told, such as a browser."""
    allow: list[str] | None = None
    """Tools that may be called, ``*`` standing for any text; empty: all."""
    max_result: int = Field(default=1_000_000, ge=1)
    """Bytes of JSON one result may have."""

    @model_validator(mode="after")
    def _one_transport(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise ValueError("an MCP server has exactly one of 'command' and 'url'")
        if self.url is None and (self.headers or self.auth is not None or self.transport != "http"):
            raise ValueError("'headers', 'auth' and 'transport' belong to a server with 'url'; a command takes 'env'")
        if self.command is None and (self.args or self.env or self.cwd):
            raise ValueError("'args', 'env' and 'cwd' belong to a server with 'command'; a url takes 'headers'")
        return self


class Elicit(Spec):
    """Who answers when the server asks something in the middle of a call."""

    assignee: str | None = Field(default=None, min_length=1)
    group: str | None = Field(default=None, min_length=1)
    deadline: Duration | None = None

    @model_validator(mode="after")
    def _one(self) -> Elicit:
        if (self.assignee is None) == (self.group is None):
            raise ValueError("write exactly one of `assignee` and `group`")
        return self


@act("mcp")
class McpConfig(ActConfig):
    """One call of a tool, or one read of a resource or prompt."""

    server: str = Field(min_length=1)
    tool: str | None = Field(default=None, min_length=1)
    resource: str | None = Field(default=None, min_length=1)
    """A URI."""
    prompt: str | None = Field(default=None, min_length=1)
    arguments: dict[str, Any] = Field(default={})
    """Of the tool or the prompt."""
    elicit: Elicit | None = None
    """Whom to ask what the server asks; empty: a question fails the step."""

    @model_validator(mode="after")
    def _one_request(self) -> McpConfig:
        if sum(name is not None for name in (self.tool, self.resource, self.prompt)) != 1:
            raise ValueError("write exactly one of 'tool', 'resource' and 'prompt'")
        if self.resource is not None and self.arguments:
            raise ValueError("a resource takes no 'arguments'")
        return self
