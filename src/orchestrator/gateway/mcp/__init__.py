"""The MCP server: flows as tools, and tools to write, check, publish, run and watch them."""
