"""Flow files: what loads, and what is refused where and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import FlowInvalid
from orchestrator.spec.loading import load_flow, load_flow_file
from orchestrator.spec.project import Project

HEAD = "id: f\nsteps:\n"


def step(text: str) -> str:
    """A flow of one step, given as lines below ``- id: a`` (line 3)."""
    return HEAD + "  - id: a\n" + "".join(f"    {line}\n" for line in text.splitlines())


TOP = [
    ("[]", "1:1: a flow must be a mapping with `id` and `steps`, got a list"),
    ("id: f\n", "1:1: `steps` is missing in a flow"),
    ("steps: [{type: fail, config: {message: x}}]\n", "1:1: `id` is missing in a flow"),
    ("id: f\nsteps: []\n", "2:8: `steps`: needs at least 1 item(s)"),
    ("id: f\nsteps: x\n", "2:8: `steps` must be a list of steps, got text (start each step with `- `)"),
    (HEAD + "  - x\n", "3:5: a step must be a mapping with `type` and `config`, got text"),
    (HEAD + "  - {id: a}\n", "3:5: `type` is missing in a step (for example `type: http`)"),
    (HEAD + "  - {id: a, tpye: http}\n", "3:5: `type` is missing in a step (did you mean `tpye`?)"),
    (HEAD + "  - {id: a, type: htpp}\n", "3:19: unknown step type `htpp` (did you mean `http`?)"),
    (HEAD + "  - {id: a, type: 3}\n", "3:19: `type` must be text, got a number"),
    ("id: Bad\n", "1:5: `id`: 'Bad' is not a flow id; use a-z, 0-9, `.`, `_` and `-`, starting with a letter or digit, at most 100 characters"),
    ("id: '{{ x }}'\n", "1:5: `id` takes no templates: it is fixed when the flow is published"),
    ("id: f\nverison: 1\n", "2:1: unknown key `verison` in a flow (did you mean `version`?)"),
    ("id: f\nversion: [1]\n", "2:10: `version` must be text, got a list"),
    ("id: f\nversion: 'a b'\n", "2:10: `version`: 'a b' is not a version; use letters, digits, `.`, `_`, `-` and `+`, such as 2.0.0"),
    ("id: f\nenabled: 'yes'\n", '2:10: `enabled` must be true or false, got the text "yes"'),
    ("id: f\ntimeout: soon\n", "2:10: `timeout`: 'soon' is not a duration; write for example 500ms, 30s, 5m, 24h, 7d, 1h30m, PT24H or seconds"),
    ("id: f\ntimeout: 0\n", "2:10: `timeout`: a timeout is longer than 0s"),
    ("id: f\ntimeout: '{{ env.T }}'\n", "2:10: `timeout` takes no templates: it is fixed when the flow is published"),
    ("id: f\nlabels: {a: 1}\n", "2:13: `a` must be text, got 1"),
    ("id: f\nenv: {A: [1]}\n", "2:10: `A` must be text or a whole number or a number or true or false, got a list"),
    ("id: f\nvars: {a b: 1}\n", "'a b' is not a name"),
    ("id: f\ninputs: {a: strng}\n", "2:13: `strng` is no type of an input (did you mean `string`?)"),
    ("id: f\ninputs: {a: 1}\n", "2:13: an input must be a type or a JSON Schema, got a number (for example `name: string`)"),
    ("id: f\ninputs: {a: {type: strng}}\n", "2:20: `strng` is no JSON Schema type (did you mean `string`?)"),
    ("id: f\ninputs: {a: {type: string, required: 1}}\n", "2:38: `required` must be true, false or a list of members, got a number"),
    ("id: f\ninputs: {a: {type: integer, default: x}}\n", "2:38: the default must be a whole number, got text"),
    ("id: f\ninputs: {a: {default: 1, required: true}}\n", "2:36: an input with a `default` is never missing (remove `required` or `default`)"),
    ("id: f\ninputs: {a: {$ref: 'http://x/y'}}\n", "2:20: `$ref` refers to 'http://x/y'; only references inside the schema (`#/…`) are followed"),
    ("id: f\ninputs: {a: {pattern: '{{ x }}'}}\n", "2:23: `pattern` takes no templates: it is fixed when the flow is published"),
    ("id: f\ndefaults: {retry: none}\nerror_handling: {retry: none}\n", "3:18: the flow's retry is given twice: here and in `defaults.retry` (they mean the same; keep one)"),
    ("id: f\ndefaults: {durability: fast}\n", '2:24: `durability` must be `step` or `express`, got the text "fast"'),
    ("id: f\nconcurrency: {limit: 0}\n", "2:22: `limit`: must be at least 1"),
    ("id: f\nmonitoring: {alerts: [{condition: 'too slow', channel: x}]}\n", "2:35: `condition`: 'too slow' is not `metric op literal`, such as execution_time > 300s or success_rate < 95%"),
    ("id: f\nerror_handling: {fallbak: []}\n", "2:18: unknown key `fallbak` in a flow (did you mean `fallback`?)"),
    ("id: f\nexpose: {mpc: true}\n", "2:10: unknown key `mpc` in a flow (did you mean `mcp`?)"),
    ("id: f\ntriggers: {type: webhook}\n", "2:11: `triggers` must be a list, got a mapping"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), TOP, ids=[said[:50] for _, said in TOP])
def test_problems_at_the_top_name_place_and_cure(problems: Any, text: str, said: str) -> None:
    found = problems(text)
    assert any(said in problem for problem in found), found


TRIGGERS = [
    ("webhook", "2:13: a trigger must be a mapping with `type`, got text"),
    ("{path: /x}", "`type` is missing in a trigger (there is `api`, `event`, `file`, `queue`, `schedule`, `webhook`)"),
    ("{type: webhok, path: /x}", "2:20: unknown trigger type `webhok` (did you mean `webhook`?)"),
    ("{type: webhook}", "2:13: a webhook needs its `path` (or `endpoint`, the same thing), once"),
    ("{type: webhook, path: /x, endpoint: /x}", "a webhook needs its `path`"),
    ("{type: webhook, path: x}", "2:35: `path`: 'x' must start with /"),
    ("{type: webhook, path: /a/../b}", "'/a/../b' is no path that a request has"),
    ("{type: webhook, path: /caf%C3%A9}", "decoded"),
    ("{type: webhook, path: /v1/runs}", "'/v1/runs' is a path of the gateway itself"),
    ("{type: webhook, path: /runs/new}", "'/runs/new' is a path of the gateway itself"),
    ("{type: webhook, path: '/a/{b}/{b}'}", "each {name} is a word used once"),
    ("{type: webhook, path: /x, method: GTE}", '`method` must be `GET`, `POST`, `PUT`, `PATCH` or `DELETE`, got the text "GTE"'),
    ("{type: webhook, path: /x, respnd: result}", "unknown key `respnd` in a `webhook` trigger (did you mean `respond`?)"),
    ("{type: webhook, path: /x, max_body: big}", "'big' is not a size"),
    ("{type: webhook, path: /x, inputs: {a: 1}}", "the flow has no input `a`"),
    ("{type: webhook, path: /x, inputs: {b: '{{ steps.a }}'}}", "`steps` cannot be used in a trigger (known here: `trigger`)"),
    ("{type: webhook, path: /x, idempotency_key: '{{ secrets.K }}'}", "`secrets.K` cannot be used in a trigger"),
    ("{type: webhook, path: '/x/{a}'}, {type: webhook, path: '/x/{b}'}", "`POST /x/{b}` is taken (by the trigger at line 2)"),
    ("{type: api, id: a}, {type: api, id: a}", "the trigger id `a` is used twice (first at line 2)"),
    ("{type: schedule}", "a schedule needs exactly one of `cron` and `every`"),
    ("{type: schedule, cron: '0 9 * *'}", "has 4 field(s); cron has five: minute hour day month weekday"),
    ("{type: schedule, cron: '0 25 * * MON'}", "'25' is no hour; it goes from 0 to 23"),
    ("{type: schedule, cron: '0 9 * * FOO'}", "'FOO' is no day of week; it goes from 0 to 7"),
    ("{type: schedule, cron: '*/0 9 * * *'}", "a step is at least 1"),
    ("{type: schedule, cron: '0 9 * * 5-1'}", "the range runs backwards"),
    ("{type: schedule, cron: '{{ env.C }}'}", "`cron` takes no templates: it is fixed when the flow is published"),
    ("{type: schedule, every: 1h, timezone: Mars/Base}", "'Mars/Base' is no time zone"),
    ("{type: schedule, every: 0}", "a timeout is longer than 0s"),
    ("{type: event}", "an event trigger needs `event` (a type pattern)"),
    ("{type: queue}", "2:13: `queue` is missing in a `queue` trigger"),
]  # fmt: skip


@pytest.mark.parametrize(("trigger", "said"), TRIGGERS, ids=[said[:50] for _, said in TRIGGERS])
def test_problems_of_triggers_name_place_and_cure(problems: Any, trigger: str, said: str) -> None:
    found = problems(
        f"id: f\ntriggers: [ {trigger} ]\ninputs: {{b: {{default: 1}}}}\nsteps: [{{type: wait, config: {{duration: 1}}}}]\n"
    )
    assert len(found) == 1, found
    assert said in found[0]


STEPS = [
    ("type: http\nconfig: [1]", "5:13: `config` must be a mapping, got a list"),
    ("type: http", "3:5: `url` is missing in the config of `http`"),
    ("type: http\nconfig: {}", "5:13: `url` is missing in the config of `http`"),
    ("type: http\nconfig: {url: http://x, methd: GET}", "5:29: unknown key `methd` in the config of `http` (did you mean `method`?)"),
    ("type: http\nconfig: {url: 3}", "5:19: `url` must be text, got 3"),
    ("type: http\nconfig: {url: http://x, headers: [1]}", "5:38: `headers` must be a mapping, got a list"),
    ("type: function\nconfig: {handler: x}\nretry: {max_attempts: 0}", "6:27: `max_attempts`: must be at least 1"),
    ("type: function\nconfig: {handler: x}\nretry: {max_attempts: '{{ inputs.n }}'}", "6:27: `max_attempts` takes no templates: it is fixed when the flow is published"),
    ("type: function\nconfig: {handler: x}\nretry: {backoff: expo}", '6:22: `backoff` must be `fixed`, `linear` or `exponential`, got the text "expo"'),
    ("type: function\nconfig: {handler: x}\nretry: {jitter: 2}", "6:21: `jitter`"),
    ("type: function\nconfig: {handler: x}\nretry: never", "6:12: `retry` must be"),
    ("type: function\nconfig: {handler: x}\nretry: {on: network_error}", '6:17: `on` must be a list, got the text "network_error"'),
    ("type: function\nconfig: {handler: x}\ntimeout: 1 month", "6:14: `timeout`: '1 month' is not a duration"),
    ("type: function\nconfig: {handler: x}\ntimeout: {attempt: 1m, total: 30s}", "`attempt` is longer than `total`"),
    ("type: function\nconfig: {handler: x}\ntimeout: '{{ inputs.t }}'", "6:14: `timeout` takes no templates"),
    ("type: function\nconfig: {handler: x}\nneeds: b", '6:12: `needs` must be a list, got the text "b"'),
    ("type: function\nconfig: {handler: x}\nneeds: ['{{ x }}']", "6:13: `needs` takes no templates"),
    ("type: function\nconfig: {handler: x}\non_error: ignore", "6:15: `on_error` must be"),
    ("type: function\nconfig: {handler: x}\noutput_schema: {type: objct}", "6:27: `objct` is no JSON Schema type (did you mean `object`?)"),
    ("type: function\nconfig: {handler: x}\noutput_schema: {description: '{{ x }}'}", "`description` takes no templates"),
    ("type: function\nconfig: {handler: x}\ncounts: false", "6:5: `counts` does nothing on a `function` step (it belongs on the branches of a `parallel`)"),
    ("type: function\nconfig: {handler: x}\ndefaults: {retry: none}", "6:5: `defaults` does nothing on a `function` step (it belongs on steps that hold other steps)"),
    ("type: function\nconfig: {handler: x}\nmax_attempts: 3", "6:5: unknown key `max_attempts` in a step"),
    ("type: wait\nconfig: {duration: 1s}\nretry: none", "6:5: `retry` does nothing on a `wait` step (put it on the steps inside, or into `defaults`)"),
    ("type: wait\nconfig: {duration: 1s}\ncache: {key: x}", "6:5: `cache` does nothing on a `wait` step"),
    ("type: wait\nconfig: {duration: 1s}\ntimeout: {attempt: 3s}", "6:15: a `wait` step has no attempts (`timeout: 10m` bounds the whole step)"),
    ("type: wait\nconfig: {}", "5:13: give exactly one of `duration`, `until`; found none"),
    ("type: wait\nconfig: {duration: 1s, until: x}", "5:13: give exactly one of `duration`, `until`; found `duration` and `until`"),
    ("type: wait\nconfig: {duration: 3 days}", "5:24: `duration`: '3 days' is not a duration"),
    ("type: condition\nconfig: {then: []}", "5:13: `if` is missing in the config of `condition`"),
    ("type: condition\nconfig: {if: 'true', els: []}", "5:26: unknown key `els` in the config of `condition` (did you mean `else`?)"),
    ("type: condition\nconfig: {if: 'true', then: {type: wait}}", "5:32: `then` must be a list, got a mapping"),
    ("type: condition\nconfig: {if: 'true', then: '{{ x }}'}", "5:32: `then` takes no templates"),
    ("type: switch\nconfig: {cases: []}", "5:21: `cases`: needs at least 1 item(s)"),
    ("type: switch\nconfig: {cases: [{equals: 1, steps: []}]}", "5:13: a case with `equals` needs the switch's `value`"),
    ("type: switch\nconfig: {value: '1', cases: [{if: 'true', equals: 1, steps: []}]}", "item 1 of `cases`: give exactly one of `equals`, `if`; found `equals` and `if`"),
    ("type: switch\nconfig: {cases: [{if: 'true'}]}", "5:22: `steps` is missing in the config of `switch`"),
    ("type: switch\nconfig: {cases: [{if: 'true', steps: [], stps: []}]}", "unknown key `stps` in the config of `switch` (did you mean `steps`?)"),
    ("type: parallel\nconfig: {branches: []}", "5:24: `branches`: needs at least 1 item(s)"),
    ("type: parallel\nconfig: {branches: [{type: wait, config: {duration: 1}}]}", "5:25: a branch of a `parallel` needs an `id` (its output is kept under that name)"),
    ("parallel: {branches: [{id: x, type: wait, config: {duration: 1}}], wait: any}", "4:72: unknown key `wait` in the config of `parallel` (did you mean `wait_for`?)"),
    ("parallel: [3]", "4:16: a step must be a mapping"),
    ("parallel: x", '4:15: `branches` must be a list, got the text "x"'),
    ("steps: []", "4:12: `steps`: needs at least 1 item(s)"),
    ("steps: [{type: wait, config: {duration: 1}}]\nconfig: {}", "5:5: `config` does not go with the short form `steps: …` (write `type` and `config`)"),
    ("type: for-each\nconfig: {items: [1], steps: [{type: wait, config: {duration: 1}}], concurrency: 500}", "`concurrency`: must be at most 200"),
    ("type: for-each\nconfig: {items: [1], steps: [{type: wait, config: {duration: 1}}], tolerate: most}", "'most' is not a tolerance; write a number, a share such as 10%, or all"),
    ("type: for-each\nconfig: {items: [1], as: steps, steps: [{type: wait, config: {duration: 1}}]}", "`steps` is taken: expressions know it already"),
    ("type: while\nconfig: {while: 'true', steps: [{type: wait, config: {duration: 1}}]}", "a while needs a bound: give `max_iterations`, `timeout` or both"),
    ("type: while\nconfig: {max_iterations: 2, steps: [{type: wait, config: {duration: 1}}]}", "give exactly one of `while`, `until`; found none"),
    ("type: wait-for-event\nconfig: {event: x, signal: y}", "give exactly one of `event`, `signal`, `callback`"),
    ("type: set\nconfig: {n: 1}", "5:14: `n` is no var of this flow (declare it at the top: `vars: {n: null}`)"),
    ("type: try\nconfig: {steps: [{type: wait, config: {duration: 1}}], catch: [{onn: ['*'], steps: []}]}", "unknown key `onn` in the config of `try`"),
    ("type: try\nconfig: {steps: [{type: wait, config: {duration: 1}}], retry: {max_attempts: '{{ 1 }}'}}", "`max_attempts` takes no templates"),
    ("type: run-steps\nconfig: {steps: '{{ inputs.s }}', allow: []}", "`allow`: needs at least 1 item(s)"),
    ("type: state\nconfig: {get: a, put: b}", "give exactly one of `get`, `put`, `increment`, `delete`"),
    ("type: agent\nconfig: {goal: x, tools: [{mcp: a, flow: b}]}", "a tool is exactly one of `mcp`, `function`, `flow`, `agent`"),
    ("type: multi-channel\nconfig: {channels: [{email: {}, slack: {}}]}", "each channel is one key"),
    ("type: human-task\nconfig: {assignee: x}\nretry: {max_attempts: 2}", "6:5: `retry` does nothing on a `human-task` step (a person is asked once; use `deadline` and `remind`)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), STEPS, ids=[said[:50] for _, said in STEPS])
def test_problems_of_steps_name_place_and_cure(problems: Any, text: str, said: str) -> None:
    found = [problem for problem in problems(step(text)) if "`inputs." not in problem]
    assert len(found) == 1, found
    assert said in found[0]


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(problems: Any) -> None:
    found = problems(
        """\
        id: f
        verion: 2
        steps:
          - {id: a, type: htpp}
          - {id: b, type: http, config: {url: "{{ inputs.x }}", method: NO}}
          - {id: b, type: condition, config: {if: "1 &&", then: [{type: set, config: {v: 1}}]}}
        output: "{{ steps.c.output }}"
        """
    )
    starts = [problem.partition(": ")[0] for problem in found]
    assert starts == ["2:1", "4:19", "5:39", "5:65", "6:10", "6:43", "6:79", "7:9"]


def test_a_hundred_problems_are_told_and_how_many_there_are_more(problems: Any) -> None:
    found = problems(
        "id: f\nsteps: [{type: fail, config: {message: x}}]\n" + "".join(f"verion{n}: 1\n" for n in range(200))
    )
    assert len(found) == 101
    assert found[0].startswith("3:1: unknown key `verion0` in a flow (did you mean `version`?)")
    assert found[-1] == "102:1: and 100 more problems"


def test_one_unknown_type_is_not_reported_again_by_those_who_name_the_step(problems: Any) -> None:
    text = 'id: f\nsteps:\n  - {id: a, type: htpp}\n  - {id: b, type: transform, config: {value: "{{ steps.a.output }}"}}\n'
    assert len(problems(text)) == 1


@pytest.mark.parametrize(
    "config",
    [
        'url: "{{ inputs.u }}", follow_redirects: "{{ inputs.flag }}"',
        'url: http://x, expect: ["{{ inputs.status }}"]',
        'url: http://x, headers: "{{ inputs.headers }}"',
        'url: http://x, auth: {basic: "{{ inputs.login }}"}',
        'url: http://x, max_response: "{{ inputs.size }}"',
    ],
)
def test_a_template_stands_for_any_value_of_an_act(load: Any, config: str) -> None:
    inputs = "inputs: {u: string, flag: boolean, status: integer, headers: object, login: object, size: integer}\n"
    load(inputs + step(f"type: http\nconfig: {{{config}}}"))


def test_the_two_short_forms_and_the_long_ones_are_the_same_definition(load: Any) -> None:
    inner = "[{id: x, type: wait, config: {duration: 1}}]"
    forms = [f"parallel: {inner}", f"parallel: {{branches: {inner}}}", f"type: parallel\nconfig: {{branches: {inner}}}"]
    parallels = [load(step(form)).definition.steps[0] for form in forms]
    assert {node.type for node in parallels} == {"parallel"}
    assert len({str(node.config) for node in parallels}) == 1
    assert [[child.id for child in node.lists["branches"]] for node in parallels] == [["x"]] * 3
    block = load(step(f"steps: {inner}")).definition.steps[0]
    assert (block.type, block.lists["steps"][0].id) == ("block", "x")


def test_a_version_keeps_its_source_text(load: Any) -> None:
    body = "id: f\nversion: {}\nsteps: [{{type: wait, config: {{duration: 1}}}}]\n"
    versions = ["2.0", "1", "'2.0.0'", "1.10", "2e3"]
    assert [load(body.format(text)).definition.version for text in versions] == ["2.0", "1", "2.0.0", "1.10", "2e3"]
    assert load("id: f\nsteps: [{type: wait, config: {duration: 1}}]\n").definition.version == ""


def test_sections_left_empty_are_sections_left_out(load: Any) -> None:
    loaded = load("id: f\ninputs:\nenv:\nvars:\ntriggers:\nlabels:\nsteps: [{type: wait, config: {duration: 1}}]\n")
    assert loaded.triggers == []


def test_config_may_stand_in_the_step_itself_in_fallback_only(load: Any, problems: Any) -> None:
    body = "id: f\nsteps: [{type: wait, config: {duration: 1}}]\nerror_handling:\n"
    inline = "[{type: http, url: https://x.example, method: POST, retry: none}]"
    node = load(f"{body}  fallback: {inline}\n").definition.handlers["fallback"][0]
    assert (node.config, node.retry) == ({"url": "https://x.example", "method": "POST"}, None)
    assert any("unknown key `url` in a step" in problem for problem in problems(f"{body}  finally: {inline}\n"))
    [problem] = problems(f"{body}  fallback: [{{type: http, url: http://x, mthod: POST}}]\n")
    assert problem == "4:42: unknown key `mthod` in the config of `http` (did you mean `method`?)"


def test_a_name_nobody_declared_is_a_warning(load: Any) -> None:
    text = """\
    id: f
    services: {crm: {}}
    steps:
      - {type: api, config: {service: crm, method: m}}
      - {type: api, config: {service: crn, method: m}}
      - {type: sql, config: {database: content, query: SELECT 1}}
      - {type: sql, config: {database: ledger, query: SELECT 1}}
      - {type: human-task, config: {assignee: ops}}
    """
    assert [str(warning).removeprefix("flow.yaml:") for warning in load(text, databases={"content": {}}).warnings] == [
        "5:35: no service `crn` is declared (did you mean `crm`?)",
        "7:36: no database `ledger` is declared (declare it under `databases` in orchestrator.yaml)",
        "8:43: no contact `ops` is declared (declare it under `contacts` in orchestrator.yaml)",
    ]


def test_a_task_for_people_nobody_declared_or_too_few_of_them_is_said_at_publish(load: Any) -> None:
    text = """\
    id: f
    steps:
      - {type: human-task, config: {group: bord, quorum: 2}}
      - {type: human-task, config: {group: board, quorum: 2}}
      - {type: human-task, config: {group: board, quorum: {approve: 4, reject: majority}}}
      - {type: human-task, config: {assignee: kim, deadline: 1h, on_deadline: {escalate: [{assignee: lee, deadline: 1h}, {group: boss}]}}}
    """
    contacts = {
        "board": {"members": ["kim", "team"]},
        "team": {"members": ["lee", "park", "team"]},
        "kim": {},
        "lee": {},
    }
    assert [str(warning).removeprefix("flow.yaml:") for warning in load(text, contacts=contacts).warnings] == [
        "3:40: no contact `bord` is declared (did you mean `board`?)",
        "5:55: 4 people have to agree, and 3 are asked: the step will fail (ask for less, or add `members` to the contact)",
        "6:126: no contact `boss` is declared (declare it under `contacts` in orchestrator.yaml)",
    ]


def test_trigger_json_is_complete(load: Any) -> None:
    loaded = load(
        """\
        id: f
        triggers:
          - {type: webhook, endpoint: "/hooks/{kind}", max_body: 2MB}
          - {type: schedule, every: 1h30m, id: clock}
        steps: [{type: wait, config: {duration: 1}}]
        """
    )
    assert loaded.triggers == [
        {"type": "webhook", "id": "webhook-1", "enabled": True, "path": "/hooks/{kind}", "method": "POST",
         "respond": "accepted", "max_body": 2_000_000},
        {"type": "schedule", "id": "clock", "enabled": True, "every": 5400.0, "timezone": "UTC", "overlap": "skip"},
    ]  # fmt: skip


def test_files_are_named_relative_to_the_project(tmp_path: Path) -> None:
    folder = tmp_path / "workflows"
    folder.mkdir()
    file = folder / "hello.yaml"
    file.write_text("id: hello\nsteps: [{type: wait, config: {duration: 1}}]\n")
    loaded = load_flow_file(file, Project(root=tmp_path))
    assert loaded.definition.file == "workflows/hello.yaml"
    assert loaded.definition.steps[0].source == "workflows/hello.yaml:2:9"


@pytest.mark.parametrize(
    ("content", "said"), [(b"id: \xff\xfe", "not UTF-8 text"), (None, "cannot be read: No such file")]
)
def test_files_that_cannot_be_read_are_flow_invalid(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "x.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(FlowInvalid, match=said):
        load_flow_file(file, Project(root=tmp_path))


WORDS = st.sampled_from(
    ["id", "type", "steps", "config", "if", "then", "else", "parallel", "branches", "needs", "retry", "timeout", "http",
     "condition", "switch", "cases", "equals", "set", "wait", "duration", "vars", "inputs", "output", "triggers",
     "error_handling", "fallback", "finally", "defaults", "on_error", "compensate", "for-each", "items", "as", "try",
     "catch", "on", "value", "human-task", "webhook", "path", "a", "b", "f", "{{ steps.a.output }}", "{{ inputs.x",
     "{{ item }}", "1m", "none", "x", "version", "env", "name"]
)  # fmt: skip
LEAVES = st.one_of(
    WORDS, st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=5)),
    max_leaves=40,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(WORDS, VALUES, max_size=8))
def test_no_document_makes_loading_fail_with_anything_but_flow_invalid(document: dict[str, object]) -> None:
    for data in (
        document,
        {"id": "f", "steps": [document]},
        {"id": "f", "steps": [{"type": "switch", "config": document}]},
    ):
        try:
            load_flow(json.dumps(data), "f", Project())
        except FlowInvalid as error:
            assert error.problems
