"""Users' functions: found in real files, called as the worker calls them."""

from __future__ import annotations

import asyncio
import inspect
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.errors import FlowInvalid, Problem, TerminalError
from orchestrator.spec.acts.function import FunctionConfig
from orchestrator.steps.function.handlers import Function, discover, invoke_arguments

HEADER = "from temporalio import activity\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "activities"
    made.mkdir()
    return made


def write(folder: Path, name: str, code: str) -> None:
    (folder / name).write_text(HEADER + dedent(code))


def call(function: Function, *args: Any) -> Any:
    result = function.call(*invoke_arguments(function, list(args)))
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def problems_of(folder: Path) -> tuple[Problem, ...]:
    with pytest.raises(FlowInvalid) as caught:
        discover(folder)
    return caught.value.problems


def test_every_decorated_function_is_a_handler_by_its_activity_name(folder: Path) -> None:
    write(
        folder,
        "risk.py",
        '''
        @activity.defn
        async def assess_customer_risk(params: dict) -> dict:
            """Scores a customer."""
            return {"score": 0.5, "of": params["customer"]}

        @activity.defn(name="risk.approve")
        def approve(customer: str, limit: int = 10) -> str:
            return f"{customer} up to {limit}"

        def not_a_handler(): ...
        ''',
    )
    functions = discover(folder)
    found = functions["assess_customer_risk"]
    assert (found.name, found.is_async, found.doc) == ("assess_customer_risk", True, "Scores a customer.")
    assert (found.file, found.line) == (str(folder / "risk.py"), 3)
    assert found.signature == "(params: dict) -> dict"
    assert call(found, {"customer": "김"}) == {"score": 0.5, "of": "김"}
    assert call(functions["risk.approve"], "a") == "a up to 10"
    assert not functions["risk.approve"].is_async
    assert "not_a_handler" not in functions


def test_camel_case_and_snake_case_name_the_same_function(folder: Path) -> None:
    write(
        folder,
        "f.py",
        """
        @activity.defn
        def assess_customer_risk(): ...

        @activity.defn
        def sendHTTPRequest(): ...

        @activity.defn(name="kyc.v2")
        def know_your_customer(): ...
        """,
    )
    functions = discover(folder)
    assert {name: function.name for name, function in functions.items()} == {
        "assess_customer_risk": "assess_customer_risk",
        "assessCustomerRisk": "assess_customer_risk",
        "sendHTTPRequest": "sendHTTPRequest",
        "send_http_request": "sendHTTPRequest",
        "kyc.v2": "kyc.v2",
        "know_your_customer": "kyc.v2",
        "knowYourCustomer": "kyc.v2",
    }


def test_a_folder_that_is_not_there_has_no_functions(tmp_path: Path) -> None:
    assert discover(tmp_path / "activities") == {}


def test_files_may_import_each_other_and_leave_no_trace_on_the_path(folder: Path) -> None:
    write(folder, "_rates_of_this_test.py", "RATE = 3\n")
    write(
        folder,
        "price_of_this_test.py",
        """
        from _rates_of_this_test import RATE

        @activity.defn
        def price(amount: int) -> int:
            return amount * RATE
        """,
    )
    write(
        folder,
        "quote_of_this_test.py",
        """
        from price_of_this_test import price

        @activity.defn
        def quote(amount: int) -> str:
            return f"{price(amount)} KRW"
        """,
    )
    before = list(sys.path)
    functions = discover(folder)
    assert sys.path == before
    assert sorted(functions) == ["price", "quote"]
    assert call(functions["quote"], 5) == "15 KRW"


def test_two_projects_with_files_of_one_name_do_not_mix(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, "tasks.py", f"from _own import NAME\n@activity.defn\ndef who(): return '{name}', NAME\n")
        write(folder, "_own.py", f"NAME = '{name}'\n")
        found.append(discover(folder))
    assert [call(functions["who"]) for functions in found] == [("one", "one"), ("two", "two")]


def test_a_changed_file_is_read_again(folder: Path) -> None:
    write(folder, "t.py", "@activity.defn\ndef answer(): return 1\n")
    assert call(discover(folder)["answer"]) == 1
    write(folder, "t.py", "@activity.defn\ndef answer(): return 'two'\n")
    assert call(discover(folder)["answer"]) == "two"


@pytest.mark.parametrize(
    ("code", "line", "says"),
    [
        ("import json\n\n1 / 0\n", 4, "ZeroDivisionError: division by zero"),
        ("import json\ndef broken(:\n", 3, "SyntaxError"),
        ("import a_module_nobody_has\n", 2, "No module named 'a_module_nobody_has'"),
        ("import sys\nsys.exit(3)\n", 3, "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_error_with_its_line(
    folder: Path, code: str, line: int, says: str
) -> None:
    write(folder, "bad.py", code)
    write(folder, "good.py", "@activity.defn\ndef fine(): ...\n")
    (problem,) = problems_of(folder)
    assert (problem.file, problem.line) == (str(folder / "bad.py"), line)
    assert problem.message.startswith("the file cannot be imported: ")
    assert says in problem.message
    assert problem.hint


@pytest.mark.parametrize(
    ("code", "line", "says"),
    [
        ("@activity.defn\ndef ship(): ...\n@activity.defn(name='ship')\ndef other(): ...\n", 4, "already a handler"),
        ("@activity.defn\ndef ship_it(): ...\n@activity.defn\ndef shipIt(): ...\n", 4, "already a handler"),
        ("@activity.defn\ndef http(): ...\n", 2, "'http' is the name of a step type"),
        ("@activity.defn(name='sql')\ndef run(): ...\n", 2, "'sql' is the name of a step type"),
        ("@activity.defn\ndef f(a: Nowhere): ...\n", 2, "Nowhere"),
        ("import threading\n@activity.defn\ndef f(a: threading.Thread): ...\n", 3, "which JSON cannot fill"),
        ("@activity.defn\ndef f(a, b): ...\nf.__kwdefaults__ = None\n@activity.defn\ndef g(*args): ...\n", 0, ""),
    ],
)
def test_a_function_that_cannot_be_called_is_named_with_its_line(folder: Path, code: str, line: int, says: str) -> None:
    if "Nowhere" in code:
        code = "from __future__ import annotations\n" + HEADER + code
        (folder / "f.py").write_text(code)
        line += 1
    else:
        write(folder, "f.py", code)
    if not says:
        assert sorted(discover(folder)) == ["f", "g"]
        return
    (problem,) = problems_of(folder)
    assert says in problem.message
    assert problem.line == line
    assert problem.hint


TYPES = """
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Literal
from pydantic import BaseModel

class Plan(Enum):
    FREE = "free"

@dataclass
class Address:
    city: str
    since: date

class Customer(BaseModel):
    email: str
    plan: Plan
    address: Address

@activity.defn
def take(customer: Customer, at: datetime, amounts: list[Decimal], kind: Literal["a", "b"] | None = None):
    return customer, at, amounts, kind

@activity.defn
def total(first: int, *rest: int):
    return first + sum(rest)

@activity.defn
def anything(value, other=None):
    return value, other
"""


def test_arguments_become_what_the_parameters_are_annotated_as(folder: Path) -> None:
    write(folder, "types.py", TYPES)
    functions = discover(folder)
    given = {"email": "e", "plan": "free", "address": {"city": "서울", "since": "2020-01-02"}}
    customer, at, amounts, kind = call(functions["take"], given, "2026-01-01T00:00:00Z", [1.5, "2.25"])
    assert customer.address.since == date(2020, 1, 2)
    assert customer.plan.value == "free"
    assert isinstance(at, datetime)
    assert amounts == [Decimal("1.5"), Decimal("2.25")]
    assert kind is None
    assert call(functions["total"], 1, 2, 3) == 6
    assert call(functions["anything"], {"a": [1]}) == ({"a": [1]}, None)


@pytest.mark.parametrize(
    ("handler", "args", "says"),
    [
        ("take", [], "needs 'customer'; give 'params'"),
        ("take", [{}, "2026-01-01T00:00:00Z", []], "customer.email: Field required"),
        ("take", [{"email": "e", "plan": "gold", "address": {}}, "", []], "customer.plan: Input should be 'free'"),
        ("total", ["one"], "first: Input should be a valid integer"),
        ("total", [1, "two"], "rest: Input should be a valid integer"),
        ("anything", [1, 2, 3], r"takes 2 argument\(s\), the step gives 3"),
    ],
)
def test_arguments_that_do_not_fit_name_the_parameter_and_the_function(
    folder: Path, handler: str, args: list[Any], says: str
) -> None:
    write(folder, "types.py", TYPES)
    with pytest.raises(TerminalError, match=says) as caught:
        invoke_arguments(discover(folder)[handler], args)
    assert caught.value.type == "invalid_config"
    assert "types.py:" in caught.value.message


def test_params_and_args_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="not both"):
        FunctionConfig(handler="f", params={}, args=[])
    assert FunctionConfig(handler="f", params={"a": 1}).arguments == [{"a": 1}]
    assert FunctionConfig(handler="f", args=[1, [2]]).arguments == [1, [2]]
    assert FunctionConfig(handler="f").arguments == []
