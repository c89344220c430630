"""The ``multi-channel`` step: one piece of news to several places, side by side."""

from __future__ import annotations

import functools

from orchestrator.spec.acts.api import ApiConfig
from orchestrator.spec.acts.email import EmailConfig
from orchestrator.spec.acts.multi_channel import Delivery, MultiChannelConfig, ServiceChannel
from orchestrator.spec.acts.notification import NotificationConfig
from orchestrator.spec.acts.slack import SlackConfig
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.notify import email, notification, slack
from orchestrator.steps.notify.sent import Send, Sent, part_of, side_by_side
from orchestrator.steps.web import api

TYPE = "multi-channel"
CONFIG = MultiChannelConfig


async def run(config: MultiChannelConfig, context: StepContext) -> Json:
    """An entry for each channel: what it answered, or ``{"error"}``. Channels that worked in an earlier attempt are not
    used again. Raises ``delivery_failed`` as ``side_by_side`` does."""
    sent = Sent.so_far()
    ways: dict[str, Send] = {}
    for channel in config.channels:
        name, delivery = channel.given()
        ways[name] = _way(name, delivery, part_of(context, name), sent)
    return await side_by_side(ways, config.require, context)


def _way(name: str, delivery: Delivery, context: StepContext, sent: Sent) -> Send:
    match delivery:
        case EmailConfig():
            return functools.partial(email.send, delivery, context, sent)
        case SlackConfig():
            return functools.partial(slack.send, delivery, context, sent)
        case NotificationConfig():
            return functools.partial(notification.send, delivery, context, sent)
        case ServiceChannel():
            return functools.partial(_call, name, delivery, context, sent)


async def _call(name: str, channel: ServiceChannel, context: StepContext, sent: Sent) -> Json:
    """``{"id", "body"}``: the id that the service answered, or the call's own key."""

    async def deliver() -> Json:
        config = ApiConfig(
            service=name,
            method=channel.called(),
            params=channel.params,
            query=channel.query,
            headers=channel.headers,
            body=channel.content(),
        )
        body = await api.run(config, context)
        given = body.get("id") if isinstance(body, dict) else None
        return {"id": context.idempotency_key if given is None else given, "body": body}

    return await sent.once(context, deliver)
