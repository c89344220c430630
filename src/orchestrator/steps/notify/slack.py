"""The ``slack`` step: a message through the Web API, or through the incoming webhook of a channel."""

from __future__ import annotations

import re

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.http import Auth
from orchestrator.spec.acts.slack import SlackConfig
from orchestrator.spec.slack import SlackWorkspace
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.notify.account import account
from orchestrator.steps.notify.sent import Sent
from orchestrator.steps.web.exchange import exchange
from orchestrator.steps.web.outgoing import Request, json_body

TYPE = "slack"
CONFIG = SlackConfig

_NEEDS = '`slack: {token: "{{ secrets.SLACK_BOT_TOKEN }}"}`, the bot token of an app, or `webhooks`'
_PASSING = {
    "ratelimited": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "internal_error": "temporary_service_unavailable",
    "fatal_error": "temporary_service_unavailable",
    "service_unavailable": "temporary_service_unavailable",
    "request_timeout": "temporary_service_unavailable",
}
"""Refusals of Slack that pass, with the type of the step's error."""
_HINTS = {
    "channel_not_found": "is the name right, and is the app in the workspace?",
    "not_in_channel": "invite the app to the channel",
    "is_archived": "the channel is archived",
    "invalid_auth": "look at `slack.token` in orchestrator.yaml",
    "not_authed": "look at `slack.token` in orchestrator.yaml",
    "token_revoked": "look at `slack.token` in orchestrator.yaml",
    "account_inactive": "look at `slack.token` in orchestrator.yaml",
    "missing_scope": "give the app the scope chat:write",
    "msg_too_long": "a message has at most 40000 characters",
    "invalid_blocks": "try the blocks in Slack's Block Kit Builder",
}
_WAIT = 30.0
"""Seconds for one call."""


async def run(config: SlackConfig, context: StepContext) -> Json:
    """``{"id", "channel"}``; the id is the message's timestamp, through a webhook the step's own key, since Slack tells
    none. An attempt after one that sent the message does not send it again. Errors: see ``send``."""
    return await send(config, context, Sent.so_far())


async def send(config: SlackConfig, context: StepContext, sent: Sent) -> Json:
    """The same as a part of a step that sends to several places.

    Raises TerminalError ``slack_error``, with what Slack said in its data, and ``not_found``; StepError
    ``rate_limit_exceeded`` and ``temporary_service_unavailable``; and what ``exchange`` raises.
    """

    async def deliver() -> Json:
        workspace = account(context, "slack", SlackWorkspace, _NEEDS)
        hook = workspace.webhooks.get(config.channel)
        if hook is not None:
            return await _through_webhook(hook, config, context)
        if workspace.token is None:
            known = ", ".join(f"'{name}'" for name in sorted(workspace.webhooks))
            message = f"slack.webhooks in orchestrator.yaml has no channel '{config.channel}'; there: {known}"
            raise TerminalError("not_found", message)
        return await _through_api(workspace, workspace.token, config, context)

    return await sent.once(context, deliver)


def escaped(text: str) -> str:
    """Text that Slack shows as it is: nothing in it is a mention, a link or a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def _through_webhook(hook: str, config: SlackConfig, context: StepContext) -> Json:
    # Whoever knows the address can post: it is a secret wherever it was written down.
    context.secrets.remember(hook)
    context.secrets.remember(re.split(r"[?#]", hook, maxsplit=1)[0])
    request = Request(
        url=hook, method="POST", body=json_body(_message(config)), parse="text", follow_redirects=False, timeout=_WAIT
    )
    await exchange(request, context)
    return {"id": context.idempotency_key, "channel": config.channel}


async def _through_api(workspace: SlackWorkspace, token: str, config: SlackConfig, context: StepContext) -> Json:
    context.secrets.remember(token)
    request = Request(
        url=f"{workspace.api.rstrip('/')}/chat.postMessage",
        method="POST",
        body=json_body({"channel": config.channel} | _message(config)),
        auth=Auth(bearer=token),
        follow_redirects=False,
        timeout=_WAIT,
    )
    answer = (await exchange(request, context)).body
    if not isinstance(answer, dict):
        raise TerminalError(
            "invalid_response", "Slack answered something that is no JSON object; is `slack.api` right?"
        )
    if answer.get("ok") is not True:
        raise _refusal(answer, config.channel)
    return {"id": answer.get("ts"), "channel": answer.get("channel") or config.channel}


def _message(config: SlackConfig) -> dict[str, Json]:
    members: dict[str, Json] = {"text": config.message, "blocks": config.blocks, "thread_ts": config.thread}
    members["attachments"] = config.attachments or None
    return {name: value for name, value in members.items() if value is not None}


def _refusal(answer: dict[str, Json], channel: str) -> StepError:
    code = str(answer.get("error") or "unknown")
    details = [text for text in (answer.get("response_metadata") or {}).get("messages", []) if isinstance(text, str)]
    more = [*details[:3], *([_HINTS[code]] if code in _HINTS else [])]
    message = f"Slack does not take the message for '{channel}': {code}" + (f" ({'; '.join(more)})" if more else "")
    if code in _PASSING:
        return StepError(_PASSING[code], message, data={"error": code})
    return TerminalError("slack_error", message, data={"error": code})
