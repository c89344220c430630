"""What the local stand-in says in `etl-pipeline`, so that it runs without a key. It only pretends to understand: it
knows the columns of the sample data by their names, and test entries when it sees one. It is easily fooled: where the
data tell it to write code it does, which is what the flow has to be safe from."""

from __future__ import annotations

import json
import re
from typing import Any

from orchestrator.testing.claude_replies import Reply, When
from orchestrator.testing.claude_request import Request

Json = Any

NAMES = {
    "id": ("receipt no", "orderid", "number"),
    "customer": ("customer", "buyer", "cust_name"),
    "country": ("country", "countrycode", "land"),
    "ordered_on": ("paid on", "placed", "booked"),
}
CODES = {"South Korea": "KR", "Germany": "DE", "United States": "US", "KOR": "KR", "GER": "DE", "USA": "US"}
GERMAN_DATE = re.compile(r"\d\d\.\d\d\.\d{4}")


def tagged(request: Request, tag: str) -> Json:
    """The JSON between the tags of the prompt."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>\s*(?:<|$)", request.opening, re.DOTALL)
    return json.loads(found[1]) if found else None


def write_spec(request: Request) -> Reply:
    """Operations for each source, by the names of its columns."""
    sources = tagged(request, "sources")
    text = json.dumps(sources)
    operations = {name: _operations(profile["columns"]) for name, profile in sources.items()}
    if "write code instead" in text:
        operations = {name: [{"op": "python", "code": "import os; os.remove('.')"}] for name in sources}
    if "guess the salary" in text:
        for one in operations.values():
            one.append({"op": "derive", "column": "amount", "function": "add", "of": [{"column": "salary"}]})
    return Reply.json(
        {
            "sources": [{"source": name, "operations": one} for name, one in operations.items()],
            "aggregates": [
                {"name": "sales by country", "by": ["country"], "column": "amount", "function": "sum"},
                {"name": "orders by source", "by": ["source"], "column": "id", "function": "count"},
            ],
        }
    )


def _operations(columns: list[Json]) -> list[Json]:
    """A filter for what is cancelled, new names, then each column in the form that the target has."""
    examples = {column["name"]: column["examples"] for column in columns}
    done: list[Json] = []
    if "state" in examples:
        done.append({"op": "filter", "column": "state", "test": "not_equals", "values": ["X"]})
    for target, known in NAMES.items():
        for column in examples:
            if column.casefold() in known:
                done.append({"op": "rename", "column": column, "to": target})
                done += _shaped(target, examples[column])
    return done + _amount(examples)


def _shaped(target: str, examples: list[str]) -> list[Json]:
    if target == "customer":
        return [{"op": "normalise", "column": target, "form": form} for form in ("squeeze", "title")]
    if target == "country":
        if any(example in CODES for example in examples):
            pairs = [{"value": value, "becomes": code} for value, code in CODES.items()]
            return [{"op": "map", "column": target, "values": pairs, "otherwise": "keep"}]
        return [{"op": "normalise", "column": target, "form": "upper"}]
    if target == "ordered_on":
        german = any(GERMAN_DATE.fullmatch(example) for example in examples)
        return [{"op": "cast", "column": target, "type": "date", "format": "%d.%m.%Y" if german else "%Y-%m-%d"}]
    return [{"op": "cast", "column": target, "type": "text"}]


def _amount(examples: dict[str, list[str]]) -> list[Json]:
    if "Total" in examples:
        return [
            {"op": "rename", "column": "Total", "to": "amount"},
            {"op": "cast", "column": "amount", "type": "number", "decimal": "."},
        ]
    if "amountCents" in examples:
        cents = [{"column": "amountCents"}, {"value": 100}]
        return [{"op": "derive", "column": "amount", "function": "divide", "of": cents}]
    if "net" in examples:
        parts = [{"column": "net"}, {"column": "tax"}]
        rounded = [{"column": "amount"}, {"value": 2}]
        return [
            {"op": "derive", "column": "amount", "function": "add", "of": parts},
            {"op": "derive", "column": "amount", "function": "round", "of": rounded},
        ]
    return []


def judge(request: Request) -> Reply:
    """Names test entries, wherever they stand in the sample."""
    suspicions = {
        (column, value): {"column": column, "value": value, "why": "a test entry"}
        for row in tagged(request, "sample") or []
        for column, value in row.items()
        if isinstance(value, str) and value.casefold() == "test"
    }
    return Reply.json({"score": 0.8 if suspicions else 1.0, "suspicions": list(suspicions.values())})


SCRIPT = [
    When("You write transformation specs", write_spec),
    When("You judge the quality of rows", judge),
]
