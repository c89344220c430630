"""``/v1/task-links/{token}``: one person decides one task, from a mail or a chat. Looking decides nothing."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.client import Client
from orchestrator.client.tasks import LinkedTask
from orchestrator.errors import Conflict, InputsInvalid, NotFound, OrchestratorError, Refused, Unavailable
from orchestrator.gateway.bodies import parse_json, read_body
from orchestrator.settings import Settings
from orchestrator.spec.acts.human_task import REJECT, fields_of
from orchestrator.spec.inputs import check_inputs
from orchestrator.steps.task_links import LINKS
from orchestrator.store.tasks import Task

Json = Any

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
}
"""The address is the key: it is kept out of caches, of other sites' logs and of frames."""
_STATUS = {NotFound: 404, Conflict: 409, Refused: 403, InputsInvalid: 422, Unavailable: 503}
_FIELD = "data."
_WORDS = {
    "en": {
        "answering": "You answer as",
        "comment": "Comment",
        "optional": "optional",
        "send": "Confirm",
        "sorry": "This does not work",
        "done": "Thank you",
        "taken": "Your answer has been taken",
        "shown": "Attached",
        "choose": "Your answer",
    },
    "ko": {
        "answering": "답변하는 사람",
        "comment": "의견",
        "optional": "선택",
        "send": "확인",
        "sorry": "처리할 수 없습니다",
        "done": "감사합니다",
        "taken": "답변이 접수되었습니다",
        "shown": "첨부",
        "choose": "답변",
    },
}
_PAGE = Template("""<!doctype html>
<html lang="$lang"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;color:#1c1e21}
label{display:block;margin:.9rem 0 .2rem;font-weight:600}input,select,textarea{font:inherit;width:100%;padding:.4rem;
box-sizing:border-box}button{font:inherit;padding:.5rem 1.2rem;margin:1rem .5rem 0 0}pre{white-space:pre-wrap;
overflow-wrap:anywhere;background:#f4f5f7;padding:.7rem}.wrong{color:#a40000}.text{white-space:pre-wrap}
</style></head><body><main><h1>$title</h1>
$body
</main></body></html>
""")


def router(client: Client, settings: Settings) -> APIRouter:
    """The pages. A mail program that looks at the address ahead of the person changes nothing."""
    pages = APIRouter(prefix=LINKS, include_in_schema=False)

    @pages.get("/{token}")
    async def ask(token: str, request: Request) -> HTMLResponse:
        words = _Words.of(request)
        try:
            found = await client.linked_task(token)
        except OrchestratorError as error:
            return _sorry(words, error)
        return _page(words, 200, _title(found.task), _form(words, found))

    @pages.post("/{token}")
    async def decide(token: str, request: Request) -> HTMLResponse:
        words = _Words.of(request)
        body = await read_body(request, settings.max_body)
        given = body.value if isinstance(body.value, dict) else {}
        try:
            found = await client.linked_task(token)
        except OrchestratorError as error:
            return _sorry(words, error)
        try:
            chosen = found.link.decision or _text(given.get("decision"))
            data = _data(found.task, given, chosen)
            await client.decide_linked(token, chosen, data, _text(given.get("comment")))
        except InputsInvalid as error:
            wrong = "".join(f"<li>{_safe(f'{one.field}: {one.message}')}</li>" for one in error.problems)
            form = _form(words, found, given)
            return _page(words, 422, _title(found.task), f'<ul class="wrong" role="alert">{wrong}</ul>{form}')
        except OrchestratorError as error:
            return _sorry(words, error)
        told = f"<p>{words.taken}: {_safe(_label(found.task, chosen))} ({_safe(found.link.person)})</p>"
        return _page(words, 200, words.done, told)

    return pages


@dataclass(frozen=True, slots=True)
class _Words:
    """The page's words in the reader's language."""

    lang: str
    texts: Mapping[str, str]

    @classmethod
    def of(cls, request: Request) -> _Words:
        wanted = request.headers.get("accept-language", "")
        lang = "ko" if wanted.lower().startswith("ko") else "en"
        return cls(lang, _WORDS[lang])

    def __getattr__(self, name: str) -> str:
        return self.texts[name]


def _data(task: Task, given: Mapping[str, Json], decision: str | None) -> Json:
    """What the form's fields hold, as its schema declares them; a field that was left empty was not given. Raises
    InputsInvalid."""
    if not task.form:
        return None
    fields = {name.removeprefix(_FIELD): value for name, value in given.items() if name.startswith(_FIELD)}
    fields = {name: value for name, value in fields.items() if value != ""}
    if not fields and decision == REJECT:
        return None
    if not fields_of(task.form):
        return parse_json(str(given["data"])) if given.get("data") else {}
    return check_inputs(task.flow, task.form, fields, convert_text=True)


def _form(words: _Words, found: LinkedTask, given: Mapping[str, Json] | None = None) -> str:
    given = given or {}
    task, link = found.task, found.link
    parts = [f'<p class="text">{_safe(task.instructions)}</p>' if task.instructions else ""]
    for one in task.attachments or []:
        shown = (
            one["value"] if isinstance(one["value"], str) else json.dumps(one["value"], ensure_ascii=False, indent=1)
        )
        parts.append(f"<h2>{words.shown}: {_safe(one['name'])}</h2><pre>{_safe(shown)}</pre>")
    parts.append(f'<form method="post"><p>{words.answering} <strong>{_safe(link.person)}</strong>.</p>')
    parts += [_field(name, schema, task, given) for name, schema in fields_of(task.form).items()]
    if task.form and not fields_of(task.form):
        parts.append(
            f'<label for="data">data</label><textarea id="data" name="data">{_safe(given.get("data"))}</textarea>'
        )
    needed = "" if link.decision in (task.comment_required or []) else f" ({words.optional})"
    parts.append(
        f'<label for="comment">{words.comment}{needed}</label>'
        f'<textarea id="comment" name="comment">{_safe(given.get("comment"))}</textarea>'
    )
    if link.decision is not None:
        parts.append(f'<button type="submit">{words.send}: {_safe(_label(task, link.decision))}</button>')
    else:
        parts.append(f"<p>{words.choose}:</p>")
        parts += [
            f'<button type="submit" name="decision" value="{_safe(name)}">{_safe(_label(task, name))}</button>'
            for name in task.decision_names
        ]
    return "\n".join([*parts, "</form>"])


def _field(name: str, schema: Json, task: Task, given: Mapping[str, Json]) -> str:
    schema = schema if isinstance(schema, dict) else {}
    value = given.get(_FIELD + name, schema.get("default", ""))
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    label = _safe(schema.get("title") or name)
    key = f'id="{_safe(_FIELD + name)}" name="{_safe(_FIELD + name)}"'
    options = schema.get("enum") or (["true", "false"] if schema.get("type") == "boolean" else None)
    if options:
        texts = ["", *(one if isinstance(one, str) else json.dumps(one) for one in options)]
        listed = "".join(f"<option{' selected' if one == shown else ''}>{_safe(one)}</option>" for one in texts)
        control = f"<select {key}>{listed}</select>"
    elif schema.get("type") in ("object", "array"):
        control = f"<textarea {key}>{_safe(shown)}</textarea>"
    else:
        kind = "number" if schema.get("type") in ("number", "integer") else "text"
        step = ' step="any"' if schema.get("type") == "number" else ""
        control = f'<input type="{kind}"{step} {key} value="{_safe(shown)}">'
    star = " *" if name in (task.form or {}).get("required", []) else ""
    help_text = f"<p>{_safe(schema['description'])}</p>" if schema.get("description") else ""
    return f'<label for="{_safe(_FIELD + name)}">{label}{star}</label>{help_text}{control}'


def _label(task: Task, decision: str | None) -> str:
    for one in task.decisions:
        if isinstance(one, dict) and one.get("name") == decision:
            return str(one.get("label") or decision)
    return decision or ""


def _title(task: Task) -> str:
    return task.title or task.step


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _sorry(words: _Words, error: OrchestratorError) -> HTMLResponse:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    return _page(words, status, words.sorry, f'<p role="alert">{_safe(str(error))}</p>')


def _page(words: _Words, status: int, title: str, body: str) -> HTMLResponse:
    text = _PAGE.substitute(lang=words.lang, title=_safe(title), body=body)
    return HTMLResponse(text, status, _HEADERS)


def _safe(value: Json) -> str:
    return "" if value is None else html.escape(str(value))
