"""Schedule and file triggers: what is refused at load, in words."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import FlowInvalid


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ("{type: schedule, cron: '0 0 30 2 *'}", "never comes: none of these months has such a day"),
        ("{type: schedule, every: 500ms}", "`every` is a whole number of seconds, 1s or more"),
        ("{type: schedule, every: 1.5}", "`every` is a whole number of seconds"),
        ("{type: schedule, every: 1h, catch_up: 5s}", "`catch_up` is 10s or more"),
        ("{type: schedule, cron: '@reboot'}", "'@reboot' is not known"),
        ("{type: file, path: ''}", "is no folder"),
        ("{type: file, path: '{{ env.X }}'}", "takes no templates"),
        ("{type: file, path: in, pattern: '../*.csv'}", "is no pattern"),
        ("{type: file, path: in, pattern: /etc/*}", "is no pattern"),
        ("{type: file, path: in, pattern: '**.csv'}", "** stands alone between slashes"),
        ("{type: file, path: in, after: {move: '{{ env.X }}'}}", "takes no templates"),
    ],
)
def test_a_trigger_that_could_never_do_its_work_is_refused(load: Any, trigger: str, said: str) -> None:
    with pytest.raises(FlowInvalid) as refused:
        load(f"id: f\ntriggers: [{trigger}]\nsteps: [{{type: wait, config: {{duration: 1}}}}]\n")
    assert said in str(refused.value)
    assert ":2:" in str(refused.value)


def test_an_input_that_a_file_trigger_cannot_supply_is_a_warning(load: Any) -> None:
    [warning] = load(
        "id: f\ntriggers: [{type: file, path: in}]\ninputs: {file: object, who: string}\n"
        "steps: [{type: transform, config: {value: '{{ inputs.who }} {{ inputs.file.name }}'}}]\n"
    ).warnings
    assert "this file trigger never supplies the required input `who`" in warning.message
