"""Sizes as authors write them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.spec.size import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10MB", 10_000_000),
        ("512 kb", 512_000),
        ("1.5MiB", 1_572_864),
        ("7", 7),
        ("7B", 7),
        (1024, 1024),
        ("2GB", 2_000_000_000),
    ],
)
def test_a_size_is_a_number_of_bytes(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "10 bananas", "-1MB", "0", 0, -5, True, 1.5, None, "1e3", "MB"])
def test_what_is_no_size_is_refused_with_examples(value: Any) -> None:
    with pytest.raises(ValueError, match="write for example 10MB"):
        parse_size(value)
