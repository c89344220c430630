"""The pages people look at in a browser: the inbox of tasks and the runs. Plain HTML made here, without scripts."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from orchestrator.client import Client
from orchestrator.gateway.pages import files, inbox, link, name, run, runs, task
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
    api.include_router(runs.router(pages, client))
    # Behind the others: a task's or run's id takes the rest of the path.
    api.include_router(run.router(pages, client))
    api.include_router(task.router(pages, client, project))
    return api
