"""The accounts of orchestrator.yaml that messages leave through: ``mail`` and ``slack``."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.errors import TerminalError
from orchestrator.expressions import fill_catalogue_entry
from orchestrator.steps.context import StepContext

Model = TypeVar("Model", bound=BaseModel)


def account(context: StepContext, section: str, model: type[Model], needs: str) -> Model:
    """The section as ``model``, its secrets filled in. ``needs`` says what to write there. Raises TerminalError
    ``not_found`` where there is none, ``invalid_config``, or ``missing_secret``."""
    declared = getattr(context.project, section)
    if not declared:
        raise TerminalError("not_found", f"orchestrator.yaml has no `{section}`: write {needs}")
    filled = fill_catalogue_entry(declared, context.secrets.get)
    try:
        return model.model_validate(filled)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in (section, *first["loc"]))
        raise TerminalError("invalid_config", f"{where} in orchestrator.yaml: {first['msg']}") from error
