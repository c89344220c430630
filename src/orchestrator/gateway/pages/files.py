"""The files pages load: one stylesheet and one icon, named by their content so that browsers may keep them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from orchestrator.spec.graph.style import STYLE

PREFIX = "/pages"
_FOLDER = Path(__file__).parent / "static"
_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


@cache
def style() -> tuple[str, bytes]:
    """Path and text of the stylesheet: ``base.css``, then those of the pages by name, then that of flows' graphs."""
    names = sorted(_FOLDER.glob("*.css"), key=lambda file: (file.name != "base.css", file.name))
    text = b"\n".join([*(file.read_bytes() for file in names), STYLE.encode()])
    return _named("style", "css", text), text


@cache
def icon() -> tuple[str, bytes]:
    """Path and text of the icon."""
    text = (_FOLDER / "icon.svg").read_bytes()
    return _named("icon", "svg", text), text


def router() -> APIRouter:
    """The files. A path of an older release is gone with it."""
    api = APIRouter(prefix=PREFIX, include_in_schema=False)

    @api.get("/{name}")
    async def show(name: str) -> Response:
        for (path, text), kind in ((style(), "text/css"), (icon(), "image/svg+xml")):
            if path == f"{PREFIX}/{name}":
                return Response(text, 200, _HEADERS, kind)
        raise HTTPException(404)

    return api


def _named(name: str, ending: str, text: bytes) -> str:
    return f"{PREFIX}/{name}.{hashlib.sha256(text).hexdigest()[:12]}.{ending}"
