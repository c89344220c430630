"""The pages people look at in a browser: the inbox of tasks and the runs. Plain HTML made here, without scripts."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from orchestrator.client import Client
from orchestrator.gateway.pages import files, name
from orchestrator.gateway.pages.page import Pages
from orchestrator.settings import Settings
from orchestrator.spec.project import Project


def router(client: Client, project: Callable[[], Project], settings: Settings) -> APIRouter:
    """All pages, and the files they load."""
    pages = Pages(client.store, settings)
    api = APIRouter(include_in_schema=False)
    api.include_router(files.router())
    api.include_router(name.router(pages, project))
    return api
