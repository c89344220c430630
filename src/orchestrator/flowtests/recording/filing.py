"""A recorded case put into its test file, and tried there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator import admission
from orchestrator.errors import FlowInvalid, OrchestratorError, Refused
from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.recording.appending import new_file, with_case
from orchestrator.flowtests.recording.case import Recording, recording, without_what_differs
from orchestrator.flowtests.recording.recorded import RecordedRun
from orchestrator.flowtests.results import CaseResult
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.flowtests.loading import ENDING, is_test_file, load_test_file
from orchestrator.spec.loading import LoadedFlow, load_flow_file
from orchestrator.spec.project import Project, load_project


@dataclass(frozen=True, slots=True)
class Filed:
    """A case in its file."""

    file: Path
    name: str
    result: CaseResult
    """What came of it when it ran there."""
    remarks: tuple[str, ...]
    is_other_version: bool
    """Whether the flow's file is not what the run ran."""


async def file_run(settings: Settings, run: RecordedRun, target: Path | None = None) -> Filed:
    """Put a run into ``target``, which stands beside the flow; without it into ``<flow>.test.yaml``. What the case
    expects of the output and does not find again is left out. Raises Refused where there is no place for the case, and
    FlowInvalid where the flow's file does not go with it; the test file is then as it was."""
    project = load_project(settings.project_dir)
    flow_file, flow = _flow_of(run, settings, project)
    path = target or flow_file.with_name(f"{flow_file.stem}{ENDING}{flow_file.suffix}")
    if not is_test_file(path) or path.resolve().parent != flow_file.resolve().parent:
        raise Refused(f"{path} is no test file of {flow_file}: name one beside it that ends in {ENDING}.yaml")
    made = _masked(recording(run), settings)
    before = path.read_text(encoding="utf-8") if path.exists() else None
    try:
        result = await _tried(settings, project, path, before, flow_file.stem, made)
    except OrchestratorError:
        _restore(path, before)
        raise
    return Filed(path, result.name, result, tuple(made.remarks), flow.definition.hash != run.envelope.definition.hash)


async def _tried(
    settings: Settings, project: Project, path: Path, before: str | None, flow: str, made: Recording
) -> CaseResult:
    async with Lane(settings) as lane:
        while True:
            _write(path, before, flow, made)
            tests = load_test_file(path, project)
            result = await lane.run(tests.cases[-1], tests.flow)
            differs = [problem for problem in result.problems if problem.compared]
            if not differs or "output" not in made.case["expect"]:
                return result
            without_what_differs(made, result.output)


def _write(path: Path, before: str | None, flow: str, made: Recording) -> None:
    if before is None:
        text = new_file(flow, made.case, made.remarks)
    else:
        text = with_case(before, str(path), made.case, made.remarks)
    path.write_text(text, encoding="utf-8")


def _flow_of(run: RecordedRun, settings: Settings, project: Project) -> tuple[Path, LoadedFlow]:
    """The file of the run's flow. Raises Refused."""
    folder = settings.project_dir / "workflows"
    name = run.envelope.definition.flow
    for path in admission.flow_files(folder):
        try:
            loaded = load_flow_file(path, project)
        except FlowInvalid:
            continue
        if loaded.definition.flow == name:
            return path, loaded
    raise Refused(f"no file in {folder} holds the flow '{name}', beside which its tests would stand")


def _masked(made: Recording, settings: Settings) -> Recording:
    """Without the value of any secret that is set here."""
    secrets = Secrets(settings.secrets)
    for value in settings.secrets.values():
        secrets.remember(value)
    made.case = secrets.mask(made.case)
    return made


def _restore(path: Path, before: str | None) -> None:
    if before is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(before, encoding="utf-8")
