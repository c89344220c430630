"""Runs that a schedule of Temporal's started. It starts them bare; what it knows stands in search attributes."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributeKey

from orchestrator.spec.call import HEADER
from orchestrator.spec.definition import Definition, Json
from orchestrator.spec.moment import moment_text

_BY = SearchAttributeKey.for_keyword("TemporalScheduledById")
_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


def scheduled() -> dict[str, Json] | None:
    """Which schedule started this run, and the moment it was for; None where none did."""
    info = workflow.info()
    schedule = info.typed_search_attributes.get(_BY)
    if schedule is None:
        return None
    moment = info.typed_search_attributes.get(_AT) or info.start_time
    return {"schedule": schedule, "time": moment_text(moment)}


def note_version(definition: Definition) -> None:
    """Let lists show what the run was resolved to: the schedule could not know it."""
    if scheduled() is not None:
        told = {"flow": definition.flow, "version": definition.version, "trigger": "schedule"}
        workflow.upsert_memo({HEADER: told})
