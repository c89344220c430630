"""Who may send to a webhook: the vendors' published signatures, and everything that is almost one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import warnings
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.security.verify import Received, Unverified, VerifyUnusable, check
from orchestrator.spec.webhooks import Verify

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14"
    b"d10d2c447fce8b6703c"
)
STRIPE_BODY = b'{\n  "id": "evt_1",\n  "object": "event"\n}'


def hexed(secret: bytes, message: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(secret, message, algorithm).hexdigest()


GITHUB: dict[str, Any] = {
    # docs.github.com, "Validating webhook deliveries": testing the validation.
    "verify": {"scheme": "github", "secret": "S"},
    "secret": "It's a Secret to Everybody",
    "headers": {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
    "body": b"Hello, World!",
    "now": 0,
}
SLACK: dict[str, Any] = {
    # api.slack.com, "Verifying requests from Slack": the step by step walk-through.
    "verify": {"scheme": "slack", "secret": "S"},
    "secret": "8f742231b10e8888abcd99yyyzzz85a5",
    "headers": {
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "X-Slack-Request-Timestamp": "1531420618",
    },
    "body": SLACK_BODY,
    "now": 1531420619,
}
STANDARD: dict[str, Any] = {
    # The example of the Standard Webhooks libraries and of Svix.
    "verify": {"scheme": "standard-webhooks", "secret": "S"},
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "headers": {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    "body": b'{"test": 2432232314}',
    "now": 1614265330,
}
SVIX = STANDARD | {
    "headers": {name.replace("webhook", "svix"): value for name, value in STANDARD["headers"].items()},
}
STRIPE: dict[str, Any] = {
    # Stripe publishes the rule and no value: "t.body" under the endpoint's secret.
    "verify": {"scheme": "stripe", "secret": "S"},
    "secret": "whsec_test",
    "headers": {
        "Stripe-Signature": "t=1492774577,v1=" + hexed(b"whsec_test", b"1492774577." + STRIPE_BODY) + ",v0=6ffbb59b2300"
    },
    "body": STRIPE_BODY,
    "now": 1492774577 + 200,
}
BASIC: dict[str, Any] = {
    # RFC 7617 §2.
    "verify": {"scheme": "basic", "secret": "S", "username": "Aladdin"},
    "secret": "open sesame",
    "headers": {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
    "body": b"",
    "now": 0,
}
BASIC_UTF8 = BASIC | {
    # RFC 7617 §2.1: the pound sign in UTF-8.
    "verify": {"scheme": "basic", "secret": "S", "username": "test"},
    "secret": "123£",
    "headers": {"Authorization": "Basic dGVzdDoxMjPCow=="},
}
HMAC_RFC: dict[str, Any] = {
    # RFC 4231 §4.3 (test case 2).
    "verify": {"scheme": "hmac", "secret": "S", "header": "X-Sign"},
    "secret": "Jefe",
    "headers": {"X-Sign": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    "body": b"what do ya want for nothing?",
    "now": 0,
}
HMAC_512 = HMAC_RFC | {
    "verify": {"scheme": "hmac", "secret": "S", "header": "X-Sign", "algorithm": "sha512"},
    "headers": {
        "X-Sign": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaea"
        "b1a34d4a6b4b636e070a38bce737"
    },
}
SHOPIFY: dict[str, Any] = {
    "verify": {"scheme": "hmac", "secret": "S", "header": "X-Shopify-Hmac-Sha256", "encoding": "base64"},
    "secret": "hush",
    "headers": {
        "X-Shopify-Hmac-Sha256": base64.b64encode(hmac.new(b"hush", b'{"id":1}', hashlib.sha256).digest()).decode()
    },
    "body": b'{"id":1}',
    "now": 0,
}
TIMED: dict[str, Any] = {
    "verify": {
        "scheme": "hmac",
        "secret": "S",
        "header": "X-Sign",
        "prefix": "v2=",
        "timestamp": "X-Time",
        "signed": "v2:{timestamp}:{body}",
    },
    "secret": "k",
    "headers": {"X-Sign": "v2=" + hexed(b"k", b"v2:1000:data"), "X-Time": "1000"},
    "body": b"data",
    "now": 1010,
}
TOKEN: dict[str, Any] = {
    "verify": {"scheme": "token", "secret": "S", "header": "X-Gitlab-Token"},
    "secret": "agreed",
    "headers": {"X-Gitlab-Token": "agreed"},
    "body": b"",
    "now": 0,
}
BEARER = TOKEN | {
    "verify": {"scheme": "token", "secret": "S", "header": "Authorization"},
    "headers": {"Authorization": "bearer agreed"},
}
JWT_KEY = "a key of at least thirty-two bytes, as RFC 7518 asks"
JWT: dict[str, Any] = {
    "verify": {"scheme": "jwt", "secret": "S", "issuer": "crm", "audience": "hooks"},
    "secret": JWT_KEY,
    "headers": {
        "Authorization": "Bearer " + jwt.encode({"exp": 2000, "iat": 1900, "iss": "crm", "aud": "hooks"}, JWT_KEY)
    },
    "body": b"",
    "now": 1950,
}
CASES = {
    "github": GITHUB, "slack": SLACK, "standard-webhooks": STANDARD, "svix": SVIX, "stripe": STRIPE, "basic": BASIC,
    "basic utf-8": BASIC_UTF8, "hmac": HMAC_RFC, "hmac sha512": HMAC_512, "shopify": SHOPIFY, "hmac with time": TIMED,
    "token": TOKEN, "bearer": BEARER, "jwt": JWT,
}  # fmt: skip
SIGNED = [name for name in CASES if name not in ("basic", "basic utf-8", "token", "bearer", "jwt")]


def received(case: dict[str, Any], **changes: Any) -> Received:
    case = case | changes
    return Received([(name.lower(), value) for name, value in case["headers"].items()], case["body"], case["now"])


def verify(case: dict[str, Any], **changes: Any) -> None:
    secrets = changes.pop("secrets", {"S": case["secret"]})
    check(Verify.model_validate(case["verify"] | changes.pop("verify", {})), secrets, received(case, **changes))


@pytest.mark.parametrize("name", CASES)
def test_what_the_vendor_sends_is_taken(name: str) -> None:
    verify(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_another_secret_is_refused(name: str) -> None:
    secret = "whsec_" + base64.b64encode(b"other").decode() if name in ("standard-webhooks", "svix") else JWT_KEY + "x"
    with pytest.raises(Unverified):
        verify(CASES[name], secrets={"S": secret})


@pytest.mark.parametrize("name", SIGNED)
def test_a_changed_body_is_refused(name: str) -> None:
    with pytest.raises(Unverified, match="does not match"):
        verify(CASES[name], body=CASES[name]["body"] + b" ")


@pytest.mark.parametrize("name", CASES)
def test_every_header_that_proves_something_is_needed_exactly_once(name: str) -> None:
    case = CASES[name]
    for header in case["headers"]:
        without = {other: value for other, value in case["headers"].items() if other != header}
        with pytest.raises(Unverified, match="missing"):
            verify(case, headers=without)
        twice = received(case)
        doubled = Received([*twice.headers, (header.lower(), case["headers"][header])], twice.body, twice.now)
        with pytest.raises(Unverified, match="more than once"):
            check(Verify.model_validate(case["verify"]), {"S": case["secret"]}, doubled)


@pytest.mark.parametrize("name", ["slack", "standard-webhooks", "svix", "stripe", "hmac with time"])
@pytest.mark.parametrize(("away", "says"), [(301, "old"), (-301, "ahead")])
def test_a_signature_outside_the_replay_window_is_refused(name: str, away: int, says: str) -> None:
    case = CASES[name]
    moment = {"stripe": 1492774577, "slack": 1531420618, "hmac with time": 1000}.get(name, 1614265330)
    verify(case, now=moment + 299)
    with pytest.raises(Unverified, match=says):
        verify(case, now=moment + away)
    verify(case, now=moment + away, verify={"tolerance": 400})


@pytest.mark.parametrize("name", CASES)
def test_while_secrets_are_rotated_the_old_and_the_new_one_count(name: str) -> None:
    case = CASES[name]
    other = {"standard-webhooks": "whsec_bmV3", "svix": "whsec_bmV3"}.get(name, JWT_KEY + " too")
    for secrets in ({"NEW": other, "OLD": case["secret"]}, {"NEW": case["secret"], "OLD": other}):
        verify(case, verify={"secret": ["NEW", "OLD"]}, secrets=secrets)
    # The old one may be gone from the environment before it is gone from the flow.
    verify(case, verify={"secret": ["NEW", "OLD"]}, secrets={"NEW": case["secret"]})


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("secrets", [{}, {"S": ""}])
def test_without_the_secret_nobody_comes_in(name: str, secrets: dict[str, str]) -> None:
    with pytest.raises(VerifyUnusable, match="ORCHESTRATOR_SECRET_S"):
        verify(CASES[name], secrets=secrets)


def test_a_sender_with_two_keys_sends_two_signatures() -> None:
    two = STRIPE["headers"]["Stripe-Signature"].replace(",v1=", ",v1=" + "0" * 64 + ",v1=")
    verify(STRIPE, headers={"Stripe-Signature": two})
    many = "v1,AAAA v1a,BBBB " + STANDARD["headers"]["webhook-signature"]
    verify(STANDARD, headers=STANDARD["headers"] | {"webhook-signature": many})


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"iat": 1900, "iss": "crm", "aud": "hooks"}, "exp"),
        ({"exp": 1900, "iss": "crm", "aud": "hooks"}, "expired"),
        ({"exp": 9000, "nbf": 1990, "iss": "crm", "aud": "hooks"}, "not valid yet"),
        ({"exp": "soon", "iss": "crm", "aud": "hooks"}, "exp"),
        ({"exp": True, "iss": "crm", "aud": "hooks"}, "exp"),
        ({"exp": float("nan"), "iss": "crm", "aud": "hooks"}, "exp"),
        ({"exp": float("inf"), "iss": "crm", "aud": "hooks"}, "exp"),
        ({"exp": 2000, "iss": "else", "aud": "hooks"}, "ssuer"),
        ({"exp": 2000, "iss": "crm", "aud": "else"}, "udience"),
        ({"exp": 2000, "iss": "crm"}, "aud"),
    ],
)
def test_a_token_that_does_not_say_what_was_agreed_is_refused(claims: dict[str, Any], says: str) -> None:
    token = jwt.encode(claims, JWT_KEY)
    with pytest.raises(Unverified, match=says):
        verify(JWT, headers={"Authorization": f"Bearer {token}"})


def public(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", RSA_KEY), ("ES256", EC_KEY)])
def test_a_token_signed_with_a_pinned_key_is_taken(algorithm: str, key: Any) -> None:
    asked = {"scheme": "jwt", "keys": [public(key)], "algorithm": algorithm}
    headers = {"Authorization": "Bearer " + jwt.encode({"exp": 2000}, key, algorithm)}
    check(Verify.model_validate(asked), {}, received(JWT, headers=headers))
    other = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
    stranger = {"Authorization": "Bearer " + jwt.encode({"exp": 2000}, other, algorithm)}
    with pytest.raises(Unverified, match="agreed key"):
        check(Verify.model_validate(asked), {}, received(JWT, headers=stranger))


def test_the_token_does_not_choose_its_algorithm() -> None:
    """The two classics: no signature at all, and the public key taken as an HMAC secret."""
    asked = Verify.model_validate({"scheme": "jwt", "keys": [public(RSA_KEY)], "algorithm": "RS256"})
    unsigned = jwt.encode({"exp": 2000}, "", "none")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    claims = base64.urlsafe_b64encode(b'{"exp":2000}').rstrip(b"=")
    mac = hmac.new(public(RSA_KEY).encode(), head + b"." + claims, hashlib.sha256).digest()
    confused = (head + b"." + claims + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()
    for token in (unsigned, confused):
        with pytest.raises(Unverified):
            check(asked, {}, received(JWT, headers={"Authorization": f"Bearer {token}"}))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"scheme": "hmac"}, "needs `secret`"),
        ({"scheme": "basic", "secret": "S"}, "needs `username`"),
        ({"scheme": "github", "secret": "S", "header": "X"}, "`header` has no meaning for `github`"),
        ({"secret": "S", "tolerance": 5}, "`tolerance` needs `timestamp`"),
        ({"secret": "S", "algorithm": "HS256"}, "sha256"),
        ({"secret": "S", "signed": "x"}, "holds {body}"),
        ({"secret": "S", "signed": "{body}{url}"}, "holds {body}"),
        ({"secret": "S", "timestamp": "T", "signed": "{body}"}, "exactly where"),
        ({"scheme": "jwt"}, "either `secret`"),
        ({"scheme": "jwt", "secret": "S", "keys": ["k"]}, "either `secret`"),
        ({"scheme": "jwt", "keys": ["k"]}, "algorithm: RS256"),
        ({"scheme": "jwt", "secret": "S", "algorithm": "RS256"}, "take `keys`"),
        ({"secret": "my secret!"}, "name of a secret"),
        ({"secret": "S", "header": "a b"}, "name of a header"),
        ({"scheme": "md5", "secret": "S"}, "standard-webhooks"),
    ],
)
def test_a_verification_that_could_not_work_is_refused_at_load(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Verify.model_validate(given)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_arrives_is_refused_in_words_unless_it_is_right(data: st.DataObject) -> None:
    case = CASES[data.draw(st.sampled_from(sorted(CASES)))]
    text = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=60)
    headers = {
        name: data.draw(st.one_of(text, st.just(value[: data.draw(st.integers(0, len(value) // 2))])))
        for name, value in case["headers"].items()
    }
    with warnings.catch_warnings(), pytest.raises(Unverified):
        warnings.simplefilter("error")
        verify(case, headers=headers, now=data.draw(st.sampled_from([0, case["now"], 4_000_000_000])))
