"""A test file's text to cases that can run, or to every problem it has, each with its place."""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Any

from orchestrator.errors import FlowInvalid
from orchestrator.spec.findings import Findings, check_model, kind_of
from orchestrator.spec.flowtests.cases import CaseFile, FlowCase, ready
from orchestrator.spec.flowtests.checks import check_case
from orchestrator.spec.flowtests.model import Defaults, Start, Suite
from orchestrator.spec.loading import LoadedFlow, load_flow
from orchestrator.spec.project import Project, read_text
from orchestrator.spec.source import read_source

Json = Any

ENDING = ".test"
SUFFIXES = (".yaml", ".yml")


def is_test_file(path: FilePath) -> bool:
    """Whether a file is one of tests: ``<flow>.test.yaml``."""
    return path.suffix in SUFFIXES and path.stem.endswith(ENDING)


def load_test_file(path: FilePath, project: Project) -> CaseFile:
    """Read and check a test file and the flow beside it. Raises FlowInvalid with every problem of the one or the
    other, each with its place."""
    file = _name(path, project)
    tests, findings = _tests(read_text(path), file)
    flow_file = _flow_file(path, tests, findings)
    flow = load_flow(read_text(flow_file), _name(flow_file, project), project)
    return CaseFile(file, flow, str(flow_file), _cases(tests, findings, flow, path.parent))


def load_cases(text: str, file: str, flow: LoadedFlow, folder: FilePath) -> tuple[FlowCase, ...]:
    """The cases of a test file's text for a flow that is there already; samples lie in ``folder``. Raises FlowInvalid
    as ``load_test_file`` does."""
    tests, findings = _tests(text, file)
    return _cases(tests, findings, flow, folder)


def _cases(tests: Suite, findings: Findings, flow: LoadedFlow, folder: FilePath) -> tuple[FlowCase, ...]:
    cases = [_case(tests, index, findings, folder) for index in range(len(tests.cases))]
    findings.raise_if_any()
    _check_names(cases, findings)
    _check_flow(tests, flow, findings)
    for case in cases:
        check_case(case, flow, findings)
    findings.raise_if_any()
    return tuple(cases)


def _name(path: FilePath, project: Project) -> str:
    try:
        return str(path.resolve().relative_to(project.root.resolve()))
    except ValueError:
        return str(path)


def _tests(text: str, file: str) -> tuple[Suite, Findings]:
    source = read_source(text, file)
    findings = Findings(source)
    if not isinstance(source.data, dict):
        findings.error((), f"a test file is a mapping with `cases`, got {kind_of(source.data)}")
        raise FlowInvalid(findings.problems)
    data = _without_triggers(source.data)
    tests: Suite | None = check_model(Suite, data, findings, (), " in a test file")
    findings.raise_if_any()
    assert tests is not None, "a file without a model has problems"
    return tests, findings


def _without_triggers(data: dict[str, Json]) -> dict[str, Json]:
    """The data without what a sample has to be filled into first; sections left empty are left out."""
    filled = {name: value for name, value in data.items() if value is not None}
    cases = filled.get("cases")
    if isinstance(cases, list):
        filled["cases"] = [
            {name: value for name, value in case.items() if name != "trigger" and value is not None}
            if isinstance(case, dict)
            else case
            for case in cases
        ]
    return filled


def _flow_file(path: FilePath, tests: Suite, findings: Findings) -> FilePath:
    name = tests.flow or path.stem.removesuffix(ENDING)
    for suffix in SUFFIXES:
        found = path.parent / f"{name}{suffix}"
        if found.is_file():
            return found
    findings.error(
        ("flow",) if tests.flow else (),
        f"there is no flow file `{name}.yaml` beside this one",
        "a test file stands beside its flow and is called <flow>.test.yaml, or names it: `flow: <file without .yaml>`",
    )
    raise FlowInvalid(findings.problems)


def _case(tests: Suite, index: int, findings: Findings, folder: FilePath) -> FlowCase:
    case = tests.cases[index]
    written = findings.source.data["cases"][index].get("trigger")
    given = {} if written is None else _given(written, index, findings, folder)
    return ready(case, index, tests.defaults or Defaults(), findings.source, given)


def _given(written: Json, index: int, findings: Findings, folder: FilePath) -> dict[str, Json]:
    """The trigger with its sample filled in, checked; empty where it has problems."""
    path = ("cases", index, "trigger")
    if not isinstance(written, dict):
        findings.error(path, f"`trigger` must be a mapping with `type`, got {kind_of(written)}")
        return {}
    own = {name: value for name, value in written.items() if name != "sample"}
    if "sample" in written:
        own = _sample(written["sample"], (*path, "sample"), findings, folder) | own
        if findings.problems:
            return {}
    checked = check_model(Start, own, findings, path, " in a `trigger`")
    return {} if checked is None else own


def _sample(name: Json, path: tuple[str | int, ...], findings: Findings, folder: FilePath) -> dict[str, Json]:
    """What a JSON file beside the test says: a trigger, or a sample as ``orchestrator samples --json`` shows it."""
    try:
        if not isinstance(name, str):
            raise ValueError("it is named by text")
        data = json.loads((folder / name).read_text(encoding="utf-8"))
        data = data.get("delivery", data) if isinstance(data, dict) else data
        if not isinstance(data, dict):
            raise ValueError("it must hold an object")
    except (OSError, ValueError) as error:
        findings.error(path, f"the sample cannot be read: {error}", "a JSON file, named from this file's folder")
        return {}
    return {key: value for key, value in data.items() if key in Start.model_fields}


def _check_names(cases: list[FlowCase], findings: Findings) -> None:
    seen: dict[str, int] = {}
    for case in cases:
        if case.name in seen:
            path = ("cases", case.index, "name")
            findings.error(path, f"two cases are called `{case.name}`", f"first at line {seen[case.name]}")
        seen.setdefault(case.name, case.line)


def _check_flow(tests: Suite, flow: LoadedFlow, findings: Findings) -> None:
    """Defaults are checked with the cases that take them; the flow itself must be one that can run."""
    if flow.unsupported:
        raise FlowInvalid(flow.unsupported)
