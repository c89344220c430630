"""Warnings of a run: kept in order, never so many that a long run cannot go on."""

from __future__ import annotations

from orchestrator.engine.warned import LONGEST, MOST, Warnings


def test_warnings_beyond_the_limit_are_counted_also_over_a_continued_run() -> None:
    first = Warnings()
    first.extend(f"w{number}" for number in range(MOST + 2))
    assert [*first][-2:] == [f"w{MOST - 1}", "2 more warnings are not shown"]
    second = Warnings()
    second.append("since")
    second.restore(first.to_json())
    assert [*second][-2:] == [f"w{MOST - 1}", "3 more warnings are not shown"]
    assert len([*second]) == MOST + 1


def test_a_long_warning_is_cut() -> None:
    warnings = Warnings()
    warnings.append("x" * 5 * LONGEST)
    assert [len(one) for one in warnings] == [LONGEST]
    assert warnings.to_json() == {"warnings": [*warnings]}
