"""``test``: flows run against what their test files say."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.console import BAD_INPUT, FAILED, InputUnusable, run, say, show, show_json
from orchestrator.errors import FlowInvalid, Problem
from orchestrator.flowtests.results import CaseResult, Report
from orchestrator.flowtests.telling.telling import told
from orchestrator.settings import Settings


def test(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Test files, flows or folders; without any, the project's workflows/.")
    ] = None,
    match: Annotated[str | None, typer.Option("-k", help="Only cases with this text in their name or file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
    lanes: Annotated[
        int | None, typer.Option("-j", min=1, max=32, help="Files run side by side; else one for each core.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write the result as JUnit XML.")] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Tell which steps and branches no case reaches.")
    ] = False,
    mutate: Annotated[
        bool, typer.Option("--mutate", help="Leave out each step in turn; tell which of them no case misses.")
    ] = False,
    record: Annotated[
        str | None, typer.Option("--record", metavar="RUN", help="Write this finished run as a case.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --record: the test file; else the flow's own.")
    ] = None,
) -> None:
    """Run the tests of flows: nothing is sent anywhere, and waits cost no time."""
    settings: Settings = context.obj
    others: dict[str, object] = {"-k": match, "-j": lanes, "--junit": junit, "--coverage": coverage}
    if record is not None:
        _refuse("--record", others | {"PATH": paths, "--mutate": mutate, "--json": as_json})
        from orchestrator.cli.recording import record_run

        record_run(settings, record, output)
        return
    _refuse("--mutate" if mutate else "a run of tests", {"-o": output} | (others if mutate else {}))
    # With it comes the worker.
    from orchestrator.flowtests.runner import find_test_files, run_files

    files = find_test_files(settings, paths)
    with _attempts_may_fail():
        if mutate:
            from orchestrator.cli.mutation import mutate_files

            mutate_files(settings, files, as_json=as_json)
            return
        tell = None if as_json else _tell
        report = run(run_files(settings, files, match=match, lanes=lanes or os.cpu_count() or 1, progress=tell))
    if not report.cases and not report.unreadable:
        looked = ", ".join(str(file) for file in files)
        raise FlowInvalid([Problem(f"no case has '{match}' in its name", looked)])
    if junit is not None:
        _write(junit, report)
    _show(report, coverage=coverage, as_json=as_json)


def _show(report: Report, *, coverage: bool, as_json: bool) -> None:
    if as_json:
        show_json(report)
    else:
        if coverage:
            _cover(report)
        _sum_up(report)
    if report.unreadable:
        raise typer.Exit(BAD_INPUT)
    if not report.passed:
        raise typer.Exit(FAILED)


def _refuse(what: str, given: Mapping[str, object]) -> None:
    """Nothing that was asked for is left out silently. Raises InputUnusable."""
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise InputUnusable(f"{wrong[0]} does not go with {what}: leave it out")


@contextlib.contextmanager
def _attempts_may_fail() -> Iterator[None]:
    """What many cases are about is no news: the SDK would log every failed attempt, with its trace."""
    log = logging.getLogger("temporalio.activity")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _tell(case: CaseResult) -> None:
    mark = "ok    " if case.passed else "FAILED"
    show(f"{mark} {case.file}:{case.line}  {case.name}")
    if not case.passed:
        for line in told(case):
            show(f"       {line}")


def _write(path: Path, report: Report) -> None:
    from orchestrator.flowtests.telling.junit import junit

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(junit(report), encoding="utf-8")
    except OSError as error:
        raise InputUnusable(f"--junit {path} cannot be written: {error.strerror or error}") from error


def _cover(report: Report) -> None:
    for file in report.files:
        if (found := file.coverage) is not None:
            steps = f"{found.steps_run} of {found.steps} steps"
            show(f"{found.file}: {steps}, {found.branches_taken} of {found.branches} branches")
            for one in found.unreached:
                show(f"  {one}")


def _sum_up(report: Report) -> None:
    for file in report.unreadable:
        for problem in file.problems:
            say(f"error: {problem}", "red")
    failed = sum(not case.passed for case in report.cases)
    passed = len(report.cases) - failed
    parts = [f"{passed} passed"] + ([f"{failed} failed"] if failed else [])
    if report.unreadable:
        count = len(report.unreadable)
        parts.append(f"{count} file{'s' * (count > 1)} cannot be used")
    show(f"{', '.join(parts)} in {report.took:.1f}s")


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("test")(test)
