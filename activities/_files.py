"""Files that functions read and write: those of the project, and those that a run keeps for its later steps."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import TerminalError
from orchestrator.steps.attempt import current_step

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")


@dataclass(frozen=True)
class Kept:
    """A file that an earlier step wrote: its path below the folder of its kind, and what was in it."""

    path: str
    sha256: str


class RunFiles:
    """One folder in the state folder, in it a folder for each run. Between steps travel path and hash of a file; the
    data stay here."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def folder(self) -> Path:
        """The folder of all runs."""
        return current_step().settings.state / self._name

    def keep(self, stem: str, suffix: str, content: bytes) -> dict[str, str]:
        """Write a file of this run: ``{path, sha256}``. It is named by its content, so that an attempt that is
        repeated, or one that goes on although its worker was taken for lost, never changes what another step was
        told of."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.folder / _run_folder() / f"{stem}-{digest[:12]}{suffix}"
        replace(path, content)
        return {"path": str(path.relative_to(self.folder)), "sha256": digest}

    def kept(self, file: Kept) -> bytes:
        """The content of a file that a step wrote. Raises TerminalError ``file_changed`` where it is gone or is not
        what the step wrote: such a file is never used."""
        root = self.folder.resolve()
        path = (root / file.path).resolve()
        if not path.is_relative_to(root):
            raise TerminalError("file_changed", f"'{file.path}' is outside the folder {root}")
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise TerminalError("file_changed", f"'{path}' is gone; start a new run") from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise TerminalError("file_changed", f"'{path}' is not what this flow wrote there; start a new run")
        return content


def replace(path: Path, content: bytes) -> None:
    """Write a file as a whole: whoever reads it sees the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)


def project_file(path: str) -> Path:
    """A file in the folders that the file step may touch (``data/``). Raises TerminalError ``path_refused`` and
    ``not_found``."""
    settings = current_step().settings
    project = settings.project_dir.resolve()
    real = (project / path).resolve()
    if not any(real.is_relative_to((project / root).resolve()) for root in settings.file_roots):
        folders = ", ".join(str(root) for root in settings.file_roots)
        raise TerminalError("path_refused", f"'{path}' is outside the folders files may be in: {folders}")
    if not real.is_file():
        raise TerminalError("not_found", f"there is no file '{path}'")
    return real


def _run_folder() -> str:
    run = current_step().run_id
    if _PLAIN.fullmatch(run):
        return run
    return f"run-{hashlib.sha256(run.encode()).hexdigest()[:24]}"
