"""The command line: thin verbs over the client, the store and the embedded server."""

from orchestrator.cli.main import app, main, run_and_exit

__all__ = ["app", "main", "run_and_exit"]
