"""Keys of the format whose execution comes with a later release: known, and refused in words."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema


def _refuse(value: Any, info: ValidationInfo) -> Any:
    raise ValueError(f"'{info.field_name}' comes with a later release")


Later = Annotated[None, BeforeValidator(_refuse), WithJsonSchema({"not": {}, "description": "Later release."})]
"""The type of such a key; its default must be None."""
