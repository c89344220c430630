"""Functions of a project: found, described, called, and run in processes of their own where they ask for it.

Authors of functions need ``cpu`` alone.
"""

from orchestrator.steps.function.handlers import cpu

__all__ = ["cpu"]
