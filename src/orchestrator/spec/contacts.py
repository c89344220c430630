"""Contacts as they are declared: ``contacts`` of orchestrator.yaml. People, groups and channels that flows name."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orchestrator.spec.acts.http import Auth, Scalar
from orchestrator.spec.base import Spec
from orchestrator.spec.findings import Findings, check_model
from orchestrator.spec.source import Path

Json = Any


class ContactWebhook(Spec):
    """An address that news is posted to as JSON."""

    url: str = Field(pattern=r"^https?://[^/?#\s]")
    headers: dict[str, Scalar] = Field(default_factory=dict)
    auth: Auth | None = None


class Contact(Spec):
    """One entry under ``contacts``: a person or a channel with its ways, or a group with its ``members``. All of it is
    optional: an entry that is only a name can be given human tasks."""

    description: str | None = None
    name: str | None = None
    """How the person or group is called, for people."""
    email: str | list[str] = Field(default=[])
    slack: str | None = Field(None, min_length=1)
    """A channel such as ``#ops``, or a member's id."""
    webhook: str | ContactWebhook | None = None
    members: list[str] = Field(default=[])
    """Names of other contacts; groups may lie in groups."""

    def addresses(self) -> list[str]:
        """Its own e-mail addresses."""
        return [self.email] if isinstance(self.email, str) else list(self.email)

    def hook(self) -> ContactWebhook | None:
        """Its own webhook. Raises pydantic's ValidationError where the address is none."""
        if isinstance(self.webhook, str):
            return ContactWebhook(url=self.webhook)
        return self.webhook


def check_contacts(entries: Json, findings: Findings) -> None:
    """Report every entry under ``contacts`` that could never be told anything. A text with a secret in it stands for
    any text."""
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        path = ("contacts", name)
        raw = {} if entry is None else entry
        check_model(Contact, raw, findings, path, f" in the contact `{name}`", templates=True)
        hook = raw.get("webhook") if isinstance(raw, dict) else None
        if isinstance(hook, str):
            where = f" in the contact `{name}`"
            moved: dict[str, Path] = {"url": (*path, "webhook")}
            check_model(ContactWebhook, {"url": hook}, findings, path, where, templates=True, moved=moved)
