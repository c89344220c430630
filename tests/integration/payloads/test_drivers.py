"""The drivers: what is stored comes back, once, whole, or not at all."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, StorageDriverClaim, StorageDriverRetrieveContext

from orchestrator.errors import SettingsInvalid, Unavailable
from orchestrator.payloads.converter import THRESHOLD, data_converter
from orchestrator.payloads.folder import FolderDriver
from orchestrator.settings import Settings

LARGE = {"text": "x" * 300_000}


def driver_of(converter: DataConverter) -> Any:
    assert converter.external_storage is not None
    return converter.external_storage.drivers[0]


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def make_unusable(root: Path) -> None:
    """Tests may run as root, whom no permission stops: a file stands where the folder should be."""
    root.parent.mkdir()
    root.write_text("")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(project_dir=tmp_path)


@pytest.fixture
def root(settings: Settings) -> Path:
    return settings.state / "objects"


async def test_a_large_value_becomes_a_reference_and_comes_back(settings: Settings, root: Path) -> None:
    converter = data_converter(settings)
    large, small = await converter.encode([LARGE, {"n": 1}])
    assert large.ByteSize() < 1000
    assert small.data == b'{"n":1}'
    assert len(files(root)) == 1
    assert await converter.decode([large, small]) == [LARGE, {"n": 1}]


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=0, max_size=300), st.integers(0, 3 * THRESHOLD))
async def test_any_value_comes_back_as_it_was(settings: Settings, tail: bytes, size: int) -> None:
    converter = data_converter(settings)
    value = "a" * size + tail.decode("latin-1")
    assert await converter.decode(await converter.encode([value])) == [value]


async def test_the_same_value_is_stored_once_and_counts_as_used_again(settings: Settings, root: Path) -> None:
    converter = data_converter(settings)
    await asyncio.gather(*(converter.encode([LARGE]) for _ in range(20)))
    [file] = files(root)
    os.utime(file, (1, 1))
    await converter.encode([LARGE])
    assert files(root) == [file]
    assert file.stat().st_mtime > time.time() - 60


async def test_only_the_owner_can_read_the_folder(settings: Settings, root: Path) -> None:
    await data_converter(settings).encode([LARGE])
    [file] = files(root)
    assert file.parent.parent.parent == root
    assert {folder.stat().st_mode & 0o777 for folder in (root, file.parent.parent, file.parent)} == {0o700}


async def test_a_missing_value_says_what_to_do(settings: Settings, root: Path) -> None:
    converter = data_converter(settings)
    [payload] = await converter.encode([LARGE])
    [file] = files(root)
    file.unlink()
    with pytest.raises(Unavailable, match=r"ORCHESTRATOR_PAYLOADS.*backup"):
        await converter.decode([payload])


async def test_a_changed_value_is_noticed(settings: Settings, root: Path) -> None:
    converter = data_converter(settings)
    [payload] = await converter.encode([LARGE])
    [file] = files(root)
    file.write_bytes(file.read_bytes().replace(b"x", b"y", 1))
    with pytest.raises(Unavailable, match="changed or damaged"):
        await converter.decode([payload])


async def test_a_truncated_value_is_written_again_by_the_next_use(settings: Settings, root: Path) -> None:
    converter = data_converter(settings)
    [payload] = await converter.encode([LARGE])
    [file] = files(root)
    os.truncate(file, 10)
    await converter.encode([LARGE])
    assert await converter.decode([payload]) == [LARGE]


@pytest.mark.parametrize(
    "digest", ["", "../../etc/passwd", "a" * 63, "A" * 64, "/etc/passwd", "a" * 64 + "\n", "é" * 64]
)
async def test_a_reference_cannot_lead_out_of_the_folder(root: Path, digest: str) -> None:
    claim = StorageDriverClaim({"sha256": digest})
    with pytest.raises(Unavailable, match="no SHA-256 digest"):
        await FolderDriver(root).retrieve(StorageDriverRetrieveContext(), [claim])


async def test_where_nothing_can_be_written_the_reason_is_told(settings: Settings, root: Path) -> None:
    make_unusable(root)
    with pytest.raises(Unavailable, match=r"cannot be stored.*make room"):
        await data_converter(settings).encode([LARGE])


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from orchestrator.payloads.converter import data_converter
from orchestrator.settings import Settings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
converter = data_converter(Settings(project_dir=Path(sys.argv[1])))
try:
    asyncio.run(converter.encode([{"text": "x" * 300_000}]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_leaves_no_half_value_behind(tmp_path: Path, root: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    run = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("Unavailable a value of 300"), run.stderr
    assert "make room" in run.stdout
    assert files(root) == []


async def test_none_keeps_everything_in_temporal_and_still_reads_what_was_stored(settings: Settings) -> None:
    [stored] = await data_converter(settings).encode([LARGE])
    none = data_converter(Settings(project_dir=settings.project_dir, payloads="none"))
    [inline] = await none.encode([LARGE])
    assert len(inline.data) > 300_000
    assert await none.decode([stored]) == [LARGE]


async def test_a_process_without_any_storage_names_the_reason(settings: Settings) -> None:
    [stored] = await data_converter(settings).encode([LARGE])
    with pytest.raises(RuntimeError, match="external storage is not configured"):
        await DataConverter.default.decode([stored])


# -- S3 ---------------------------------------------------------------------------------------------------------


def keys(endpoint: str) -> list[str]:
    import boto3

    listed = boto3.client("s3", endpoint_url=endpoint).list_objects_v2(Bucket="values")
    return [entry["Key"] for entry in listed.get("Contents", [])]


@pytest.fixture
async def bucket(s3: str, tmp_path: Path) -> AsyncIterator[tuple[DataConverter, str]]:
    prefix = tmp_path.name
    converter = data_converter(Settings(project_dir=tmp_path, payloads=f"s3://values/{prefix}?endpoint={s3}"))
    yield converter, prefix
    await driver_of(converter).aclose()


async def test_a_bucket_keeps_large_values_under_its_prefix(bucket: tuple[DataConverter, str], s3: str) -> None:
    converter, prefix = bucket
    [payload] = await converter.encode([LARGE])
    [again] = await converter.encode([LARGE])
    assert payload == again
    assert [key for key in keys(s3) if key.startswith(f"{prefix}/")].__len__() == 1
    assert await converter.decode([payload]) == [LARGE]


async def test_a_missing_object_and_a_changed_one_are_told(bucket: tuple[DataConverter, str], s3: str) -> None:
    import boto3

    converter, prefix = bucket
    [payload] = await converter.encode([LARGE])
    [key] = [key for key in keys(s3) if key.startswith(f"{prefix}/")]
    client = boto3.client("s3", endpoint_url=s3)
    client.put_object(Bucket="values", Key=key, Body=Payload(data=b"other").SerializeToString())
    with pytest.raises(Unavailable, match="integrity"):
        await converter.decode([payload])
    client.delete_object(Bucket="values", Key=key)
    with pytest.raises(Unavailable, match=r"NoSuchKey|does not exist"):
        await converter.decode([payload])


async def test_a_claim_cannot_name_another_bucket(bucket: tuple[DataConverter, str]) -> None:
    claim = StorageDriverClaim({"bucket": "others", "key": "k", "hash_algorithm": "sha256", "hash_value": "0"})
    with pytest.raises(Unavailable, match="'others'"):
        await driver_of(bucket[0]).retrieve(StorageDriverRetrieveContext(), [claim])


async def test_a_bucket_that_cannot_be_reached_is_told(tmp_path: Path, s3: str) -> None:
    for text, what in (
        ("s3://nowhere?endpoint=" + s3, "nowhere"),
        ("s3://values?endpoint=http://127.0.0.1:1&region=us-east-1", "127.0.0.1:1"),
    ):
        converter = data_converter(Settings(project_dir=tmp_path, payloads=text))
        with pytest.raises(Unavailable, match=what):
            await converter.encode([LARGE])
        await driver_of(converter).aclose()


async def test_files_stored_before_the_change_to_a_bucket_are_still_read(
    bucket: tuple[DataConverter, str], settings: Settings
) -> None:
    [stored] = await data_converter(settings).encode([LARGE])
    assert await bucket[0].decode([stored]) == [LARGE]


async def test_a_value_in_a_bucket_says_which_setting_is_missing(
    bucket: tuple[DataConverter, str], settings: Settings
) -> None:
    [stored] = await bucket[0].encode([LARGE])
    with pytest.raises(Unavailable, match="ORCHESTRATOR_PAYLOADS"):
        await data_converter(settings).decode([stored])


def test_without_the_packages_the_setting_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setitem(sys.modules, "aioboto3", None)
    with pytest.raises(SettingsInvalid, match=r"orchestrator\[s3\]"):
        data_converter(Settings(payloads="s3://bucket"))
