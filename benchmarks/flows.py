"""The measured work as flows: a project folder on disk, as a user would have it."""

from __future__ import annotations

from pathlib import Path

STEPS = ("one", "two", "three", "four", "five")

FUNCTIONS = '''\
"""The one function that the five measured steps call."""

from temporalio import activity


@activity.defn
async def take_note(value: int) -> int:
    return value + 1
'''


def five_steps() -> str:
    """Five function steps, each fed with the result of the one before."""
    lines = ["id: five-steps", "inputs:", "  start: integer", "steps:"]
    source = "inputs.start"
    for step in STEPS:
        lines += [
            f"  - id: {step}",
            "    type: function",
            f'    config: {{handler: take_note, args: ["{{{{ {source} }}}}"]}}',
        ]
        source = f"steps.{step}.output"
    return "\n".join([*lines, f'output: "{{{{ {source} }}}}"', ""])


ACCEPTED = """\
id: webhook-accepted
triggers:
  - {type: webhook, path: /webhook-accepted}
inputs: {start: integer}
steps:
  - {id: sum, type: transform, config: {value: {total: "{{ inputs.start + 1 }}"}}}
"""
"""Webhook, one transform, nobody waits."""


def webhook(echo_port: int, name: str = "webhook-five", defaults: str = "{}") -> str:
    """Webhook, five HTTP steps, a condition, a transform, synchronous answer."""
    lines = [
        f"id: {name}",
        f"defaults: {defaults}",
        "triggers:",
        f"  - {{type: webhook, path: /{name}, respond: result}}",
        "inputs:",
        "  start: integer",
        "steps:",
    ]
    source = "inputs.start"
    for step in STEPS:
        lines += [
            f"  - id: {step}",
            "    type: http",
            "    config:",
            f"      url: http://127.0.0.1:{echo_port}/{step}",
            "      method: POST",
            f'      body: {{count: "{{{{ {source} + 1 }}}}", name: "step {step}"}}',
        ]
        source = f"steps.{step}.output.body.count"
    lines += [
        "  - id: big",
        "    type: condition",
        "    config:",
        f'      if: "{{{{ {source} }}}} > 3"',
        "      then:",
        "        - id: answer",
        "          type: transform",
        f'          config: {{value: {{total: "{{{{ {source} }}}}", size: big}}}}',
        "      else:",
        "        - id: small-answer",
        "          type: transform",
        f'          config: {{value: {{total: "{{{{ {source} }}}}", size: small}}}}',
        'output: "{{ steps.big.output }}"',
        "",
    ]
    return "\n".join(lines)


CONCURRENCIES = (1, 10, 100)


def count_up() -> str:
    """A while loop with one function step in each pass, as often as the input says."""
    return """id: count-up
inputs: {times: integer}
vars: {n: 0}
steps:
  - id: loop
    type: while
    config:
      while: vars.n < inputs.times
      max_iterations: 1000000
      steps:
        - {id: note, type: function, config: {handler: take_note, args: ["{{ vars.n }}"]}}
        - {id: keep, type: set, config: {n: "{{ steps.note.output }}"}}
output: "{{ vars.n }}"
"""


def each(concurrency: int) -> str:
    """A for-each over as many items as the input says, with one function step for each."""
    return f"""id: each-{concurrency}
inputs: {{items: integer}}
steps:
  - id: each
    type: for-each
    config:
      items: inputs.items
      concurrency: {concurrency}
      steps:
        - {{id: note, type: function, config: {{handler: take_note, args: ["{{{{ item }}}}"]}}}}
"""


def many_steps(count: int) -> str:
    """A flow of ``count`` HTTP steps with expressions, to measure loading."""
    lines = ["id: many-steps", "inputs:", "  start: {type: object, required: [id]}", "steps:"]
    for number in range(count):
        source = "inputs.start.id" if number == 0 else f"steps.step-{number - 1}.output.body.id"
        lines += [
            f"  - id: step-{number}",
            "    type: http",
            f'    if: "{{{{ inputs.start.id }}}} != {number}"' if number % 5 == 4 else "    retry: {max_attempts: 2}",
            "    config:",
            f"      url: \"https://example.com/items/{{{{ {source} | default('none') }}}}\"",
            "      method: POST",
            '      headers: {Authorization: "Bearer {{ secrets.API }}"}',
            f'      body: {{id: "{{{{ {source} | default(0) }}}}", note: "item {{{{ inputs.start.id }}}}"}}',
        ]
    return "\n".join([*lines, ""])


def write_project(folder: Path, echo_port: int) -> None:
    """A project folder with the measured flows and their function."""
    (folder / "workflows").mkdir(parents=True)
    (folder / "activities").mkdir()
    (folder / "workflows" / "five-steps.yaml").write_text(five_steps())
    (folder / "workflows" / "webhook-accepted.yaml").write_text(ACCEPTED)
    (folder / "workflows" / "webhook-five.yaml").write_text(webhook(echo_port))
    express = webhook(echo_port, "webhook-express", "{durability: express, timeout: {attempt: 5s}}")
    (folder / "workflows" / "webhook-express.yaml").write_text(express)
    (folder / "workflows" / "count-up.yaml").write_text(count_up())
    for concurrency in CONCURRENCIES:
        (folder / "workflows" / f"each-{concurrency}.yaml").write_text(each(concurrency))
    (folder / "activities" / "notes.py").write_text(FUNCTIONS)
