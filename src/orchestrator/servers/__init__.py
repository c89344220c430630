"""MCP servers of our own, each a process that any MCP client can start."""
