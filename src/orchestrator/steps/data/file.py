"""The ``file`` step: files in the folders this installation allows, and nowhere else."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.errors import NotFound, StepError, TerminalError, Unavailable
from orchestrator.settings import Settings
from orchestrator.spec.acts.file import BASE64, FileConfig
from orchestrator.spec.moment import moment_text
from orchestrator.steps.context import STORE, Json, StepContext, current_step
from orchestrator.store.database import Store
from orchestrator.store.uploads import SCHEME

TYPE = "file"
CONFIG = FileConfig

LIMIT = 10_000_000
"""Bytes a file may have to be read or written."""
_MAX_ENTRIES = 10_000


async def run(config: FileConfig, context: StepContext) -> Json:
    """Do the operation in a thread; outputs as FileConfig lists them.

    Raises TerminalError ``not_found``, ``path_refused``, ``permission_denied``, ``payload_too_large``,
    ``invalid_encoding`` or ``file_error``, and StepError ``file_error`` where the disk may recover.
    """
    if config.path.startswith(SCHEME):
        return await _of_upload(config)
    operation = _OPERATIONS[config.operation]
    roots = _Roots(context.settings)
    return await asyncio.to_thread(_guarded, operation, config, roots, context.attempt)


async def read_bytes(path: str, settings: Settings) -> tuple[Path, bytes]:
    """A file other steps may send, with its content; ``path`` may be a reference to an upload. Raises as ``run``."""
    if path.startswith(SCHEME):
        name, content = await _upload(path)
        return Path(name), content

    def read() -> tuple[Path, bytes]:
        found = _Roots(settings).resolve(path)
        with _mapped_errors(path):
            return found, _content(found, path)

    return await asyncio.to_thread(read)


def place_of(path: str, settings: Settings) -> Path:
    """Where a file is that an author named, links followed. Raises TerminalError unless it is inside a folder that
    files may be in."""
    return _Roots(settings).resolve(path)


async def _upload(reference: str) -> tuple[str, bytes]:
    """Name and content of a file that came with a delivery: in the store, not in a folder."""
    store: Store | None = current_step().resources.lent(STORE)
    if store is None:
        raise TerminalError("store_missing", "this worker has no store, and uploads are kept there")
    try:
        name, content = await store.uploads.read(reference)
    except NotFound as error:
        raise TerminalError("not_found", str(error)) from error
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    _within_limit(len(content), reference)
    return name, content


async def _of_upload(config: FileConfig) -> Json:
    """``read`` and ``stat`` of an upload, which nothing can change."""
    if config.operation not in ("read", "stat"):
        raise TerminalError(
            "path_refused", f"an upload is only read: `{config.operation}` works on files; write its content to one"
        )
    name, content = await _upload(config.path)
    if config.operation == "stat":
        return {"path": config.path, "exists": True, "type": "file", "size": len(content), "name": name}
    digest = hashlib.sha256(content).hexdigest()
    return {"path": config.path, "content": _decoded(content, config), "size": len(content), "sha256": digest}


class _Roots:
    """The folders that may be touched."""

    def __init__(self, settings: Settings) -> None:
        self._project = settings.project_dir.resolve()
        self._roots = [(self._project / root).resolve() for root in settings.file_roots]

    def resolve(self, path: str) -> Path:
        """The real place of ``path``, links followed. Raises TerminalError unless it is inside a root."""
        if not path.strip() or "\0" in path:
            raise TerminalError("invalid_config", "the path is empty or holds a zero character")
        try:
            real = (self._project / path).resolve()
        except (OSError, RuntimeError) as error:
            raise TerminalError("path_refused", f"'{path}' cannot be followed: {error}") from error
        if any(real.is_relative_to(root) for root in self._roots):
            return real
        roots = ", ".join(f"'{self.shown(root)}/'" for root in self._roots) or "none"
        raise TerminalError(
            "path_refused",
            f"'{path}' is outside the folders files may be in: {roots}; move it there, "
            "or add its folder to ORCHESTRATOR_FILE_ROOTS",
        )

    def is_root(self, real: Path) -> bool:
        """Whether this is one of the folders themselves."""
        return real in self._roots

    def shown(self, real: Path) -> str:
        """The path as authors write it."""
        return str(real.relative_to(self._project)) if real.is_relative_to(self._project) else str(real)


_Operation = Callable[[FileConfig, _Roots, Path, int], Json]


def _guarded(operation: _Operation, config: FileConfig, roots: _Roots, attempt: int) -> Json:
    real = roots.resolve(config.path)
    with _mapped_errors(config.path):
        return operation(config, roots, real, attempt)


@contextlib.contextmanager
def _mapped_errors(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise TerminalError("not_found", f"there is no '{path}'") from error
    except PermissionError as error:
        raise TerminalError("permission_denied", f"the worker may not touch '{path}': {error.strerror}") from error
    except OSError as error:
        passing = error.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EIO,
            errno.EMFILE,
            errno.ENFILE,
            errno.EAGAIN,
        )
        kind = StepError if passing else TerminalError
        raise kind("file_error", f"'{path}': {error.strerror or error}") from error


def _content(real: Path, path: str) -> bytes:
    if real.is_dir():
        raise TerminalError("file_error", f"'{path}' is a folder; 'operation: list' shows what is in it")
    with real.open("rb") as file:
        content = file.read(LIMIT + 1)
    _within_limit(len(content), path)
    return content


def _within_limit(size: int, path: str) -> None:
    if size > LIMIT:
        raise TerminalError("payload_too_large", f"'{path}' is larger than the {LIMIT} bytes a file step handles")


def _read(config: FileConfig, roots: _Roots, real: Path, _attempt: int) -> Json:
    content = _content(real, config.path)
    return {
        "path": roots.shown(real),
        "content": _decoded(content, config),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "modified": _instant(real.stat().st_mtime),
    }


def _decoded(content: bytes, config: FileConfig) -> str:
    if config.encoding == BASE64:
        return base64.b64encode(content).decode()
    try:
        return content.decode(config.encoding)
    except UnicodeDecodeError as error:
        raise TerminalError(
            "invalid_encoding",
            f"'{config.path}' is not {config.encoding} text (byte {error.start}); name its encoding, "
            "or read it with 'encoding: base64'",
        ) from error


def _encoded(config: FileConfig) -> bytes:
    text = config.content if isinstance(config.content, str) else json.dumps(config.content, ensure_ascii=False)
    try:
        content = base64.b64decode(text, validate=True) if config.encoding == BASE64 else text.encode(config.encoding)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise TerminalError("invalid_encoding", f"the content cannot be {config.encoding}: {error}") from error
    _within_limit(len(content), config.path)
    return content


def _write(config: FileConfig, roots: _Roots, real: Path, _attempt: int) -> Json:
    content = _encoded(config)
    real.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=real.parent, prefix=".writing-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(real.stat().st_mode & 0o777 if real.exists() else 0o644)
        temporary.replace(real)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return {"path": roots.shown(real), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _append(config: FileConfig, roots: _Roots, real: Path, _attempt: int) -> Json:
    content = _encoded(config)
    real.parent.mkdir(parents=True, exist_ok=True)
    # One unbuffered write of a file opened for appending: lines of concurrent steps do not mix.
    with real.open("ab", buffering=0) as file:
        written = file.write(content)
        if written != len(content):
            raise OSError(errno.ENOSPC, f"only {written} of {len(content)} bytes were written")
    return {"path": roots.shown(real), "size": real.stat().st_size}


def _list(config: FileConfig, roots: _Roots, real: Path, _attempt: int) -> Json:
    if real.exists() and not real.is_dir():
        raise TerminalError("file_error", f"'{config.path}' is a file; 'list' takes a folder")
    entries = sorted(real.iterdir(), key=lambda entry: entry.name)
    if len(entries) > _MAX_ENTRIES:
        raise TerminalError("payload_too_large", f"'{config.path}' holds more than {_MAX_ENTRIES} entries")
    return {
        "path": roots.shown(real),
        "entries": [found for entry in entries if (found := _entry(entry, roots))],
    }


def _entry(entry: Path, roots: _Roots) -> dict[str, Json] | None:
    try:
        return {"name": entry.name, "path": roots.shown(entry)} | _facts(entry)
    except FileNotFoundError:
        return None  # gone since it was listed


def _facts(real: Path) -> dict[str, Json]:
    status = real.lstat()
    kind = "link" if real.is_symlink() else "folder" if real.is_dir() else "file"
    return {"type": kind, "size": status.st_size, "modified": _instant(status.st_mtime)}


def _move(config: FileConfig, roots: _Roots, real: Path, attempt: int) -> Json:
    assert config.to is not None
    target = roots.resolve(config.to)
    if roots.is_root(real) or roots.is_root(target):
        raise TerminalError("path_refused", "a whole file root cannot be moved or replaced")
    if target.is_dir():
        raise TerminalError("file_error", f"'{config.to}' is a folder; write the full new path of the file")
    done_before = attempt > 1 and not real.exists() and target.exists()
    if not done_before:
        if not real.exists():
            raise FileNotFoundError
        target.parent.mkdir(parents=True, exist_ok=True)
        real.replace(target)
    return {"path": roots.shown(real), "to": roots.shown(target)}


def _delete(config: FileConfig, roots: _Roots, real: Path, _attempt: int) -> Json:
    if real.is_dir():
        raise TerminalError("file_error", f"'{config.path}' is a folder; 'delete' removes files")
    try:
        real.unlink()
    except FileNotFoundError:
        return {"path": roots.shown(real), "deleted": False}
    return {"path": roots.shown(real), "deleted": True}


def _stat(config: FileConfig, roots: _Roots, real: Path, _attempt: int) -> Json:
    if not real.exists():
        return {"path": roots.shown(real), "exists": False}
    return {"path": roots.shown(real), "exists": True} | _facts(real)


def _instant(seconds: float) -> str:
    return moment_text(datetime.fromtimestamp(seconds, UTC))


_OPERATIONS: dict[str, _Operation] = {
    "read": _read,
    "write": _write,
    "append": _append,
    "list": _list,
    "move": _move,
    "delete": _delete,
    "stat": _stat,
}
