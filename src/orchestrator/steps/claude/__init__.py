"""Calls of Claude: the request, the streamed answer, what it costs, and how it failed."""
