"""A case that is given as data rather than as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.flowtests.lanes.side_lane import SideLanes
from orchestrator.flowtests.results import CaseResult
from orchestrator.spec.flowtests.loading import load_cases
from orchestrator.spec.loading import load_flow_file
from orchestrator.spec.project import load_project

Json = Any


def run_written(lanes: SideLanes, project: Path, flow: Path, case: dict[str, Json]) -> CaseResult:
    """Run a case on the flow of a file. Raises FlowInvalid where one of the two cannot be used."""
    loaded = load_flow_file(flow, load_project(project))
    [ready] = load_cases(json.dumps({"cases": [case]}), "<flow_case>", loaded, flow.parent)
    return lanes.run(project, ready, loaded)
