"""MCP servers as steps and agents use them: connections, calls, questions, errors."""
