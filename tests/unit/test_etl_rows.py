"""What etl-pipeline does with rows before and after they are transformed: what is new, what is good, what is written."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.function_step import FUNCTIONS, attempt, call

from orchestrator.errors import TerminalError
from orchestrator.spec.project import Project
from orchestrator.steps.context import CURRENT, StepContext
from orchestrator.steps.function.handlers import invoke_arguments

Json = Any
TABLE = (
    "CREATE TABLE IF NOT EXISTS sales (region TEXT, source TEXT, id TEXT, amount REAL, changed TEXT, run TEXT, "
    "PRIMARY KEY (region, source, id))"
)
TILL = {"name": "till", "key": "no", "changed": "at"}


@pytest.fixture(autouse=True)
def step(tmp_path: Path) -> Iterator[StepContext]:
    """The attempt that the functions run in; its project has a warehouse."""
    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    with attempt(
        tmp_path, "etl-pipeline", "load", Project(databases={"warehouse": {"url": url, "setup": [TABLE]}})
    ) as context:
        yield context


def staged(rows: list[Json], since: Json = None) -> Json:
    return call("stage_rows", {"rows": rows, "source": TILL | {"since": since}})


def lines_of(file: Json) -> list[Json]:
    text = (CURRENT.get().settings.state / "etl" / file["path"]).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def export(text: str, name: str = "till.csv") -> str:
    file = CURRENT.get().settings.project_dir / "data" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return f"data/{name}"


@pytest.mark.parametrize(("rows", "sizes"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (5, [5]), (100, [5])])
def test_a_csv_file_is_split_into_partitions_that_together_are_the_file(rows: int, sizes: list[int]) -> None:
    path = export("\ufeffno;at;who\n" + "".join(f'{n};2026-01-0{n}T00:00:00Z;"a;{n}"\r\n' for n in range(1, 6)))
    files = call("split_csv", {"path": path, "delimiter": ";", "rows": rows})
    done = [call("stage_csv", {"file": file, "delimiter": ";", "source": TILL}) for file in files]
    assert [one["rows"] for one in done] == sizes
    found = [line["row"] for one in done for line in lines_of(one["file"])]
    assert [(row["no"], row["who"]) for row in found] == [(str(n), f"a;{n}") for n in range(1, 6)]


def test_a_file_without_a_header_or_of_other_bytes_is_refused() -> None:
    with pytest.raises(TerminalError, match="has no header"):
        call("split_csv", {"path": export(""), "delimiter": ";", "rows": 5})
    (CURRENT.get().settings.project_dir / "data" / "bytes.csv").write_bytes(b"no;at\n\xff;1\n")
    (file,) = call("split_csv", {"path": "data/bytes.csv", "delimiter": ";", "rows": 5})
    with pytest.raises(TerminalError, match="not UTF-8"):
        call("stage_csv", {"file": file, "delimiter": ";", "source": TILL})


def test_an_export_with_a_header_alone_has_no_partitions() -> None:
    assert call("split_csv", {"path": export("no;at\n"), "delimiter": ";", "rows": 5}) == []


def test_only_what_changed_since_is_new_and_ties_are_told_by_their_keys() -> None:
    rows = [{"no": n, "at": f"2026-01-0{day}T09:00:00+09:00"} for n, day in ((1, 1), (2, 2), (3, 2), (4, 3))]
    first = staged(rows[:2])
    assert first["newest"] == {"changed": "2026-01-02T00:00:00.000000Z", "keys": ["2"]}
    second = staged(rows, first["newest"])
    assert (second["read"], second["rows"]) == (4, 2)
    assert [line["row"]["no"] for line in lines_of(second["file"])] == [3, 4]
    assert staged(rows, second["newest"])["rows"] == 0


def test_texts_with_strange_line_ends_are_one_row() -> None:
    done = staged([{"no": "1", "at": "2026-01-01", "who": "a\u2028b\nc"}])
    (line,) = lines_of(done["file"])
    assert line["row"]["who"] == "a\u2028b\nc"


def test_rows_without_key_or_time_are_refused_and_counted() -> None:
    done = staged(
        [{"no": "", "at": "2026-01-01"}, {"no": "2", "at": "soon"}, {"no": "3"}, {"no": "4", "at": "2026-01-01"}]
    )
    assert (done["rows"], done["refused"]) == (1, 3)
    assert {one["reason"]: one["rows"] for one in done["reasons"]} == {"'no' is empty": 1, "'at' is no time": 2}


@pytest.mark.parametrize(
    ("first", "last", "ranges"),
    [(None, None, []), (5, 5, [(5, 5)]), (1, 10, [(1, 4), (5, 8), (9, 10)]), (3, 6, [(3, 6)])],
)
def test_ranges_cover_every_number_once(first: int | None, last: int | None, ranges: list[tuple[int, int]]) -> None:
    planned = call("plan_ranges", {"first": first, "last": last, "size": 4})
    assert [(one["first"], one["last"]) for one in planned] == ranges


def profiled(**more: Json) -> Json:
    done = [staged([{"no": n, "at": f"2026-01-0{n}"}]) for n in (1, 2)] + [staged([])]
    given = {"results": {"till": done, "shop": None, "old": []}, "errors": {"shop": "no answer"}, "before": {}}
    return call("profile_sources", given | more)


def test_sources_are_profiled_and_missing_ones_keep_their_watermark() -> None:
    mark = {"changed": "2025-01-01T00:00:00.000000Z", "keys": ["9"]}
    found = profiled(before={"shop": mark, "old": mark})
    assert found["rows"] == 2
    assert [one["source"] for one in found["files"]] == ["till", "till"]
    assert found["watermarks"] == {
        "till": {"changed": "2026-01-02T00:00:00.000000Z", "keys": ["2"]},
        "shop": mark,
        "old": mark,
    }
    assert found["missing"] == [{"source": "shop", "because": "no answer"}]
    assert found["extracted"]["till"]["partitions"] == 3
    assert found["columns"] == {"till": ["at", "no"]}
    assert found["unknown"]["till"]["columns"][0] == {"name": "no", "filled": 1.0, "examples": ["1"]}


def test_a_source_whose_columns_are_known_needs_no_new_spec() -> None:
    assert profiled(known={"till": ["at", "no"]})["unknown"] == {}
    assert set(profiled(known={"till": ["at"]})["unknown"]) == {"till"}


def rows_file(*rows: Json, changed: str = "2026-01-01T00:00:00.000000Z") -> Json:
    """A file of transformed rows, as `transform_rows` gives it."""
    lines = [{"source": "till", "changed": changed, "row": row} for row in rows]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    digest = hashlib.sha256(content).hexdigest()
    file = CURRENT.get().settings.state / "etl" / "run-1" / f"{digest}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return {"source": "till", "file": {"path": f"run-1/{file.name}", "sha256": digest}}


RULES = [
    {"column": "id", "rule": "filled"},
    {"column": "amount", "rule": "range", "min": 0, "max": 100},
    {"column": "country", "rule": "one_of", "values": ["KR", "DE"]},
]


def row(number: int, **more: Json) -> Json:
    return {"id": f"R{number}", "amount": 5, "country": "KR"} | more


def test_the_score_is_the_share_of_rows_that_hold_every_rule() -> None:
    bad = [row(1, amount=-1, country="XX"), row(2, id=None), row(3, country=None)]
    found = call("check_quality", {"files": [rows_file(*bad, *(row(n) for n in range(4, 9)))], "rules": RULES})
    assert (found["score"], found["rows"]) == (0.75, 8)
    assert {(one["column"], one["rows"]) for one in found["issues"]} == {("id", 1), ("amount", 1), ("country", 1)}
    assert any(one["amount"] == -1 for one in found["sample"])


def test_no_rows_are_good_rows() -> None:
    assert call("check_quality", {"files": [], "rules": RULES}) | {"sample": 0} == {
        "score": 1.0, "rows": 0, "issues": [], "sample": 0
    }  # fmt: skip


def test_what_is_unlike_the_others_is_in_the_sample() -> None:
    rows = [row(n, id=f"R{n:04d}") for n in range(500)]
    rows[333] |= {"id": "T"}
    rows[444] |= {"amount": 99}
    found = call("check_quality", {"files": [rows_file(*rows)], "rules": []})
    assert {"T", "R0444"} <= {one["id"] for one in found["sample"]}
    assert len(found["sample"]) < 20


@pytest.mark.parametrize(
    ("remedy", "left"),
    [("refuse", ["R1"]), ("clear", ["R1", "R2", "R3"]), ("clamp", ["R1", "R2", "R3"])],
)
def test_remedies_do_what_their_rules_say(remedy: str, left: list[str]) -> None:
    rules = [{"column": "amount", "rule": "range", "min": 0, "max": 100, "remedy": remedy}]
    given = {"files": [rows_file(row(1), row(2, amount=-4), row(3, amount=400))], "rules": rules}
    done = call("remedy_rows", given)
    lines = [line["row"] for one in done["files"] for line in lines_of(one["file"])]
    assert [one["id"] for one in lines] == left
    assert done["refused"] == 3 - len(left)
    if remedy == "clamp":
        assert [one["amount"] for one in lines] == [5, 0, 100]
    if remedy == "clear":
        assert [one["amount"] for one in lines] == [5, None, None]


def test_of_rows_with_one_key_the_newest_stays_whichever_file_it_is_in() -> None:
    older = rows_file(row(1, amount=1), row(2), changed="2026-01-01T00:00:00.000000Z")
    newer = rows_file(row(1, amount=2), row(1, amount=2), changed="2026-01-02T00:00:00.000000Z")
    rules = [{"column": "id", "rule": "unique", "remedy": "newest"}]
    assert call("check_quality", {"files": [newer, older], "rules": rules})["score"] == 0.25
    done = call("remedy_rows", {"files": [newer, older], "rules": rules})
    lines = [line["row"] for one in done["files"] for line in lines_of(one["file"])]
    assert sorted((one["id"], one["amount"]) for one in lines) == [("R1", 2), ("R2", 5)]
    assert call("check_quality", {"files": done["files"], "rules": rules})["score"] == 1.0


def test_a_value_under_suspicion_refuses_exactly_its_rows() -> None:
    suspicions = [
        {"column": "id", "value": "R2", "why": "a test entry"},
        {"column": "salary", "value": "5", "why": "x"},
    ]
    done = call("remedy_rows", {"files": [rows_file(row(1), row(2), row(22))], "rules": [], "suspicions": suspicions})
    assert done["reasons"] == [{"reason": "id: a test entry", "rows": 1}]
    assert [line["row"]["id"] for line in lines_of(done["files"][0]["file"])] == ["R1", "R22"]
    assert [line["row"]["id"] for line in lines_of(done["rejects"])] == ["R2"]


async def load(*rows: Json, run: str = "run-1", **more: Json) -> Json:
    function = FUNCTIONS["load_rows"]
    given = {"file": rows_file(*rows, **more)["file"], "region": "seoul", "columns": ["id", "amount"], "run": run}
    arguments = invoke_arguments(function, [given | {"database": "warehouse", "table": "sales"}])
    try:
        return await function.call(*arguments)
    finally:
        await CURRENT.get().resources.aclose()


def warehouse() -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(CURRENT.get().settings.project_dir / "warehouse.db")) as connection:
        return connection.execute("SELECT source, id, amount, run FROM sales ORDER BY id").fetchall()


async def test_loading_twice_is_loading_once() -> None:
    for _ in range(2):
        done = await load(row(1), row(2))
        assert done == {"loaded": 2, "older": 0, "sources": {"till": 2}}
    assert warehouse() == [("till", "R1", 5.0, "run-1"), ("till", "R2", 5.0, "run-1")]


async def test_a_newer_row_replaces_and_an_older_one_does_not() -> None:
    await load(row(1, amount=1), changed="2026-01-02T00:00:00.000000Z")
    older = await load(row(1, amount=2), changed="2026-01-01T00:00:00.000000Z", run="run-2")
    assert older == {"loaded": 0, "older": 1, "sources": {"till": 0}}
    assert warehouse() == [("till", "R1", 1.0, "run-1")]
    await load(row(1, amount=3), changed="2026-01-03T00:00:00.000000Z", run="run-3")
    assert warehouse() == [("till", "R1", 3.0, "run-3")]


async def test_names_of_columns_are_names_and_nothing_else() -> None:
    function = FUNCTIONS["load_rows"]
    given = {"file": rows_file(row(1))["file"], "region": "seoul", "columns": ["id) --"], "run": "r"}
    for bad in (
        {"database": "warehouse", "table": "sales"},
        {"database": "warehouse", "table": "a; b", "columns": ["id"]},
    ):
        with pytest.raises(TerminalError) as refused:
            await function.call(*invoke_arguments(function, [given | bad]))
        assert refused.value.type == "invalid_config"
    await CURRENT.get().resources.aclose()


def test_every_row_is_accounted_for() -> None:
    source = {"partitions": 2, "read": 10, "new": 8, "refused": 1, "reasons": [{"reason": "a", "rows": 1}]}
    one: Json = {"source": "till", "file": {}, "rejects": None, "rows": 5, "filtered": 2, "refused": 1}
    given = {
        "extracted": {"till": source, "shop": source | {"read": 0, "new": 0, "refused": 0}},
        "transformed": [one | {"reasons": [{"reason": "b", "rows": 1}]}],
        "remedied": [{"refused": 1}],
        "loaded": [{"sources": {"till": 4}}],
        "spec": {"hash": "h", "by": "claude"},
        "table": "warehouse.sales",
    }
    found = call("account_for_rows", given)
    assert found["summary"] == {
        "read": 10, "new": 8, "refused": 3, "filtered": 2, "loaded": 4, "refused_by_quality": 1
    }  # fmt: skip
    assert found["sources"]["till"]["refused"] == 2
    assert found["sources"]["shop"]["loaded"] == 0
    assert found["lineage"][0]["spec_by"] == "claude"
