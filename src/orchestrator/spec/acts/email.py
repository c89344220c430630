"""Config of ``email``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from orchestrator.spec.base import ActConfig, Spec, act


class EmailAttachment(Spec):
    """A file that goes with the message: exactly one of ``file``, ``text``, ``base64`` and ``json``."""

    name: str | None = Field(None, min_length=1)
    """What it is called; a ``file`` brings its own name."""
    file: str | None = None
    """A path in the folders of the file step, or a reference to an upload."""
    text: str | None = None
    base64: str | None = None
    value: Any = Field(None, alias="json")
    content_type: str | None = None
    """Without it, what the name's ending says."""

    @model_validator(mode="after")
    def _one_content(self) -> EmailAttachment:
        given = [key for key in ("file", "text", "base64", "value") if key in self.model_fields_set]
        if len(given) != 1:
            raise ValueError("an attachment has exactly one of `file`, `text`, `base64` and `json`")
        if self.name is None and self.file is None:
            raise ValueError("an attachment needs a `name`")
        return self


@act("email")
class EmailConfig(ActConfig):
    """A message to ``to``, written in place (``text``, ``html``) or from a ``template`` filled with ``data``. The
    output is ``{id, refused}``: the Message-ID, and the addresses that the server did not take."""

    to: str | list[str] | None = None
    """Each text is one address: ``kim@example.com`` or ``Kim <kim@example.com>``."""
    cc: str | list[str] = Field(default=[])
    bcc: str | list[str] = Field(default=[])
    reply_to: str | None = None
    subject: str | None = None
    """Without it, the template's ``<name>.subject.txt``."""
    text: str | None = None
    html: str | None = None
    template: str | None = Field(None, min_length=1)
    """Name of files under ``templates/``: ``welcome`` is ``welcome.html``, ``welcome.txt`` or both."""
    data: Any = None
    """What the template knows as ``data``; members of an object by their own names too."""
    attachments: list[EmailAttachment] = Field(default=[])
    contact: str | None = None
    """A contact that is written to as well as, or instead of, ``to``; a group is all of its members."""

    @model_validator(mode="after")
    def _addressed(self) -> EmailConfig:
        if self.to is None and self.contact is None:
            raise ValueError("an email needs `to` or `contact`")
        if self.template is not None and (self.text is not None or self.html is not None):
            raise ValueError("an email has a `template`, or `text` and `html`, and not both")
        if self.template is None and self.text is None and self.html is None:
            raise ValueError("an email needs `text`, `html` or `template`")
        if self.template is None and self.subject is None:
            raise ValueError("an email needs a `subject`")
        return self
