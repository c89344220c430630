"""The ``notification`` step: a contact is told in every way it declares."""

from __future__ import annotations

import functools
from typing import Any

import yaml

from orchestrator.errors import StepError
from orchestrator.spec.acts.email import EmailConfig
from orchestrator.spec.acts.notification import NotificationConfig
from orchestrator.spec.acts.slack import SlackConfig
from orchestrator.spec.contacts import Contact, ContactWebhook
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.notify import email, slack
from orchestrator.steps.notify.contact import reached
from orchestrator.steps.notify.sent import Send, Sent, part_of, side_by_side
from orchestrator.steps.web.exchange import exchange
from orchestrator.steps.web.outgoing import Request, json_body

TYPE = "notification"
CONFIG = NotificationConfig

_SUBJECT = 150
_SHOWN = 10_000
"""Characters of the data that a message to people shows."""
_WAIT = 30.0
"""Seconds for one call of a webhook."""


async def run(config: NotificationConfig, context: StepContext) -> Json:
    """``{"id", "channels"}``: what each way answered. Ways that worked in an earlier attempt are not used again.
    Errors: see ``send``."""
    return await send(config, context, Sent.so_far())


async def send(config: NotificationConfig, context: StepContext, sent: Sent) -> Json:
    """The same as a part of a step that sends to several places.

    Raises TerminalError ``not_found`` and ``no_way`` for the contact, and ``delivery_failed`` as ``side_by_side``
    does.
    """
    ways: dict[str, Send] = {}
    for name, found in reached(config.target, context).items():
        prefix = "" if name == config.target else f"{name}."
        if isinstance(found, Contact):
            for way, do in _ways(found, config, context, sent, prefix).items():
                ways[prefix + way] = do
        else:
            ways[name] = functools.partial(_raise, found)
    answers = await side_by_side(ways, config.require, context)
    return {"id": context.idempotency_key, "channels": answers}


def _ways(
    contact: Contact, config: NotificationConfig, context: StepContext, sent: Sent, prefix: str
) -> dict[str, Send]:
    def part(way: str) -> StepContext:
        return part_of(context, prefix + way)

    ways: dict[str, Send] = {}
    addresses = contact.addresses()
    if addresses:
        mail = EmailConfig(to=addresses, subject=_subject(config, context), text=_text(config, context))
        ways["email"] = functools.partial(email.send, mail, part("email"), sent)
    if contact.slack is not None:
        said = SlackConfig(channel=contact.slack, message=_for_slack(config, context))
        ways["slack"] = functools.partial(slack.send, said, part("slack"), sent)
    hook = contact.hook()
    if hook is not None:
        ways["webhook"] = functools.partial(_post, hook, config, part("webhook"), sent)
    return ways


async def _raise(error: StepError) -> Json:
    raise error


async def _post(hook: ContactWebhook, config: NotificationConfig, context: StepContext, sent: Sent) -> Json:
    async def deliver() -> Json:
        news = {
            "id": context.idempotency_key,
            "target": config.target,
            "severity": config.severity,
            "message": _message(config, context),
            "data": config.data,
            "flow": context.flow,
            "run": context.run_id,
            "step": context.step_id,
        }
        request = Request(
            url=hook.url,
            method="POST",
            headers=hook.headers,
            body=json_body(news),
            auth=hook.auth,
            parse="text",
            timeout=_WAIT,
        )
        await exchange(request, context)
        return {"id": context.idempotency_key}

    return await sent.once(context, deliver)


def _message(config: NotificationConfig, context: StepContext) -> str:
    return config.message or f"step '{context.step_id}' of flow '{context.flow}' has something to tell"


def _subject(config: NotificationConfig, context: StepContext) -> str:
    """The message in one line. It may come from outside, so what is no text becomes a space."""
    printable = "".join(letter if letter.isprintable() else " " for letter in _message(config, context))
    line = " ".join(printable.split())
    mark = "" if config.severity == "info" else f"[{config.severity}] "
    return mark + (line if len(line) <= _SUBJECT else line[: _SUBJECT - 1] + "…")


def _text(config: NotificationConfig, context: StepContext) -> str:
    parts = [_message(config, context)]
    if config.data is not None:
        parts.append(_readable(config.data))
    parts.append(f"-- \nflow {context.flow}, run {context.run_id}")
    return "\n\n".join(parts) + "\n"


def _for_slack(config: NotificationConfig, context: StepContext) -> str:
    mark = "" if config.severity == "info" else f"*{config.severity.capitalize()}:* "
    parts = [mark + slack.escaped(_message(config, context))]
    if config.data is not None:
        parts.append(f"```{slack.escaped(_readable(config.data)).replace('```', '` ` `')}```")
    parts.append(f"_flow {slack.escaped(context.flow)}, run {slack.escaped(context.run_id)}_")
    return "\n".join(parts)


def _readable(data: Any) -> str:
    text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=100).removesuffix("...\n").strip()
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "\n… (cut)"
