"""The pages people look at in a browser: the inbox of tasks and the runs. Plain HTML made here, without scripts."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from orchestrator.client import Client
from orchestrator.gateway.pages import files, inbox, link, name, task
from orchestrator.gateway.pages.page import Pages
from orchestrator.settings import Settings
from orchestrator.spec.project import Project


def router(client: Client, project: Callable[[], Project], settings: Settings) -> APIRouter:
    """All pages, and the files they load."""
    pages = Pages(client.store, settings)
    api = APIRouter(include_in_schema=False)
    api.include_router(files.router())
    api.include_router(name.router(pages, project))
    api.include_router(link.router(pages, client))
    api.include_router(inbox.router(pages, client, project))
    # Behind the others: a task's id takes the rest of the path.
    api.include_router(task.router(pages, client, project))
    return api
