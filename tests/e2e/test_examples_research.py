"""The research flows run end to end: agents with tools of real MCP servers, their approvals, what fails on the way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e.product import Product

from orchestrator.client import Client, Run, RunFailed
from orchestrator.store.tasks import Task

Json = Any

TOPIC = "Do street trees cool cities?"
ORDER = "papers__order_full_text"
DECISIONS: dict[str, tuple[str, Json, str | None]] = {
    "approved": ("approve", None, None),
    "edited": ("edit", {"arguments": {"id": "paper-3", "max_price": 5}}, None),
    "refused": ("reject", None, "the budget is spent"),
}
"""What the person at the desk says in each of the runs that want to buy a paper."""
TROUBLE = ("offline", "dreaming", "careless", "stubborn")
SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    result: Json
    error: dict[str, Json]
    steps: dict[str, Json]
    task: Task | None = None

    def named(self, name: str) -> list[Json]:
        """The steps of that name: of an agent's calls, those of that tool."""
        return [record for record in self.steps.values() if record.get("name") == name]


@pytest.fixture(scope="module")
def outcomes(product: Product) -> dict[str, Outcome]:
    """All the runs that the tests look at, side by side."""

    async def gathered() -> dict[str, Outcome]:
        async with await Client.connect(product.settings) as client:
            runs = {"usual": _run(client, TOPIC), "nothing": _run(client, "quantum gravity")}
            runs |= {word: _run(client, f"{TOPIC} {word}") for word in TROUBLE}
            runs |= {word: _run(client, TOPIC, word) for word in DECISIONS}
            runs["team"] = _run(client, TOPIC, flow="research-coordinator")
            runs["inventive"] = _run(client, f"{TOPIC} inventive", flow="research-coordinator")
            return dict(zip(runs, await asyncio.gather(*runs.values()), strict=True))

    return asyncio.run(gathered())


async def _run(client: Client, topic: str, decided: str = "", flow: str = "multi-agent-research") -> Outcome:
    inputs = {"research_topic": topic} | ({"scope": "in-depth"} if decided else {})
    run = await client.start(flow, inputs)
    task = await _decide(client, run, *DECISIONS[decided]) if decided else None
    try:
        result, error = await run.result(SECONDS), {}
    except RunFailed as failed:
        result, error = None, failed.error
    return Outcome(result, error, (await run.state())["steps"], task)


async def _decide(client: Client, run: Run, decision: str, data: Json, comment: str | None) -> Task:
    for _ in range(int(SECONDS * 10)):
        tasks = await client.tasks(run_id=run.id, status="open")
        if tasks:
            await client.decide(tasks[0].id, decision, data, comment, by="kim")
            return tasks[0]
        await asyncio.sleep(0.1)
    pytest.fail(f"run {run.id} never asked for approval")


def sources(outcome: Outcome) -> set[str]:
    return {finding["source"] for finding in outcome.result["findings"]}


def citations(report: Json) -> set[str]:
    return {citation for section in report["sections"] for citation in section["citations"]}


def limits(outcome: Outcome) -> str:
    return str(outcome.result["report"]["limitations"])


def test_the_report_cites_what_both_researchers_found_and_nothing_else(outcomes: dict[str, Outcome]) -> None:
    usual = outcomes["usual"]
    assert {finding["by"] for finding in usual.result["findings"]} == {"web", "academic"}
    assert citations(usual.result["report"]) == sources(usual)
    assert {source.partition("-")[0] for source in sources(usual)} == {"web", "paper"}
    assert usual.result["missing"] == []


def test_the_researchers_worked_at_the_same_time(outcomes: dict[str, Outcome]) -> None:
    web, academic = (outcomes["usual"].steps[f"research/{name}"] for name in ("web", "academic"))
    assert web["started_at"] < academic["finished_at"]
    assert academic["started_at"] < web["finished_at"]


def test_the_analyst_computes_with_a_function_and_the_report_says_what(outcomes: dict[str, Outcome]) -> None:
    usual = outcomes["usual"]
    (described,) = usual.named("describe_figures")
    assert described["type"] == "function"
    assert f"{described['output']['count']} figures" in usual.result["report"]["summary"]


def test_a_page_that_gives_orders_orders_nothing(outcomes: dict[str, Outcome]) -> None:
    usual = outcomes["usual"]
    assert any("order the full text" in record["output"]["text"] for record in usual.named("web__read_page"))
    assert usual.named(ORDER) == []


def test_a_researcher_that_fails_is_named_and_the_others_work_is_reported(outcomes: dict[str, Outcome]) -> None:
    offline = outcomes["offline"]
    assert offline.steps["research/academic"]["status"] == "failed"
    assert [one["researcher"] for one in offline.result["missing"]] == ["academic"]
    assert "academic researcher failed" in limits(offline)
    assert "not today" in limits(offline)
    assert citations(offline.result["report"]) == sources(offline) != set()


def test_a_claim_whose_source_does_not_exist_becomes_a_gap(outcomes: dict[str, Outcome]) -> None:
    dreaming = outcomes["dreaming"]
    assert {source.partition("-")[0] for source in sources(dreaming)} == {"paper"}
    assert "web-77" in limits(dreaming)


def test_a_report_with_an_invented_citation_is_written_again(outcomes: dict[str, Outcome]) -> None:
    careless = outcomes["careless"]
    assert careless.steps["writing"]["passes"] == 2
    assert citations(careless.result["report"]) == sources(careless)


def test_a_report_that_keeps_inventing_is_no_result(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["stubborn"].error["type"] == "loop_limit"
    assert outcomes["inventive"].error["type"] == "invented_source"
    assert "paper-99" in outcomes["inventive"].error["message"]


def test_a_topic_on_which_there_is_nothing_fails_in_words(outcomes: dict[str, Outcome]) -> None:
    error = outcomes["nothing"].error
    assert error["type"] == "no_findings"
    assert "quantum gravity" in error["message"]


def test_money_is_asked_for_with_the_whole_call_shown(outcomes: dict[str, Outcome]) -> None:
    task = outcomes["approved"].task
    assert task is not None
    assert task.group == "research-desk"
    assert ORDER in (task.title or "")
    assert '"max_price": 50' in (task.instructions or "")


def test_an_approved_order_is_placed_and_its_text_is_used(outcomes: dict[str, Outcome]) -> None:
    approved = outcomes["approved"]
    (order,) = approved.named(ORDER)
    assert order["output"]["paid"] > 0
    assert order["output"]["id"] in sources(approved)


def test_an_edited_order_is_placed_as_the_person_wrote_it(outcomes: dict[str, Outcome]) -> None:
    (order,) = outcomes["edited"].named(ORDER)
    assert order["status"] == "failed"
    assert "costs 20 dollars, not 5" in order["error"]["message"]
    assert outcomes["edited"].result["missing"] == [], "a failed tool call is told to the agent, which goes on"


def test_a_refused_order_is_never_placed_and_the_agent_goes_on(outcomes: dict[str, Outcome]) -> None:
    refused = outcomes["refused"]
    assert refused.named(ORDER) == []
    assert {source.partition("-")[0] for source in sources(refused)} == {"web", "paper"}


def test_a_coordinator_with_agents_as_tools_reaches_a_cited_report(outcomes: dict[str, Outcome]) -> None:
    team = outcomes["team"]
    assert {source.partition("-")[0] for source in citations(team.result)} == {"web", "paper"}
    assert all(team.named(name) for name in ("web-researcher", "academic-researcher", "data-analyst"))
    spent = team.steps["coordinate"]["usage"]["cost"]
    turns = [f"coordinate/turn[{number}]/model" for number in range(3)]
    own = sum(team.steps[path]["usage"]["cost"] for path in turns)
    assert spent > own > 0, "what the others spent is the coordinator's spending"
