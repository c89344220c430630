"""Values as files, named by what is in them: the same value is stored once, and a changed file is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from orchestrator.errors import Unavailable

NAME = "orchestrator.file"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PARTIAL = ".part"
_GOING = ".going"


class FolderDriver(StorageDriver):
    """Keeps payloads under ``root``, which every process of an installation must see. Raises Unavailable."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def name(self) -> str:
        """What references name."""
        return NAME

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Write what is not there yet; on return it is on the disk."""
        return [await asyncio.to_thread(self._store, payload.SerializeToString()) for payload in payloads]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read, and compare with the name."""
        return [Payload.FromString(await asyncio.to_thread(self._read, claim.claim_data)) for claim in claims]

    def _store(self, data: bytes) -> StorageDriverClaim:
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        try:
            if not _used_again(path, len(data)):
                _write(path, data)
        except OSError as error:
            raise Unavailable(
                f"a value of {len(data)} bytes cannot be stored in {self.root} ({error.strerror}): make room "
                "or make the folder writable; this is tried again"
            ) from error
        return StorageDriverClaim({"sha256": digest, "size": str(len(data))})

    def _read(self, claim: Mapping[str, str]) -> bytes:
        digest = claim.get("sha256", "")
        if not _DIGEST.fullmatch(digest):
            raise Unavailable(f"a reference to a stored value names no SHA-256 digest but {digest[:80]!r}")
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise Unavailable(
                f"the stored value {digest} is not in {self.root}: this process must see the folder where it was "
                "written (ORCHESTRATOR_PAYLOADS), or the file must come back from a backup; until then the run waits"
            ) from error
        except OSError as error:
            raise Unavailable(
                f"the stored value {path} cannot be read ({error.strerror}); this is tried again"
            ) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise Unavailable(
                f"the stored value {path} was changed or damaged: its content is not what its name says; bring it back "
                "from a backup; until then the run waits"
            )
        return data

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest[2:4] / digest

    # -- what there is ----------------------------------------------------------------------------------------

    def size(self) -> tuple[int, int]:
        """Number of stored values, and their bytes together."""
        sizes = [file.stat().st_size for file in self._files()]
        return len(sizes), sum(sizes)

    def older_than(self, moment: float) -> Iterator[str]:
        """Digests of the values that were last stored before ``moment`` (POSIX seconds)."""
        for file in self._files():
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime < moment:
                    yield file.name

    def size_of(self, digest: str) -> int:
        """Bytes of one value; 0 where it is gone."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def remove(self, digest: str, before: float) -> int:
        """Delete a value unless it is stored again at this moment; the bytes gained."""
        path = self._path(digest)
        going = path.with_name(digest + _GOING)
        try:
            path.rename(going)
        except FileNotFoundError:
            return 0
        # Whoever stored it again before the rename has touched it, and counts on it. Later ones write a new file.
        found = going.stat()
        if found.st_mtime >= before:
            going.rename(path)
            return 0
        going.unlink()
        return found.st_size

    def tidy(self, before: float) -> None:
        """Remove what a killed process left half written or half removed."""
        for file in self.root.glob("??/??/*.*"):
            with contextlib.suppress(FileNotFoundError):
                if file.suffix == _GOING:
                    file.rename(file.with_suffix(""))
                elif file.suffix == _PARTIAL and file.stat().st_mtime < before:
                    file.unlink()

    def _files(self) -> Iterator[Path]:
        return (file for file in self.root.glob("??/??/*") if _DIGEST.fullmatch(file.name))


def _used_again(path: Path, size: int) -> bool:
    """Whether the value is there already. Its age is that of its last use: what is stored again stays."""
    try:
        if path.stat().st_size != size:
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _write(path: Path, data: bytes) -> None:
    """All of it under its name, or nothing: also when the process or the machine dies in between."""
    fresh = _make_folder(path.parent)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_PARTIAL}")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    for folder in (path.parent, *fresh):
        _sync(folder)


def _make_folder(folder: Path) -> list[Path]:
    """Create it, readable to its owner alone; the parents that got a new entry."""
    changed: list[Path] = []
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        changed.append(one.parent)
    return changed


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
