"""Whether a request comes from whom it should: signatures, tokens and passwords of webhooks, compared in constant time.

Pure functions over what was received: headers, raw bytes, the moment. The schemes are those of ``spec.webhooks``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jwt

from orchestrator.errors import OrchestratorError
from orchestrator.spec.webhooks import LEEWAY, TOLERANCE, Verify

_MOST_SIGNATURES = 20
"""Signatures of one header that are looked at; senders give one for each of their keys."""
_LONGEST = 16_000
"""Characters of a header that are looked at."""
_EARLY = frozenset({"token", "basic", "jwt"})


class Unverified(OrchestratorError):
    """The request does not prove that its sender is the one who may start the flow. ``challenge`` is what
    ``WWW-Authenticate`` says."""

    code = "unverified"

    def __init__(self, message: str, challenge: str = "Signature") -> None:
        self.challenge = challenge
        super().__init__(message)


class VerifyUnusable(OrchestratorError):
    """No request can be verified, because no secret of ``verify`` is set, or a key is none."""

    code = "unavailable"


@dataclass(frozen=True, slots=True)
class Received:
    """What a verification looks at. ``headers`` are pairs as they came, names in lower case."""

    headers: Sequence[tuple[str, str]]
    body: bytes
    now: float
    """POSIX seconds."""

    def header(self, name: str) -> str:
        """The header's only value. Raises Unverified where it is missing or comes twice."""
        values = [value for found, value in self.headers if found == name.lower()]
        if not values:
            raise Unverified(f"the header {name} is missing: the sender has to sign or name itself there")
        if len(values) > 1 or len(values[0]) > _LONGEST:
            raise Unverified(f"the header {name} comes more than once, or is too long")
        return values[0].strip()


def needs_body(verify: Verify) -> bool:
    """Whether the body takes part; without it a request is refused before its body is read."""
    return verify.scheme not in _EARLY


def check(verify: Verify, secrets: Mapping[str, str], received: Received) -> None:
    """Return where the request proves its sender; else raise Unverified saying what is wrong with it, or
    VerifyUnusable."""
    _CHECKS[verify.scheme](verify, _secrets_of(verify, secrets), received)


def _secrets_of(verify: Verify, secrets: Mapping[str, str]) -> list[bytes]:
    found = [secrets[name].encode() for name in verify.secrets if secrets.get(name)]
    if verify.secrets and not found:
        names = " or ".join(f"ORCHESTRATOR_SECRET_{name}" for name in verify.secrets)
        raise VerifyUnusable(f"the secret of a webhook's `verify` is not set: give the gateway {names}")
    return found


def _any_matches(given: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Whether one of the given values is one of the expected; every pair is compared, each in constant time."""
    found = [hmac.compare_digest(one, other) for one in given for other in expected]
    return any(found)


def _differs() -> Unverified:
    return Unverified(
        "the signature does not match: check that both sides have the same secret, and that nothing between them "
        "changes the body"
    )


def _fresh(text: str, tolerance: float | None, now: float) -> None:
    """Refuse a signed moment that is too far away. Seconds since 1970."""
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise Unverified("the signature's timestamp is no number of seconds since 1970")
    limit = TOLERANCE if tolerance is None else tolerance
    away = now - int(text)
    if abs(away) > limit:
        how = "old" if away > 0 else "ahead of this clock"
        raise Unverified(f"the signature is {abs(away):.0f}s {how}, and may be {limit:g}s: sign and send it again")


def _mac(secret: bytes, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret, message, algorithm).digest()


def _unhex(text: str) -> bytes:
    """The bytes; none for what is no hex, which then matches nothing."""
    try:
        return bytes.fromhex(text) if re.fullmatch(r"[0-9a-fA-F]+", text) else b""
    except ValueError:
        return b""


def _unbase64(text: str) -> bytes:
    """The bytes of base64 in either alphabet, padded or not; none for what is neither."""
    plain = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _hmac(verify: Verify, secrets: list[bytes], received: Received) -> None:
    given = _without_prefix(received.header(verify.header or "X-Signature"), verify.prefix)
    moment = b""
    if verify.timestamp is not None:
        text = received.header(verify.timestamp)
        _fresh(text, verify.tolerance, received.now)
        moment = text.encode()
    signed = verify.signed or ("{timestamp}.{body}" if verify.timestamp else "{body}")
    message = b"".join(_part(part, moment, received.body) for part in re.split(r"(\{(?:body|timestamp)\})", signed))
    decoded = _unbase64(given) if verify.encoding == "base64" else _unhex(given)
    algorithm = verify.algorithm or "sha256"
    if not _any_matches([decoded], [_mac(secret, message, algorithm) for secret in secrets]):
        raise _differs()


def _part(part: str, moment: bytes, body: bytes) -> bytes:
    return {"{body}": body, "{timestamp}": moment}.get(part, part.encode())


def _without_prefix(value: str, prefix: str | None) -> str:
    if prefix is None:
        return value
    if not value.lower().startswith(prefix.lower()):
        raise Unverified(f"what proves the sender has to begin with {prefix!r}")
    return value[len(prefix) :].strip()


def _github(verify: Verify, secrets: list[bytes], received: Received) -> None:
    given = _without_prefix(received.header("X-Hub-Signature-256"), "sha256=")
    if not _any_matches([_unhex(given)], [_mac(secret, received.body) for secret in secrets]):
        raise _differs()


def _stripe(verify: Verify, secrets: list[bytes], received: Received) -> None:
    parts = [part.partition("=") for part in received.header("Stripe-Signature").split(",")[:_MOST_SIGNATURES]]
    moments = [value.strip() for name, _, value in parts if name.strip() == "t"]
    given = [_unhex(value.strip()) for name, _, value in parts if name.strip() == "v1"]
    if len(moments) != 1 or not given:
        raise Unverified("the header Stripe-Signature has to hold t=… once and v1=…")
    _fresh(moments[0], verify.tolerance, received.now)
    message = moments[0].encode() + b"." + received.body
    if not _any_matches(given, [_mac(secret, message) for secret in secrets]):
        raise _differs()


def _slack(verify: Verify, secrets: list[bytes], received: Received) -> None:
    given = _without_prefix(received.header("X-Slack-Signature"), "v0=")
    moment = received.header("X-Slack-Request-Timestamp")
    _fresh(moment, verify.tolerance, received.now)
    message = b"v0:" + moment.encode() + b":" + received.body
    if not _any_matches([_unhex(given)], [_mac(secret, message) for secret in secrets]):
        raise _differs()


def _standard(verify: Verify, secrets: list[bytes], received: Received) -> None:
    svix = any(name == "svix-signature" for name, _ in received.headers)
    brand = "svix" if svix else "webhook"
    identity, moment = received.header(f"{brand}-id"), received.header(f"{brand}-timestamp")
    _fresh(moment, verify.tolerance, received.now)
    parts = received.header(f"{brand}-signature").split()[:_MOST_SIGNATURES]
    given = [_unbase64(part[3:]) for part in parts if part.startswith("v1,")]
    if not given:
        raise Unverified(f"the header {brand}-signature has to hold v1,… (a symmetric signature)")
    message = f"{identity}.{moment}.".encode() + received.body
    if not _any_matches(given, [_mac(_standard_key(secret), message) for secret in secrets]):
        raise _differs()


def _standard_key(secret: bytes) -> bytes:
    text = secret.decode().strip()
    key = _unbase64(text.removeprefix("whsec_"))
    if not key:
        raise VerifyUnusable("the secret of a `standard-webhooks` verification is no base64 text such as whsec_…")
    return key


def _token(verify: Verify, secrets: list[bytes], received: Received) -> None:
    name = verify.header or "X-Webhook-Token"
    prefix = "Bearer " if verify.prefix is None and name.lower() == "authorization" else verify.prefix
    given = _without_prefix(_bearer_header(received, name), prefix)
    if not _any_matches([_digest(given.encode())], [_digest(secret) for secret in secrets]):
        raise Unverified(f"the token in {name} is not the one that was agreed on", "Bearer")


def _basic(verify: Verify, secrets: list[bytes], received: Received) -> None:
    challenge = 'Basic realm="webhook", charset="UTF-8"'
    try:
        kind, _, text = received.header("Authorization").partition(" ")
    except Unverified as error:
        raise Unverified(str(error), challenge) from None
    name, colon, password = _unbase64(text.strip()).partition(b":")
    user = (verify.username or "").encode()
    known = _any_matches([_digest(name)], [_digest(user)])
    right = _any_matches([_digest(password)], [_digest(secret) for secret in secrets])
    if kind.lower() != "basic" or not colon or not (known and right):
        raise Unverified("user name or password is wrong", challenge)


def _digest(value: bytes) -> bytes:
    """Of one length whatever the value's is: comparing then tells nothing of it."""
    return hashlib.sha256(value).digest()


def _bearer_header(received: Received, name: str) -> str:
    try:
        return received.header(name)
    except Unverified as error:
        raise Unverified(str(error), "Bearer") from None


def _jwt(verify: Verify, secrets: list[bytes], received: Received) -> None:
    name = verify.header or "Authorization"
    prefix = "Bearer " if verify.prefix is None and name.lower() == "authorization" else verify.prefix
    token = _without_prefix(_bearer_header(received, name), prefix)
    algorithm = verify.algorithm or "HS256"
    keys: list[str | bytes] = [*secrets, *(verify.keys or [])]
    problem = "the token is not signed with the agreed key"
    for key in keys:
        try:
            _decode(token, key, algorithm, verify, received.now)
        except jwt.InvalidKeyError as error:
            raise VerifyUnusable(f"a key of a webhook's `jwt` verification cannot be used: {error}") from error
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, ValueError, OverflowError) as error:
            problem = f"the token is not valid: {error}"
        else:
            return
    raise Unverified(problem, "Bearer")


def _decode(token: str, key: str | bytes, algorithm: str, verify: Verify, now: float) -> None:
    """Signature, issuer and audience by the library; the times here, by the clock that was given."""
    claims = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        issuer=verify.issuer,
        audience=verify.audience,
        options={
            "require": ["exp"],
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "verify_aud": verify.audience is not None,
        },
    )
    leeway = LEEWAY if verify.tolerance is None else verify.tolerance
    times = {claim: claims[claim] for claim in ("exp", "nbf", "iat") if claim in claims}
    for claim, value in times.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{claim} is no number of seconds since 1970")
    if times["exp"] + leeway < now:
        raise ValueError("it has expired")
    if max(times.get("nbf", 0), times.get("iat", 0)) - leeway > now:
        raise ValueError("it is not valid yet")


_CHECKS: Mapping[str, Callable[[Verify, list[bytes], Received], None]] = {
    "hmac": _hmac,
    "github": _github,
    "stripe": _stripe,
    "slack": _slack,
    "standard-webhooks": _standard,
    "token": _token,
    "basic": _basic,
    "jwt": _jwt,
}
