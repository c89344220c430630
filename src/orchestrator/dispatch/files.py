"""From files that appear in watched folders, or are uploaded, to runs."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import mimetypes
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from orchestrator.admission import now_text
from orchestrator.client import OVER, Client, Run
from orchestrator.client.starting import body_hash
from orchestrator.client.triggers import Declared, Triggers
from orchestrator.dispatch.loops import side_by_side
from orchestrator.dispatch.rules import Rules
from orchestrator.errors import Conflict, NotFound, OrchestratorError, Refused, Unavailable
from orchestrator.settings import Settings
from orchestrator.spec.definition import Json
from orchestrator.store.files import SeenFile

_LOGGER = logging.getLogger("orchestrator.dispatch")
POLL = 0.5
"""Seconds between two looks at the folders."""
ASK, ASK_AT_MOST, ASK_LATER = 1.0, 5.0, 60.0
"""Seconds between two questions whether a file's run is over, doubled from one to the next: at first, at most while it
goes on, and at most after it has failed (somebody may retry it)."""
SHARE = 5.0
"""How many times the CPU time of a look is rested after it, at least."""
AT_ONCE = 10
"""Files read and runs started at the same time."""
AT_A_LOOK = 100
"""Files of one folder that are seen to before the next folder's, and before what is done with those that had their run:
thousands that come together keep nobody waiting."""
_MOST_SAID = 1_000
MOST = 10_000
"""Files of one folder that are looked at."""
_BLOCK = 1 << 20

Stamp = tuple[int, int]
"""Time of the last change (ns) and size: what changes when a file is written."""


@dataclass(slots=True)
class _Look:
    """What is known of a file that was seen."""

    stamp: Stamp
    since: float
    done: bool = False


@dataclass(slots=True)
class _Waiting:
    """A file whose run has to succeed before something is done with it."""

    declared: Declared
    path: Path
    stamp: Stamp
    run_id: str
    due: float = 0.0
    pause: float = ASK

    def ask_again(self, most: float) -> None:
        """Ask later, and later from time to time."""
        self.due = time.monotonic() + min(self.pause, most)
        self.pause = min(self.pause * 2, ASK_LATER)

    @property
    def key(self) -> tuple[str, str, Path]:
        """Other flows may watch the same folder."""
        return self.declared.flow, self.declared.id, self.path


class FileStarts:
    """Starts the run of a file, once for what makes it the same: its content, or the trigger's ``idempotency_key``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, rules: Rules, file: dict[str, Json]) -> SeenFile | None:
        """What is known of the file after it has a run, or was refused one; None where the trigger's ``if`` does not
        want it. ``file`` is the member of ``trigger``. Raises Unavailable, and Refused where an expression fails."""
        declared, files = rules.declared, self._client.store.files
        trigger = {
            "type": "file",
            "id": declared.id,
            "time": now_text(),
            "body": {"file": file},
            "file": file,
        }
        if not rules.applies({"trigger": trigger}):
            return None
        key = rules.key(trigger) or str(file["sha256"])
        seen = await files.see(
            declared.flow, declared.id, key, path=file["path"], size=file["size"], sha256=file["sha256"]
        )
        if seen.run_id is not None or (seen.problem is not None and seen.version == declared.version):
            return seen
        try:
            run = await self._client.start(
                declared.flow,
                rules.inputs(trigger),
                version=declared.version,
                trigger=trigger,
                idempotency_key=f"file {declared.id} {key}",
                digest=body_hash(key),
            )
        except Unavailable:
            raise
        except OrchestratorError as error:
            await files.refused(seen, f"{error.code}: {error}", declared.version)
        else:
            await files.started(seen, run.id, declared.version)
        return await files.see(
            declared.flow, declared.id, key, path=file["path"], size=file["size"], sha256=file["sha256"]
        )


class FolderWatcher:
    """Looks at the folders of file triggers. What it knows of them is rebuilt by looking: after a restart every file is
    read again, and those that had their run are recognised."""

    name = "files"

    def __init__(self, client: Client) -> None:
        self._client = client
        self._triggers = Triggers(client.store, "file")
        self._starts = FileStarts(client)
        self._looks: dict[tuple[str, str, str], dict[Path, _Look]] = {}
        self._waiting: dict[tuple[str, str, Path], _Waiting] = {}
        self._said: set[str] = set()
        self._cost = 0.0
        self._room = asyncio.Semaphore(AT_ONCE)

    async def turn(self) -> None:
        """One look at every folder. Raises Unavailable."""
        self._cost = 0.0
        declared = await self._triggers.all()
        known = {(one.flow, one.id, one.version): one for one in declared}
        self._looks = {key: looks for key, looks in self._looks.items() if key in known}
        for key, one in known.items():
            await self._look(one, self._looks.setdefault(key, {}))
        now = time.monotonic()
        await side_by_side(self._finish(one) for one in list(self._waiting.values()) if one.due <= now)
        # Folders that take long to look at are looked at less often.
        await asyncio.sleep(max(POLL, SHARE * self._cost))

    async def _look(self, one: Declared, looks: dict[Path, _Look]) -> None:
        try:
            found, cost = await asyncio.to_thread(_timed_files, one, self._client.settings)
            self._cost += cost
        except (OSError, Refused) as error:
            self._say(f"the folder '{one.trigger['path']}' of flow '{one.flow}' is not watched: {error}")
            return
        for gone in [path for path in looks if path not in found]:
            del looks[gone]
        now, settle = time.monotonic(), float(one.trigger.get("settle", 2.0))
        due: list[Path] = []
        for path, stamp in found.items():
            look = looks.get(path)
            if look is None or look.stamp != stamp:
                looks[path] = look = _Look(stamp, now)
            if not look.done and now - look.since >= settle:
                due.append(path)

        async def see_to(path: Path) -> None:
            async with self._room:
                looks[path].done = await self._start(one, path, found[path])
                # What could not be read stands behind what was not tried yet.
                looks[path].since = time.monotonic()

        due.sort(key=lambda path: looks[path].since)
        await side_by_side(see_to(path) for path in due[:AT_A_LOOK])

    async def _start(self, one: Declared, path: Path, stamp: Stamp) -> bool:
        """Start a file's run; whether it has been seen to. Raises Unavailable."""
        try:
            digest = await asyncio.to_thread(_digest, path)
            if _stamp(path) != stamp:
                return False
            seen = await self._starts.start(
                Rules(one), described(path.name, shown(path, self._client.settings), stamp[1], digest)
            )
        except OSError as error:
            self._say(f"'{path}' cannot be read: {error.strerror or error}")
            return False
        except (Refused, Conflict) as error:
            self._say(f"'{path}' starts no run of flow '{one.flow}': {error}")
            return True
        if seen is None:
            return True
        if seen.problem is not None:
            self._say(f"'{path}' started no run of flow '{one.flow}': {seen.problem}")
        if seen.run_id is not None and one.trigger.get("after", "keep") != "keep":
            waiting = _Waiting(one, path, stamp, seen.run_id)
            self._waiting[waiting.key] = waiting
        return True

    async def _finish(self, waiting: _Waiting) -> None:
        """Do what ``after`` says once the run, or one that goes on from it, has completed. Raises Unavailable."""
        async with self._room:
            await self._look_after(waiting)

    async def _look_after(self, waiting: _Waiting) -> None:
        try:
            info = await Run(self._client.temporal, waiting.run_id).info()
            if info.status in OVER and info.status != "completed":
                latest = await self._client.next_of(info)
                if latest is None:
                    self._say(f"'{waiting.path}' stays where it is: its run {info.id} is {info.status}")
                    waiting.ask_again(ASK_LATER)
                    return
                waiting.run_id, info = latest.id, latest
        except NotFound:
            del self._waiting[waiting.key]
            return
        if info.status != "completed":
            waiting.ask_again(ASK_AT_MOST)
            return
        del self._waiting[waiting.key]
        try:
            await asyncio.to_thread(_put_away, waiting, self._client.settings)
        except (OSError, Refused, shutil.Error) as error:
            self._say(f"'{waiting.path}' stays where it is: {error}")

    def _say(self, text: str) -> None:
        if text not in self._said:
            if len(self._said) >= _MOST_SAID:
                self._said.clear()
            self._said.add(text)
            _LOGGER.warning("%s", text)


def described(name: str, path: str, size: int, digest: str, content_type: str | None = None) -> dict[str, Json]:
    """A file as flows see it; steps read it by its ``ref``."""
    kind = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"name": name, "path": path, "size": size, "sha256": digest, "content_type": kind, "ref": path}


def shown(path: Path, settings: Settings) -> str:
    """A path as authors write it: relative to the project where it lies inside."""
    project = settings.project_dir.resolve()
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)


def _folder(written: str, settings: Settings) -> Path:
    """A folder that an author named. Raises Refused unless it is inside a file root."""
    project = settings.project_dir.resolve()
    real = (project / written).resolve()
    roots = [(project / root).resolve() for root in settings.file_roots]
    if not any(real.is_relative_to(root) for root in roots):
        listed = ", ".join(f"'{shown(root, settings)}/'" for root in roots) or "none"
        raise Refused(
            f"'{written}' is outside the folders files may be in: {listed}; move it there, or add its folder to "
            "ORCHESTRATOR_FILE_ROOTS"
        )
    return real


def _timed_files(one: Declared, settings: Settings) -> tuple[dict[Path, Stamp], float]:
    """The files, and the seconds of CPU time that took. Raises OSError, Refused."""
    began = time.thread_time()
    found = _files(one, settings)
    return found, time.thread_time() - began


def _files(one: Declared, settings: Settings) -> dict[Path, Stamp]:
    """The files of a trigger's folder. Raises OSError, Refused."""
    folder = _folder(str(one.trigger["path"]), settings)
    if not folder.is_dir():
        raise Refused("there is no such folder")
    away = _away(one)
    target = None if away is None else _folder(away, settings)
    found: dict[Path, Stamp] = {}
    for path in _candidates(folder, str(one.trigger.get("pattern", "*"))):
        if target is not None and path.parent == target:
            continue
        try:
            if path.is_file() and path.resolve() == path:
                found[path] = _stamp(path)
        except OSError:
            continue  # Gone since it was listed.
        if len(found) > MOST:
            raise Refused(f"it holds more than {MOST} files; move those that are done away (`after`)")
    return found


def _candidates(folder: Path, pattern: str) -> Iterator[Path]:
    """What the pattern names, hidden files and names that are no text left out."""
    for path in sorted(folder.glob(pattern)):
        names = PurePath(path).relative_to(folder).parts
        if not any(name.startswith(".") for name in names) and all(_is_text(name) for name in names):
            yield path


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _away(one: Declared) -> str | None:
    """The folder for files that are done."""
    after = one.trigger.get("after", "keep")
    return str(after["move"]) if isinstance(after, dict) else None


def _put_away(waiting: _Waiting, settings: Settings) -> None:
    """Delete or move a file, unless somebody has written it anew. Raises OSError, Refused, shutil.Error."""
    path = waiting.path
    if not path.is_file() or _stamp(path) != waiting.stamp:
        return
    away = _away(waiting.declared)
    if away is None:
        path.unlink(missing_ok=True)
        return
    folder = _folder(away, settings)
    folder.mkdir(parents=True, exist_ok=True)
    target, number = folder / path.name, 1
    while target.exists():
        target, number = folder / f"{path.stem}-{number}{path.suffix}", number + 1
    shutil.move(path, target)
