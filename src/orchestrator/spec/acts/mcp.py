"""Config of the ``mcp`` step (FLOW_FORMAT §9), and of the servers it names."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from orchestrator.spec.base import ActConfig, Duration, Spec, act


class McpServer(Spec):
    """One entry of ``mcp`` in orchestrator.yaml: a command that speaks MCP on stdin and stdout, or a URL.

    A command gets a small safe environment plus ``env``, never the worker's own.
    """

    command: str | None = Field(default=None, min_length=1)
    args: list[str] = Field(default=[])
    env: dict[str, str] = Field(default={})
    cwd: str | None = None
    """Relative to the project; empty: the project itself."""
    url: str | None = Field(default=None, pattern=r"^https?://")
    headers: dict[str, str] = Field(default={})
    timeout: Duration = 60.0
    """For connecting, and for each call."""
    idle: Duration = 300.0
    """A connection nobody used for so long is closed."""
    allow: list[str] | None = None
    """Tools that may be called, ``*`` standing for any text; empty: all."""
    max_result: int = Field(default=1_000_000, ge=1)
    """Bytes of JSON one result may have."""

    @model_validator(mode="after")
    def _one_transport(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise ValueError("an MCP server has exactly one of 'command' and 'url'")
        if self.url is None and self.headers:
            raise ValueError("'headers' belong to a server with 'url'; a command takes 'env'")
        if self.command is None and (self.args or self.env or self.cwd):
            raise ValueError("'args', 'env' and 'cwd' belong to a server with 'command'; a url takes 'headers'")
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

    @model_validator(mode="after")
    def _one_request(self) -> McpConfig:
        if sum(name is not None for name in (self.tool, self.resource, self.prompt)) != 1:
            raise ValueError("write exactly one of 'tool', 'resource' and 'prompt'")
        if self.resource is not None and self.arguments:
            raise ValueError("a resource takes no 'arguments'")
        return self
