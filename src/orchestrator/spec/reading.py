"""Raw JSON to steps: every step, wherever it stands, checked by the models and put in its place in the tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orchestrator.spec.acts as _registered  # noqa: F401 - importing it registers the act types
from orchestrator.spec.base import ACTS, ActConfig
from orchestrator.spec.control import CONTROLS, ControlConfig
from orchestrator.spec.findings import Findings, check_model, is_template, kind_of, suggestion
from orchestrator.spec.source import Path
from orchestrator.spec.step import Step

Json = Any

ConfigModel = type[ActConfig] | type[ControlConfig]

WAITING = "human-task"
"""An act by its config model, a wait by its behaviour: no attempts, no default time limit."""

_STEP_KEYS = tuple(field.alias or name for name, field in Step.model_fields.items())
_SHORT = ("parallel", "steps")
_ACT_KEYS = ("cache", "output_schema", "task_queue", "priority", "at_most_once")
_FLOW_KEYS = ("output_schema", "priority")
"""Those of them that a ``flow`` step takes too."""


@dataclass(slots=True, eq=False)
class Placed:
    """One step of the file and where it stands."""

    step: Step
    type: str
    path: Path
    """Of the step itself."""
    config: dict[str, Json]
    """As written, lists of steps taken out."""
    config_paths: dict[str, Path]
    """Where each top-level key of ``config`` stands."""
    model: ConfigModel
    lists: dict[str, list[Placed]] = field(default_factory=dict)
    parent: Placed | None = None
    list_name: str = "steps"
    """Which list of the parent (or of the flow) holds this step."""
    id: str = ""
    """The author's, or made up."""
    number: int = 0
    """Position in the file, counted from 1."""

    @property
    def named(self) -> bool:
        """Whether the author gave an id."""
        return self.step.id is not None

    @property
    def is_act(self) -> bool:
        """Whether the step is carried out by one activity."""
        return self.type in ACTS and self.type != WAITING

    @property
    def is_loop(self) -> bool:
        """Whether the steps inside may run several times."""
        return issubclass(self.model, ControlConfig) and self.model.loop

    def walk(self) -> Iterator[Placed]:
        """This step and all inside it."""
        yield self
        for children in self.lists.values():
            for child in children:
                yield from child.walk()

    def ancestors(self) -> Iterator[Placed]:
        """The steps around this one, nearest first."""
        around = self.parent
        while around is not None:
            yield around
            around = around.parent


def step_types() -> list[str]:
    """Every type an author may write."""
    return sorted({*ACTS, *CONTROLS})


def read_steps(
    raw: Json, path: Path, findings: Findings, *, parent: Placed | None, list_name: str, inline: bool = False
) -> list[Placed]:
    """The steps of one list. ``inline``: config keys may stand in the step itself (``fallback``)."""
    if raw is None:
        return []
    if not isinstance(raw, list):
        findings.error(
            path,
            f"`{_last_key(path)}` must be a list of steps, got {kind_of(raw)}",
            "start each step with `- `",
        )
        return []
    placed = [
        read_step(item, (*path, index), findings, parent=parent, list_name=list_name, inline=inline)
        for index, item in enumerate(raw)
    ]
    return [step for step in placed if step is not None]


def read_step(
    raw: Json, path: Path, findings: Findings, *, parent: Placed | None, list_name: str, inline: bool = False
) -> Placed | None:
    """One step with everything inside it, or None where it is no step at all; problems go to ``findings``."""
    if not isinstance(raw, dict):
        findings.error(path, f"a step must be a mapping with `type` and `config`, got {kind_of(raw)}")
        return None
    shape = _shape(raw, path, findings, inline)
    if shape is None:
        # Its id stays known, so that one mistake is not reported again by everything that names the step.
        unknown = Step.model_construct(id=_usable_id(raw), type="unknown")
        return Placed(unknown, "unknown", path, {}, {}, ControlConfig, parent=parent, list_name=list_name)
    type_, shell, config, paths = shape
    model = ACTS.get(type_) or CONTROLS[type_]
    step = check_model(
        Step, {**shell, "type": type_, "config": {}}, findings, path, " in a step", moved=_moved(raw, path)
    )
    if step is None:
        step = Step.model_construct(id=_usable_id(shell), type=type_)
    placed = Placed(step, type_, path, config, paths, model, parent=parent, list_name=list_name)
    if raw.get("config") is None or isinstance(raw["config"], dict):
        _check_config(placed, findings)
    _check_keys(placed, shell, findings)
    _read_lists(placed, findings)
    if isinstance(shell.get("on_error"), list):
        at = (*path, "on_error")
        placed.lists["on_error"] = read_steps(shell["on_error"], at, findings, parent=placed, list_name="on_error")
    if shell.get("compensate") is not None:
        placed.lists["compensate"] = _compensation(placed, shell["compensate"], findings)
    return placed


_Shape = tuple[str, dict[str, Json], dict[str, Json], dict[str, Path]]


def _shape(raw: dict[str, Json], path: Path, findings: Findings, inline: bool) -> _Shape | None:
    """Type, the keys around the config, the config, and where the config's keys stand; short forms written out."""
    if "type" not in raw:
        short = [key for key in _SHORT if key in raw]
        if len(short) == 1:
            return _short_form(raw, path, short[0], findings)
        hint = suggestion("type", raw) if any(key not in _STEP_KEYS for key in raw) else None
        findings.error(
            path,
            "`type` is missing in a step",
            hint if hint and "mean" in hint else "for example `type: http`",
        )
        return None
    type_ = raw["type"]
    if not isinstance(type_, str):
        findings.error((*path, "type"), f"`type` must be text, got {kind_of(type_)}")
        return None
    if type_ not in ACTS and type_ not in CONTROLS:
        findings.error((*path, "type"), f"unknown step type `{type_}`", suggestion(type_, step_types()))
        return None
    shell = {key: value for key, value in raw.items() if key != "config"}
    config = raw.get("config")
    base: Path = (*path, "config")
    if inline and "config" not in raw:
        config = {key: value for key, value in raw.items() if key not in _STEP_KEYS}
        shell = {key: value for key, value in shell.items() if key in _STEP_KEYS}
        base = path
    if config is None:
        config = {}
    if not isinstance(config, dict):
        findings.error(base, f"`config` must be a mapping, got {kind_of(config)}")
        config = {}
    return type_, shell, config, {key: (*base, key) for key in config}


def _short_form(raw: dict[str, Json], path: Path, key: str, findings: Findings) -> _Shape | None:
    shell = {name: value for name, value in raw.items() if name != key}
    value = raw[key]
    at: Path = (*path, key)
    if "config" in shell:
        findings.error(
            (*path, "config"),
            f"`config` does not go with the short form `{key}: …`",
            "write `type` and `config`",
            key=True,
        )
        shell.pop("config")
    if key == "steps":
        return "block", shell, {"steps": value}, {"steps": at}
    if isinstance(value, dict):
        return "parallel", shell, value, {name: (*at, name) for name in value}
    return "parallel", shell, {"branches": value}, {"branches": at}


def _moved(raw: dict[str, Json], path: Path) -> dict[str, Path] | None:
    return None if "type" in raw else {"type": path}


def _usable_id(shell: dict[str, Json]) -> str | None:
    given = shell.get("id")
    return given if isinstance(given, str) else None


def _check_config(placed: Placed, findings: Findings) -> None:
    base: Path = (*placed.path, "config")
    where = f" in the config of `{placed.type}`"
    missing = base if base[-1] in _mapping_at(findings, placed.path) else placed.path
    check_model(
        placed.model,
        placed.config,
        findings,
        missing,
        where,
        templates=True,
        template_free=placed.model.template_free | _list_keys(placed.model),
        moved=placed.config_paths,
    )
    for key in sorted(placed.model.template_free & placed.config.keys()):
        refuse_templates(placed.config[key], placed.config_paths[key], findings)


def refuse_templates(raw: Json, path: Path, findings: Findings) -> None:
    """Report every template in a value that is fixed when the flow is published."""
    if is_template(raw):
        name = f"`{_last_key(path)}`"
        findings.error(path, f"{name} takes no templates: it is fixed when the flow is published")
    elif isinstance(raw, dict):
        for key, value in raw.items():
            refuse_templates(value, (*path, key), findings)
    elif isinstance(raw, list):
        for index, value in enumerate(raw):
            refuse_templates(value, (*path, index), findings)


def _mapping_at(findings: Findings, path: Path) -> dict[str, Json]:
    here = findings.source.data
    for part in path:
        here = here[part]
    return here if isinstance(here, dict) else {}


def _list_keys(model: ConfigModel) -> frozenset[str]:
    return frozenset(pattern[0] for pattern in _patterns(model))


def _patterns(model: ConfigModel) -> tuple[tuple[str, ...], ...]:
    return model.lists if issubclass(model, ControlConfig) else ()


def _read_lists(placed: Placed, findings: Findings) -> None:
    """Take the lists of steps out of the config and read them."""
    config = dict(placed.config)
    for pattern in _patterns(placed.model):
        key = pattern[0]
        if key not in config:
            continue
        at = placed.config_paths[key]
        if len(pattern) == 1:
            raw = config.pop(key)
            if isinstance(raw, list):
                placed.lists[key] = read_steps(raw, at, findings, parent=placed, list_name=key)
        elif isinstance(config[key], list):
            config[key] = [
                _read_member(placed, key, index, item, (*at, index), pattern[2], findings)
                for index, item in enumerate(config[key])
            ]
    placed.config = config


def _read_member(
    placed: Placed, key: str, index: int, item: Json, at: Path, steps_key: str, findings: Findings
) -> Json:
    if not isinstance(item, dict):
        return item
    # The plural of the key is the author's word; the list's name in the definition is `case[0]`, `catch[0]`.
    name = f"{'case' if key == 'cases' else key}[{index}]"
    raw = item.get(steps_key)
    if isinstance(raw, list):
        placed.lists[name] = read_steps(raw, (*at, steps_key), findings, parent=placed, list_name=name)
    else:
        placed.lists[name] = []
    return {member: value for member, value in item.items() if member != steps_key}


def _compensation(placed: Placed, raw: Json, findings: Findings) -> list[Placed]:
    at: Path = (*placed.path, "compensate")
    if isinstance(raw, list):
        return read_steps(raw, at, findings, parent=placed, list_name="compensate")
    step = read_step(raw, at, findings, parent=placed, list_name="compensate")
    return [step] if step else []


def _check_keys(placed: Placed, shell: dict[str, Json], findings: Findings) -> None:
    """Keys that would do nothing on this type are refused."""
    acts = placed.is_act or placed.type == "flow"
    for key in _ACT_KEYS:
        if key in shell and not placed.is_act and not (placed.type == "flow" and key in _FLOW_KEYS):
            also = ", and on `flow` steps" if key in _FLOW_KEYS else ""
            _refuse_key(placed, key, f"it belongs on steps that act{also}", findings)
    if "retry" in shell and not acts:
        hint = (
            "put `retry` into its config" if placed.type == "try" else "put it on the steps inside, or into `defaults`"
        )
        if placed.type == WAITING:
            hint = "a person is asked once; use `deadline` and `remind`"
        _refuse_key(placed, "retry", hint, findings)
    if "defaults" in shell and not _patterns(placed.model):
        _refuse_key(placed, "defaults", "it belongs on steps that hold other steps", findings)
    if "timeout" in shell and isinstance(shell["timeout"], dict) and "attempt" in shell["timeout"] and not acts:
        findings.error(
            (*placed.path, "timeout", "attempt"),
            f"a `{placed.type}` step has no attempts",
            "`timeout: 10m` bounds the whole step",
            key=True,
        )
    in_parallel = placed.parent is not None and placed.list_name == "branches"
    if "counts" in shell and not in_parallel:
        _refuse_key(placed, "counts", "it belongs on the branches of a `parallel`", findings)
    if in_parallel and "id" not in shell:
        findings.error(placed.path, "a branch of a `parallel` needs an `id`", "its output is kept under that name")


def _refuse_key(placed: Placed, key: str, hint: str, findings: Findings) -> None:
    findings.error((*placed.path, key), f"`{key}` does nothing on a `{placed.type}` step", hint, key=True)


def _last_key(path: Path) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "steps")
