"""Who is meant by the name of a contact."""

from __future__ import annotations

from pydantic import ValidationError

from orchestrator.errors import TerminalError
from orchestrator.spec.contacts import Contact
from orchestrator.steps.context import StepContext


def contact(name: str, context: StepContext) -> Contact:
    """The contact's entry, its secrets filled in. Raises TerminalError ``not_found``, ``invalid_config``, or
    ``missing_secret``."""
    if name in context.project.contacts and context.project.contacts[name] is None:
        return Contact()
    found = context.entry("contacts", name, Contact)
    try:
        found.hook()
    except ValidationError as error:
        message = f"contacts.{name}.webhook in orchestrator.yaml is no address: it begins with http:// or https://"
        raise TerminalError("invalid_config", message) from error
    return found


def reached(name: str, context: StepContext) -> dict[str, Contact | TerminalError]:
    """Who is told when ``name`` is: the contact itself where it has a way of its own, otherwise its members, and the
    members of groups among them, each once. A member that cannot be told stands there with the reason; the contact
    itself raises it."""
    first = contact(name, context)
    if _has_way(first):
        return {name: first}
    if not first.members:
        raise _no_way(name)
    found: dict[str, Contact | TerminalError] = {}
    _gather(first.members, context, found, {name})
    return found


def addresses_of(name: str, context: StepContext) -> list[str]:
    """The e-mail addresses of the contact: its own, otherwise those of its members. Raises TerminalError where there
    are none."""
    found: dict[str, None] = {}
    seen: dict[str, None] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop(0)
        if one in seen:
            continue
        seen[one] = None
        entry = contact(one, context)
        own = entry.addresses()
        found.update(dict.fromkeys(own))
        waiting += [] if own else entry.members
    if not found:
        raise TerminalError("no_way", f"contact '{name}' has no e-mail address: give it `email` in orchestrator.yaml")
    return list(found)


def _gather(
    members: list[str], context: StepContext, found: dict[str, Contact | TerminalError], seen: set[str]
) -> None:
    for name in members:
        if name in seen:
            continue
        seen.add(name)
        try:
            entry = contact(name, context)
        except TerminalError as error:
            found[name] = error
            continue
        if _has_way(entry):
            found[name] = entry
        elif entry.members:
            _gather(entry.members, context, found, seen)
        else:
            found[name] = _no_way(name)


def _has_way(entry: Contact) -> bool:
    return bool(entry.addresses() or entry.slack or entry.webhook)


def _no_way(name: str) -> TerminalError:
    message = f"contact '{name}' cannot be told anything: give it `email`, `slack`, `webhook` or `members`"
    return TerminalError("no_way", f"{message} in orchestrator.yaml")
