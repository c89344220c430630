"""The helpers, by what they work on. Importing this fills ``helpers.HELPERS``."""

from orchestrator.expressions.library import dates, encoding, lists, numbers, objects, patterns, texts

__all__ = ["dates", "encoding", "lists", "numbers", "objects", "patterns", "texts"]
