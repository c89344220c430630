"""Queues as flows and projects name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import FlowInvalid, SettingsInvalid
from orchestrator.spec.project import load_project
from orchestrator.spec.queues import QueueEntry, queue_entry

STEPS = "steps: [{type: wait, config: {duration: 1}}]"


def secret(name: str) -> str:
    return f"<{name}>"


def test_an_entry_is_optional_and_has_defaults(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yaml").write_text(
        "queues:\n  jobs:\n  mails: {url: 'redis://:{{ secrets.R }}@h:1/0', concurrency: 3, lease: 2m, max_refusals: 1}\n"
    )
    queues = load_project(tmp_path).queues
    assert queue_entry(queues, "jobs", secret) == queue_entry(queues, "unknown", secret) == QueueEntry()
    mails = queue_entry(queues, "mails", secret)
    assert (mails.url, mails.concurrency, mails.lease, mails.max_refusals) == ("redis://:<R>@h:1/0", 3, 120.0, 1)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("jobs: {url: 'http://x'}", "redis://host:port/0"),
        ("jobs: {lease: 0}", "longer than 0s"),
        ("jobs: {concurrency: 0}", "`concurrency`: must be at least 1"),
        ("jobs: {retries: 3}", "unknown key `retries` in the queue `jobs`"),
        ("jobs: redis", "must be a mapping"),
        ("'': {}", "printable text"),
    ],
)
def test_what_could_never_work_is_refused_with_its_place(tmp_path: Path, entry: str, said: str) -> None:
    (tmp_path / "orchestrator.yaml").write_text(f"queues:\n  {entry}\n")
    with pytest.raises(FlowInvalid) as caught:
        load_project(tmp_path)
    assert said in str(caught.value)
    assert str(caught.value).startswith("orchestrator.yaml:2:")


@pytest.mark.parametrize(
    "entry", [{"concurrency": "{{ secrets.N }}"}, {"url": "{{ secrets.U }}"}, {"url": "{{ secrets.U | upper }}"}]
)
def test_a_secret_that_does_not_fit_is_told_where_it_stands(entry: dict[str, Any]) -> None:
    with pytest.raises(SettingsInvalid, match=r"^queues\.jobs"):
        queue_entry({"jobs": entry}, "jobs", secret)


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("triggers: [{type: queue, queue: jbos}]\n" + STEPS, "no queue `jbos` is declared"),
        ("steps: [{type: queue, config: {queue: jbos}}]", "no queue `jbos` is declared"),
    ],
)
def test_a_queue_nobody_declared_is_a_warning_that_names_the_nearest(load: Any, part: str, line: str) -> None:
    loaded = load(f"id: f\n{part}\n", queues={"jobs": {}})
    [warning] = loaded.warnings
    assert warning.message == line
    assert "did you mean `jobs`?" in (warning.hint or "")
    assert loaded.unsupported == ()


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ("{type: queue}", "queue"),
        ("{type: queue, queue: '{{ trigger.body }}'}", "takes no templates"),
        ("{type: queue, queue: ' '}", "printable text"),
        ("{type: queue, queue: jobs, if: event.data}", "event"),
    ],
)
def test_a_trigger_that_names_no_queue_is_refused(problems: Any, trigger: str, said: str) -> None:
    found = problems(f"id: f\ntriggers: [{trigger}]\n{STEPS}\n", queues={"jobs": {}})
    assert said in " ".join(found)
