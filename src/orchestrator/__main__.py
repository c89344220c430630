"""``python -m orchestrator`` is the command line."""

from orchestrator.cli import run_and_exit

run_and_exit()
