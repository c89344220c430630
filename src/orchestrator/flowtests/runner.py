"""Files of tests, found and run."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from orchestrator.errors import FlowInvalid, Problem
from orchestrator.flowtests.judging.coverage import coverage_of
from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.results import CaseResult, FileResult, Mismatch, Report
from orchestrator.settings import Settings
from orchestrator.spec.flowtests.cases import CaseFile
from orchestrator.spec.flowtests.loading import SUFFIXES, is_test_file, load_test_file
from orchestrator.spec.project import load_project

Progress = Callable[[CaseResult], None]


def find_test_files(settings: Settings, paths: Sequence[Path] | None = None) -> list[Path]:
    """The test files under ``paths``, folders searched; of a flow's file, its tests. Without paths, those of the
    project's workflows/. Raises FlowInvalid for a path that leads to none, saying where was looked."""
    found: dict[Path, None] = {}
    for path in paths or [settings.project_dir / "workflows"]:
        here = list(_tests_at(path))
        if not here:
            where = f"in {path} or below" if path.is_dir() else "there"
            hint = "tests of workflows/<flow>.yaml stand in workflows/<flow>.test.yaml"
            what = "there is no such file or folder" if not path.exists() else f"there are no tests of flows {where}"
            raise FlowInvalid([Problem(what, str(path), hint=hint)])
        found.update(dict.fromkeys(here))
    return list(found)


def _tests_at(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return sorted(file for suffix in SUFFIXES for file in path.rglob(f"*.test{suffix}") if file.is_file())
    if is_test_file(path):
        return [path] if path.is_file() else []
    beside = [path.with_name(f"{path.stem}.test{suffix}") for suffix in SUFFIXES]
    return [file for file in beside if file.is_file()]


async def run_files(
    settings: Settings,
    files: Sequence[Path],
    *,
    match: str | None = None,
    lanes: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Run every case whose name, or file and name, has ``match`` in it. ``progress`` is told of each case as it ends.
    ``lanes``: files that run side by side, each lane with a server of its own. Raises Unavailable where no test server
    can be had."""
    begun = time.perf_counter()
    loaded = [(path, _loaded(path, settings)) for path in files]
    report = Report(files=[_unread(path, one) for path, one in loaded])
    waiting = [(file, one) for file, (_, one) in zip(report.files, loaded, strict=True) if isinstance(one, CaseFile)]
    number = max(1, min(lanes, len(waiting)))
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(Lane(settings)) for _ in range(number if waiting else 0)]
        left = iter(waiting)
        await asyncio.gather(*(_serve(lane, left, match, progress) for lane in opened))
    report.took = time.perf_counter() - begun
    return report


def _loaded(path: Path, settings: Settings) -> CaseFile | FlowInvalid:
    try:
        return load_test_file(path, load_project(settings.project_dir))
    except FlowInvalid as error:
        return error


def _unread(path: Path, loaded: CaseFile | FlowInvalid) -> FileResult:
    """A file of which no case has run."""
    if isinstance(loaded, FlowInvalid):
        problems = [Mismatch(_told(one), f"{one.file}:{one.line}:{one.column}") for one in loaded.problems]
        return FileResult(str(path), problems=problems)
    return FileResult(loaded.file, loaded.flow.definition.flow, loaded.flow_file)


async def _serve(
    lane: Lane, left: Iterator[tuple[FileResult, CaseFile]], match: str | None, progress: Progress | None
) -> None:
    """Run files until none is left; other lanes take of them too."""
    for result, loaded in left:
        for case in loaded.cases:
            if match is None or match.lower() in f"{loaded.file} {case.name}".lower():
                done = await lane.run(case, loaded.flow)
                result.cases.append(done)
                if progress is not None:
                    progress(done)
        result.coverage = coverage_of(loaded.flow.definition, result.cases)


def _told(problem: Problem) -> str:
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message
