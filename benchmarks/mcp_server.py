"""The MCP server that is called in the benchmark: ``python -m benchmarks.mcp_server`` on stdio."""

from __future__ import annotations

from mcp.server import MCPServer
from pydantic import BaseModel

server = MCPServer("bench")


class Sum(BaseModel):
    """A typed result."""

    total: int


@server.tool()
def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(total=a + b)


if __name__ == "__main__":
    server.run()
