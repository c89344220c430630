"""``test --mutate``: whether the tests of flows would notice a step that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from orchestrator.cli.console import FAILED, run, say, show, show_json
from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.mutation.trial import Mutation, mutate
from orchestrator.settings import Settings
from orchestrator.spec.flowtests.loading import load_test_file
from orchestrator.spec.project import load_project


def mutate_files(settings: Settings, files: Sequence[Path], *, as_json: bool) -> None:
    """Leave out each step of the flows that these files test, and tell which of them no case misses. Exit code 1 where
    there are some, or where a case fails as it is. Raises FlowInvalid before anything runs."""
    found = run(_mutate(settings, files, as_json))
    if as_json:
        show_json(found)
    else:
        _sum_up(found)
    if not all(one.passed for one in found):
        raise typer.Exit(FAILED)


async def _mutate(settings: Settings, files: Sequence[Path], as_json: bool) -> list[Mutation]:
    project = load_project(settings.project_dir)
    loaded = [load_test_file(path, project) for path in files]
    found = []
    async with Lane(settings) as lane:
        for tests in loaded:
            found.append(await mutate(lane, tests, project))
            if not as_json:
                _tell(found[-1])
    return found


def _tell(found: Mutation) -> None:
    for case in found.failing:
        say(f"FAILED {case.file}:{case.line}  {case.name}: {case.problems[0].message}", "red")
    if found.failing:
        say(f"{found.flow_file}: nothing was left out, because a case fails with all steps in place", "red")
        return
    noticed = found.removed - len(found.survivors)
    show(f"{found.flow_file}: {found.removed} steps left out one by one, {noticed} missed by its tests")
    for survivor in found.survivors:
        show(f"  {survivor}")


def _sum_up(found: list[Mutation]) -> None:
    removed = sum(one.removed for one in found)
    survivors = sum(len(one.survivors) for one in found)
    show(
        f"{removed} steps left out, {survivors} of them unnoticed"
        if survivors
        else f"{removed} steps left out, all noticed"
    )
