"""Who is meant by the name of a task's assignee or group."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.spec.acts.human_task import folded
from orchestrator.spec.definition import Json


def people_behind(contacts: Mapping[str, Json], name: str) -> list[str] | None:
    """The members of a declared contact and of the groups among them, each once. None where nobody declared any: the
    name may be that of a person, or of a team that is known elsewhere."""
    if not _members(contacts, name):
        return None
    found: dict[str, None] = {}
    _gather(contacts, name, found, {})
    return list(found)


def names_of(contacts: Mapping[str, Json], person: str) -> list[str]:
    """The names under which a person is given tasks: their own, as the contacts write it, then the groups that they are
    a member of, also through groups among the members."""
    own = declared_name(contacts, person)
    groups = [name for name in contacts if name != own and own in (people_behind(contacts, name) or [])]
    return list(dict.fromkeys([own, *groups]))


def declared_name(contacts: Mapping[str, Json], person: str) -> str:
    """A person's name as the contacts write it; as it was given where they do not know it."""
    known = [*contacts, *(member for name in contacts for member in _members(contacts, name))]
    same = [name for name in known if folded(name) == folded(person)]
    return person.strip() if not same else person if person in same else same[0]


def _members(contacts: Mapping[str, Json], name: str) -> list[str]:
    contact = contacts.get(name)
    members = contact.get("members") if isinstance(contact, Mapping) else None
    return [str(member) for member in members] if isinstance(members, list) else []


def _gather(contacts: Mapping[str, Json], name: str, found: dict[str, None], seen: dict[str, None]) -> None:
    if name in seen:
        return
    seen[name] = None
    members = _members(contacts, name)
    if not members:
        found[name] = None
    for member in members:
        _gather(contacts, member, found, seen)
