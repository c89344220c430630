"""Alerts: the activity that keeps one for whoever sends it, and how its channel is told."""

from __future__ import annotations

from typing import Any

from temporalio import activity

from orchestrator.errors import StepError, TerminalError, Unavailable
from orchestrator.spec.acts.email import EmailConfig
from orchestrator.spec.acts.notification import NotificationConfig
from orchestrator.spec.acts.slack import SlackConfig
from orchestrator.spec.call import ALERT
from orchestrator.spec.mail import MailServer
from orchestrator.spec.slack import SlackWorkspace
from orchestrator.steps.attempt import current_step
from orchestrator.steps.context import STORE, StepContext
from orchestrator.steps.notify import email, notification, slack
from orchestrator.steps.notify.account import account
from orchestrator.steps.notify.sent import Sent
from orchestrator.store.alerts import Alert, alert_id
from orchestrator.store.database import Store

Json = Any


@activity.defn(name=ALERT)
async def alert(place: int, execution: str, channel: str, told: dict[str, Json]) -> None:
    """Keep an alert of the running run for whoever sends it: the ``place``-th of its flow. Attempts keep one. Raises
    StepError ``store_unavailable``."""
    context = current_step()
    store: Store | None = context.resources.lent(STORE)
    if store is None:
        return
    raised = Alert(
        id=alert_id(context.run_id, execution, place),
        flow=context.flow,
        version=context.version,
        run_id=context.run_id,
        channel=channel,
        told=told,
    )
    try:
        await store.alerts.put([raised])
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error


async def tell(channel: str, told: dict[str, Json], context: StepContext, sent: Sent) -> None:
    """Tell the channel that the condition of ``told`` holds, in every way it has; ``sent`` notes those that took it,
    and they are told no more. Raises what ``notification.send``, ``slack.send`` and ``email.send`` raise."""
    if channel in context.project.contacts:
        await notification.send(_news(channel, told, context), context, sent)
    elif channel == "slack" or channel.startswith("#"):
        where = _slack_channel(context) if channel == "slack" else channel
        message = "\n".join([f"*{slack.escaped(_headline(told, context))}*", *map(slack.escaped, _rest(told, context))])
        await slack.send(SlackConfig(channel=where, message=message), context, sent)
    elif channel == "email" or "@" in channel:
        to = _addressees(context) if channel == "email" else channel
        text = "\n\n".join([_headline(told, context), *_rest(told, context)]) + "\n"
        await email.send(EmailConfig(to=to, subject=_headline(told, context), text=text), context, sent)
    else:
        raise TerminalError("not_found", f"no contact '{channel}' under contacts in orchestrator.yaml")


def _news(contact: str, told: dict[str, Json], context: StepContext) -> NotificationConfig:
    data = {"condition": told["condition"], "status": told["status"]}
    data |= {name: value for name, value in told["values"].items() if value is not None}
    message = " ".join([_headline(told, context), *_own(told)])
    return NotificationConfig(target=contact, message=message, data=data, severity="warning", require="all")


def _headline(told: dict[str, Json], context: StepContext) -> str:
    return f"{context.flow}: {told['condition']} ({told['found']})"


def _rest(told: dict[str, Json], context: StepContext) -> list[str]:
    state = "goes on" if told["status"] == "running" else f"has ended: {told['status']}"
    return [*_own(told), f"Run {context.run_id}, version {context.version}, {state}"]


def _own(told: dict[str, Json]) -> list[str]:
    return [told["message"]] if told.get("message") else []


def _slack_channel(context: StepContext) -> str:
    """Where alerts go that name only Slack. Raises TerminalError ``not_found``."""
    workspace = account(context, "slack", SlackWorkspace, '`slack: {token: "{{ secrets.SLACK_BOT_TOKEN }}", channel}`')
    if workspace.channel is not None:
        return workspace.channel
    if len(workspace.webhooks) == 1:
        return next(iter(workspace.webhooks))
    raise TerminalError(
        "not_found", "nobody says which channel of Slack is meant: write `slack.channel` in orchestrator.yaml"
    )


def _addressees(context: StepContext) -> str | list[str]:
    """Who gets alerts that name only e-mail. Raises TerminalError ``not_found``."""
    server = account(context, "mail", MailServer, "`mail: {server, from, to}`")
    if not server.to:
        raise TerminalError("not_found", "nobody says who gets the e-mail: write `mail.to` in orchestrator.yaml")
    return server.to
