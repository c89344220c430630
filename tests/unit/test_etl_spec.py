"""The language of transformation specs: what may be said, what a spec has to make sense of, and what it does to a row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.function_step import attempt, call

from orchestrator.errors import TerminalError
from orchestrator.steps.context import CURRENT, StepContext

Json = Any
TARGET = {"id": "text", "amount": "number", "day": "date"}
ROWS = [
    {"no": "1", "net": "1,000.50", "tax": 100, "day": "03.02.2026", "state": "A", "name": "  kim  min "},
    {"no": "2", "net": "7.25", "tax": 0, "day": "04.02.2026", "state": "X", "name": None},
]
GOOD: list[Json] = [
    {"op": "rename", "column": "no", "to": "id"},
    {"op": "cast", "column": "net", "type": "number"},
    {"op": "derive", "column": "amount", "function": "add", "of": [{"column": "net"}, {"column": "tax"}]},
    {"op": "cast", "column": "day", "type": "date", "format": "%d.%m.%Y"},
]


@pytest.fixture(autouse=True)
def step(tmp_path: Path) -> Iterator[StepContext]:
    """The attempt that the functions run in."""
    with attempt(tmp_path, "etl-pipeline", "transform") as context:
        yield context


def staged(rows: list[Json]) -> Json:
    """Rows of the source `till`, as the flow has them after the extraction."""
    return file_of([{"changed": "2026-01-01T00:00:00.000000Z", "row": row} for row in rows])


def file_of(lines: list[Json]) -> Json:
    """Lines in a file that a step wrote."""
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    folder = CURRENT.get().settings.state / "etl" / "run-1"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(content).hexdigest()
    (folder / f"{digest}.jsonl").write_bytes(content)
    return {"path": f"run-1/{digest}.jsonl", "sha256": digest}


def lines_of(file: Json) -> list[Json]:
    """The lines of a file that a function wrote."""
    text = (CURRENT.get().settings.state / "etl" / file["path"]).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def spec(operations: list[Json], aggregates: list[Json] | None = None) -> Json:
    return {"sources": [{"source": "till", "operations": operations}], "aggregates": aggregates or []}


def verdict(written: Json, rows: list[Json] = ROWS) -> Json:
    columns = {"till": sorted({column for row in rows for column in row})}
    files = [{"source": "till", "file": staged(rows)}]
    return call("check_spec", {"spec": written, "columns": columns, "target": TARGET, "files": files})


def transformed(operations: list[Json], row: Json, target: Json = TARGET) -> Json:
    """What `transform_rows` does with one row: the row, None where it is left out, or why it is refused."""
    given = {"source": "till", "file": staged([row]), "spec": spec(operations), "target": target}
    done = call("transform_rows", given)
    if done["refused"]:
        return lines_of(done["rejects"])[0]["reason"]
    lines = lines_of(done["file"])
    return lines[0]["row"] if lines else None


def test_a_spec_that_makes_sense_is_said_to_and_has_a_hash() -> None:
    found = verdict(spec(GOOD, [{"name": "total", "by": ["day"], "column": "amount", "function": "sum"}]))
    assert (found["ok"], found["problems"]) == (True, [])
    assert found["hash"] != verdict(spec(GOOD))["hash"]


@pytest.mark.parametrize(
    "written",
    [
        None,
        "import os",
        {"unusable": "it would not"},
        {"sources": []},
        spec([{"op": "python", "code": "1"}]),
        spec([*GOOD, {"op": "derive", "column": "x", "function": "eval", "of": [{"value": "1"}]}]),
        spec([*GOOD, {"op": "derive", "column": "x", "expression": "__import__('os')"}]),
        spec([GOOD[0] | {"then": "rm"}, *GOOD[1:]]),
        spec([{"op": "cast", "column": "day", "type": "date", "format": "%s"}]),
        spec(GOOD) | {"code": "1"},
        spec([GOOD[1]] * 61),
    ],
)
def test_what_the_language_does_not_have_is_refused(written: Json) -> None:
    found = verdict(written)
    assert not found["ok"]
    assert found["problems"]
    with pytest.raises(TerminalError) as refused:
        call("transform_rows", {"source": "till", "file": staged(ROWS), "spec": written, "target": TARGET})
    assert refused.value.type == "invalid_spec"


@pytest.mark.parametrize(
    ("operations", "problem"),
    [
        (GOOD[1:], "the target's column 'id' is never made"),
        ([*GOOD[:3]], "column 'day' has to be date and is whatever the source has; cast it"),
        ([*GOOD, {"op": "cast", "column": "amount", "type": "text"}], "'amount' has to be number and is text"),
        ([GOOD[0], GOOD[0], *GOOD[1:]], "operation 2 (rename): there is no column 'no'"),
        ([{"op": "rename", "column": "net", "to": "tax"}, *GOOD], "there is a column 'tax' already"),
        ([*GOOD, {"op": "filter", "column": "salary", "test": "filled"}], "there is no column 'salary'; there are"),
        ([*GOOD, {"op": "filter", "column": "state", "test": "equals"}], "'equals' takes 1 values"),
        ([{"op": "cast", "column": "day", "type": "date"}], "a date needs a format"),
        ([{"op": "cast", "column": "net", "type": "number", "format": "iso"}], "only a date takes a format"),
        (
            [{"op": "derive", "column": "x", "function": "divide", "of": [{"column": "tax"}, {"value": 0}]}],
            "division by nothing",
        ),
        (
            [{"op": "derive", "column": "x", "function": "divide", "of": [{"column": "tax"}]}],
            "'divide' takes 2 operands",
        ),
        (
            [{"op": "derive", "column": "x", "function": "add", "of": [{"column": "tax", "value": 1}]}],
            "a column or a value, not both",
        ),
        (
            [{"op": "derive", "column": "x", "function": "add", "of": [{"column": "salary"}]}],
            "there is no column 'salary'",
        ),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(operations: list[Json], problem: str) -> None:
    found = verdict(spec(operations))
    assert not found["ok"]
    assert any(problem in told for told in found["problems"]), found["problems"]


@pytest.mark.parametrize(
    ("aggregate", "problem"),
    [
        ({"by": ["city"], "column": "amount", "function": "sum"}, "there is no column 'city'"),
        ({"by": [], "column": "day", "function": "mean"}, "'day' is no number"),
    ],
)
def test_aggregates_are_of_columns_that_there_are(aggregate: Json, problem: str) -> None:
    assert any(problem in told for told in verdict(spec(GOOD, [{"name": "a", **aggregate}]))["problems"])


def test_a_spec_that_refuses_most_rows_is_refused_itself() -> None:
    wrong = [*GOOD[:3], {"op": "cast", "column": "day", "type": "date", "format": "%Y-%m-%d"}]
    (problem,) = verdict(spec(wrong))["problems"]
    assert "it refuses 2 of 2 rows, such as: day: '03.02.2026' is no date" in problem


def test_a_source_that_is_left_out_or_said_twice_is_told() -> None:
    twice = {"sources": spec(GOOD)["sources"] * 2}
    assert "source 'till' is there twice" in verdict(twice)["problems"]
    other = {"sources": [{"source": "shop", "operations": []}]}
    assert verdict(other)["problems"] == ["nothing is said of source 'till'"]


def test_a_row_becomes_one_of_the_target() -> None:
    assert transformed(GOOD, ROWS[0]) == {"id": "1", "amount": 1100.5, "day": "2026-02-03"}


@pytest.mark.parametrize(
    ("operation", "value", "becomes"),
    [
        ({"op": "normalise", "form": "trim"}, " a  b ", "a  b"),
        ({"op": "normalise", "form": "squeeze"}, " a  b ", "a b"),
        ({"op": "normalise", "form": "title"}, "kim minji", "Kim Minji"),
        ({"op": "normalise", "form": "upper"}, None, None),
        ({"op": "map", "values": [{"value": "1", "becomes": "one"}], "otherwise": "keep"}, 1, "one"),
        ({"op": "map", "values": [{"value": "1", "becomes": "one"}], "otherwise": "keep"}, "2", "2"),
        ({"op": "map", "values": [{"value": "1", "becomes": "one"}], "otherwise": "null"}, "2", None),
        ({"op": "map", "values": [{"value": "1", "becomes": "one"}], "otherwise": "refuse"}, "2", "x: nothing is said of '2'"),
        ({"op": "cast", "type": "text"}, 7, "7"),
        ({"op": "cast", "type": "text"}, "", None),
        ({"op": "filter", "test": "filled"}, "", "left out"),
        ({"op": "filter", "test": "empty"}, "", ""),
        ({"op": "filter", "test": "equals", "values": ["a"]}, "a", "a"),
        ({"op": "filter", "test": "not_equals", "values": ["a"]}, "a", "left out"),
        ({"op": "filter", "test": "one_of", "values": ["a", "b"]}, "c", "left out"),
        ({"op": "filter", "test": "more", "values": ["b"]}, "c", "c"),
        ({"op": "filter", "test": "at_most", "values": ["b"]}, None, "left out"),
    ],
)  # fmt: skip
def test_operations_on_texts(operation: Json, value: Json, becomes: Json) -> None:
    done = transformed([operation | {"column": "x"}], {"x": value}, {"x": "text"})
    assert (done["x"] if isinstance(done, dict) else done or "left out") == becomes


@pytest.mark.parametrize(
    ("operations", "becomes"),
    [
        ([{"op": "cast", "type": "number", "decimal": ","}], 1234.5),
        ([{"op": "cast", "type": "number", "decimal": "."}], 1.2345),
        ([{"op": "cast", "type": "integer", "decimal": ","}], "x: '1.234,5' is no integer"),
        ([{"op": "cast", "type": "number", "decimal": ","}, {"op": "filter", "test": "less", "values": [1234]}], None),
        ([{"op": "cast", "type": "number", "decimal": ","}, {"op": "filter", "test": "at_least", "values": [1234.5]}], 1234.5),
    ],
)  # fmt: skip
def test_operations_on_numbers(operations: list[Json], becomes: Json) -> None:
    done = transformed([one | {"column": "x"} for one in operations], {"x": "1.234,5"}, {"x": "number"})
    assert (done["x"] if isinstance(done, dict) else done) == becomes


@pytest.mark.parametrize(
    ("function", "values", "becomes"),
    [
        ("add", [1, 2, 3], 6),
        ("subtract", [1, 0.9], 0.1),
        ("multiply", ["2", 3], 6),
        ("divide", [1, 8], 0.125),
        ("divide", [1, 0], "y: divide of [1, 0] cannot be computed"),
        ("round", [2.345, 2], 2.35),
        ("add", [1, "much"], "y: add of [1, 'much'] cannot be computed"),
        ("multiply", [1e300, 1e300, 1e300], "y: inf is no number"),
        ("year", ["2026"], "y: year of '2026', which is no date"),
        ("add", [1, None], None),
    ],
)
def test_functions_of_derive(function: str, values: list[Json], becomes: Json) -> None:
    row = {f"c{number}": value for number, value in enumerate(values)}
    derive = {"op": "derive", "column": "y", "function": function, "of": [{"column": name} for name in row]}
    done = transformed([derive], row, {"y": "number"})
    assert done == (becomes if isinstance(becomes, str) else {"y": becomes})


def test_dates_are_computed_with() -> None:
    cast = [{"op": "cast", "column": name, "type": "date", "format": "iso"} for name in ("a", "b")]
    days = {"op": "derive", "column": "y", "function": "days_between", "of": [{"column": "a"}, {"column": "b"}]}
    month = {"op": "derive", "column": "m", "function": "month", "of": [{"column": "b"}]}
    row = {"a": "2026-02-27", "b": "2026-03-02"}
    assert transformed([*cast, days, month], row, {"y": "integer", "m": "integer"}) == {"y": 3, "m": 3}


def test_texts_that_grow_without_end_refuse_their_row() -> None:
    double = {"op": "derive", "column": "x", "function": "concat", "of": [{"column": "x"}] * 10}
    assert "a text of more than 10000 characters" in transformed([double] * 50, {"x": "abc"}, {"x": "text"})


def test_a_person_or_model_may_write_for_some_sources_only() -> None:
    kept = {"sources": [{"source": "a", "operations": []}, {"source": "b", "operations": []}], "aggregates": []}
    written = {"sources": [{"source": "b", "operations": GOOD}], "aggregates": []}
    merged = call("merge_specs", {"kept": kept, "written": written})
    assert [(one["source"], len(one["operations"])) for one in merged["sources"]] == [("a", 0), ("b", 4)]
    for unusable in (None, "text", {"unusable": "x"}, {"sources": ["a"]}):
        assert call("merge_specs", {"kept": kept, "written": unusable}) == unusable
        assert call("merge_specs", {"kept": unusable, "written": written}) == written


def test_aggregates_are_over_all_files() -> None:
    files = []
    given: dict[str, list[Json]] = {"till": [1, 2], "shop": [4, None]}
    for source, amounts in given.items():
        lines = [
            {"source": source, "changed": "", "row": {"id": "x", "amount": amount, "day": "d"}} for amount in amounts
        ]
        files.append({"source": source, "file": file_of(lines)})
    functions = ("count", "sum", "min", "max", "mean")
    wanted = [{"name": name, "by": ["day"], "column": "amount", "function": name} for name in functions]
    wanted.append({"name": "by source", "by": ["source"], "column": "amount", "function": "sum"})
    found = call("summarise_rows", {"files": files, "spec": spec(GOOD, wanted)})
    assert {name: found[name] for name in functions} == {
        name: [{"day": "d", "value": value}] for name, value in zip(functions, (3, 7, 1, 4, 2.333333), strict=True)
    }
    assert found["by source"] == [{"source": "shop", "value": 4}, {"source": "till", "value": 3}]
