"""What ORCHESTRATOR_PAYLOADS may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import SettingsInvalid
from orchestrator.payloads.place import Place, place_of
from orchestrator.settings import Settings

HOME = Path("/srv/project")


def place(text: str) -> Place:
    return place_of(Settings(project_dir=HOME, payloads=text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Place("none")),
        ("file", Place("file", HOME / ".orchestrator" / "objects")),
        ("file:///data/objects", Place("file", Path("/data/objects"))),
        ("file://localhost/data/with%20space", Place("file", Path("/data/with space"))),
        ("s3://bucket", Place("s3", bucket="bucket")),
        ("s3://bucket/", Place("s3", bucket="bucket")),
        ("s3://my.bucket/a/b/?region=eu-west-1", Place("s3", bucket="my.bucket", prefix="a/b", region="eu-west-1")),
        (
            "s3://bucket/p?endpoint=http://127.0.0.1:9000",
            Place("s3", bucket="bucket", prefix="p", endpoint="http://127.0.0.1:9000"),
        ),
    ],
)
def test_a_place_is_read(text: str, expected: Place) -> None:
    assert place(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "write file"),
        ("files", "write file"),
        ("/data", "write file"),
        ("file://data", "absolute"),
        ("file://", "absolute"),
        ("gs://bucket", "write file"),
        ("s3://", "no name of a bucket"),
        ("s3://UPPER", "no name of a bucket"),
        ("s3://bucket?endpont=http://a", "'endpont' is no option"),
        ("s3://bucket?endpoint=a:9000", "endpoint is the URL"),
        ("s3://[", "cannot be used"),
    ],
)
def test_anything_else_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(SettingsInvalid, match=why) as caught:
        place(text)
    assert "ORCHESTRATOR_PAYLOADS" in str(caught.value)


def test_without_a_place_a_value_may_have_what_temporal_carries() -> None:
    assert Settings().largest_payload == 50_000_000
    assert Settings(payloads="none").largest_payload == 1_900_000
    assert Settings(payloads="none", payload_limit=1000).largest_payload == 1000


@pytest.mark.parametrize(("name", "text"), [("PAYLOAD_LIMIT", "0"), ("CODEC_ORIGINS", "127.0.0.1:8233")])
def test_settings_about_payloads_are_checked(name: str, text: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        Settings.from_environment({f"ORCHESTRATOR_{name}": text})


def test_origins_are_a_list() -> None:
    settings = Settings.from_environment({"ORCHESTRATOR_CODEC_ORIGINS": "http://a:1/, https://b"})
    assert settings.codec_origins == ("http://a:1", "https://b")
