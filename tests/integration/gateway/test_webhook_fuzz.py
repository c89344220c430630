"""Whatever is sent to a webhook: never a 5xx, and a request that was refused has started nothing."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import temporalio.client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Door, open_door

FLOWS = """
id: fuzzed
triggers:
  - {type: webhook, path: "/open/{name}", inputs: {name: "{{ trigger.params.name }}", n: "{{ trigger.body.n | default(1) }}"},
     idempotency_key: "{{ trigger.query.key | default('') }}", if: "trigger.body is defined", max_body: 20KB}
  - {type: webhook, path: /signed, verify: {scheme: stripe, secret: S}, respond: {body: "{{ trigger.body }}"}}
  - {type: webhook, path: /signed, method: PUT, verify: {scheme: jwt, secret: S}, cors: {origins: ["*"]}}
inputs: {name: {type: string, maxLength: 20}, n: {type: integer, default: 1}}
steps: [{id: a, type: transform, config: {value: 1}}]
"""
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "120"))

_any_text = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["n", "name", "type"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_kinds = st.sampled_from(
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "*/*",
     "application/json; charset=utf-16", "text/plain; charset=\xff", "application/octet-stream", "", "multipart/form-data"]
)  # fmt: skip
_multipart = st.binary(max_size=60).map(
    lambda part: b'--b\r\nContent-Disposition: form-data; name="n"; filename="f"\r\n\r\n' + part + b"\r\n--b--\r\n"
)
_bodies = st.one_of(
    st.sampled_from([b'{"n": 2}', b'{"n": "two"}', b"{}", b""]),
    st.binary(max_size=200),
    _json.map(lambda value: json.dumps(value).encode()),
    _multipart,
    st.integers(19_000, 60_000).map(lambda size: b"x" * size),
)
_headers = st.dictionaries(
    st.sampled_from(
        ["Idempotency-Key", "Stripe-Signature", "Authorization", "Origin", "Access-Control-Request-Method", "X-GitHub-Event",
         "Webhook-Id", "Content-Encoding", "Expect", "Accept", "X-Forwarded-For"]
    ),
    _any_text,
    max_size=3,
)  # fmt: skip
_paths = st.one_of(
    st.sampled_from(
        ["/open/a", "/open/b", "/signed", "/signed/test", "/open/a/test", "/open/%00", "/open/..%2f", "/open/%ff"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=10).map(lambda text: "/open/" + quote(text)),
)


@pytest.fixture
async def idle(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Door]:
    """A gateway with a secret and without a worker."""
    async with open_door(
        temporal, tmp_path, working=False, secrets={"S": "a secret of at least thirty-two bytes"}
    ) as door:
        yield door


async def test_nothing_that_arrives_is_a_5xx_and_refusals_start_nothing(idle: Door) -> None:
    await idle.publish(FLOWS)
    started: list[str] = []

    @given(
        st.sampled_from(["POST", "POST", "POST", "PUT", "GET", "OPTIONS", "DELETE"]), _paths, _kinds, _bodies, _headers
    )
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def drawn(method: str, path: str, kind: str, body: bytes, headers: dict[str, str]) -> None:
        requests.append((method, path, kind, body, headers))

    requests: list[Any] = []
    drawn()
    for method, path, kind, body, headers in requests:
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        encoded.append((b"Content-Type", kind.encode("latin-1")))
        url = str(idle.http.base_url).rstrip("/") + path
        try:
            answer = await idle.http.request(method, url, content=body, headers=encoded)
        except (httpx.InvalidURL, httpx.RemoteProtocolError, httpx.LocalProtocolError):
            continue
        assert answer.status_code < 500, (method, path, kind, body, headers, answer.text)
        if "x-run-id" in answer.headers:
            assert answer.status_code in (200, 202)
            started.append(answer.headers["x-run-id"])
        elif answer.status_code >= 400:
            assert answer.headers.get("content-type") == "application/problem+json" or method == "OPTIONS"
    counts = (await idle.http.get("/v1/flows/fuzzed/webhooks")).json()["webhooks"]
    assert sum(hook["counts"].get("started", 0) for hook in counts) == len(started)
    assert started, "the fuzz never got through: it would prove nothing"
    assert all(hook["counts"].get("started", 0) == 0 for hook in counts if hook["verify"])
