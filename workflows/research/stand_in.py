"""What the local stand-in says in the research flows, so that they run without a key. It only pretends to understand:
it searches with the words of its task, repeats the first sentence of what it read, and cites where that stood."""

from __future__ import annotations

import json
import re
from typing import Any

from orchestrator.testing.claude_replies import Reply, When
from orchestrator.testing.claude_request import Request, blocks_of, texts_of

Json = Any

DOCUMENTS_READ = 3
PRICE_LIMIT = 50
CITED = re.compile(r"\[((?:web|paper)-\d+)\]")


def tagged(request: Request, tag: str) -> str:
    """The text of the first ``<tag>`` of the task."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", request.opening, re.DOTALL)
    return found[1].strip() if found else ""


def calls(request: Request) -> list[str]:
    """Names of the tools called so far."""
    return [
        block["name"]
        for message in request.messages
        if message["role"] == "assistant"
        for block in blocks_of(message["content"])
        if block.get("type") == "tool_use"
    ]


def results(request: Request) -> list[Json]:
    """What the tools gave back so far, in order: JSON where it is JSON; failures are left out."""
    # A call that a person changed has a note before its result.
    texts = [
        texts_of(blocks_of(block.get("content"))[-1:])
        for message in request.messages
        for block in blocks_of(message["content"])
        if block.get("type") == "tool_result" and not block.get("is_error")
    ]
    return [json.loads(text) if text[:1] in ("{", "[") else text for text in texts]


def plan(request: Request) -> Reply:
    """Two questions for each researcher."""
    topic = tagged(request, "topic")
    return Reply.json(
        {
            "web_tasks": [f"What has been tried: {topic}", f"What does it cost: {topic}"],
            "academic_tasks": [f"What was measured: {topic}", f"What limits it: {topic}"],
        }
    )


def research(request: Request) -> Reply:
    """Search, read, in depth also order a full text, then answer."""
    server = "web" if "a web researcher" in request.system else "papers"
    reading = f"{server}__read_page" if server == "web" else f"{server}__read_paper"
    called = calls(request)
    if not called:
        return Reply.tool_uses((f"{server}__search", {"query": task}) for task in tasks(request))
    found = {entry["id"]: entry for given in results(request) for entry in members(given, "documents")}
    read = {given["id"]: given for given in results(request) if isinstance(given, dict) and "figures" in given}
    if reading not in called and found:
        return Reply.tool_uses((reading, {"id": one}) for one in list(found)[:DOCUMENTS_READ])
    dear = [one for one, document in read.items() if document.get("full_text_price")]
    order = f"{server}__order_full_text"
    if dear and order not in called and "in-depth" in request.opening:
        return Reply.tool_uses([(order, {"id": dear[0], "max_price": PRICE_LIMIT})])
    return answer(request, read)


def tasks(request: Request) -> list[str]:
    """The questions of the goal, or the whole goal where another agent gave it."""
    listed = tagged(request, "tasks")
    return json.loads(listed) if listed else [request.opening]


def members(given: Json, name: str) -> list[Json]:
    """A list inside a result; empty where there is none."""
    return given.get(name, []) if isinstance(given, dict) else []


def answer(request: Request, read: dict[str, Json]) -> Reply:
    """Structured where the flow wants it, otherwise text with the sources in brackets."""
    ordered = {given["id"]: given for given in results(request) if isinstance(given, dict) and "paid" in given}
    texts = {one: (ordered.get(one) or document)["text"] for one, document in read.items()}
    claims = {one: text.split(". ")[0].rstrip(".") + "." for one, text in texts.items()}
    if request.schema is None:
        return Reply.text("\n".join(f"{claim} [{one}]" for one, claim in claims.items()) or "Nothing found.")
    findings = [{"claim": claim, "source": one, "figures": read[one]["figures"]} for one, claim in claims.items()]
    return Reply.json({"findings": findings, "gaps": [] if findings else [f"nothing on {tagged(request, 'topic')}"]})


def analyse(request: Request) -> Reply:
    """Have the figures of the commonest unit described, then say so."""
    described = list(results(request))
    if calls(request):
        told = [f"{one['count']} figures in {one['unit']}, {one['smallest']} to {one['largest']}" for one in described]
        return Reply.text(f"The sources give {'; '.join(told)}." if told else "The figures do not compare.")
    figures = json.loads(tagged(request, "figures") or "[]")
    units = [figure["unit"] for figure in figures]
    if not units:
        return Reply.text("There are no figures.")
    common = max(dict.fromkeys(units), key=units.count)
    chosen = [
        {name: figure[name] for name in ("label", "value", "unit")} for figure in figures if figure["unit"] == common
    ]
    return Reply.tool_uses([("describe_figures", {"figures": chosen})])


def write(request: Request) -> Reply:
    """One section for each researcher, each claim with its source; whoever is missing under the limitations."""
    findings = json.loads(tagged(request, "findings"))
    missing = json.loads(tagged(request, "missing"))
    by = {name: [one for one in findings if one["by"] == name] for name in dict.fromkeys(f["by"] for f in findings)}
    absent = [f"The {one['researcher']} researcher failed: {one['because']}" for one in missing]
    return Reply.json(
        report(
            tagged(request, "topic"),
            tagged(request, "analysis") or f"{len(findings)} findings.",
            {f"What the {name} research says": found for name, found in by.items()},
            " ".join([*absent, *json.loads(tagged(request, "gaps"))]) or "None known.",
        )
    )


def report(topic: str, summary: str, sections: dict[str, list[Json]], limitations: str) -> Json:
    """The shape both flows ask for."""
    return {
        "title": f"Report: {topic}",
        "summary": summary,
        "sections": [
            {
                "heading": heading,
                "text": " ".join(finding["claim"] for finding in found),
                "citations": [finding["source"] for finding in found],
            }
            for heading, found in sections.items()
        ],
        "limitations": limitations,
    }


def coordinate(request: Request) -> Reply:
    """Ask both researchers at once, then the analyst, then write."""
    topic, called = tagged(request, "topic"), calls(request)
    if not called:
        return Reply.tool_uses([("web-researcher", {"goal": topic}), ("academic-researcher", {"goal": topic})])
    told = "\n".join(given["text"] if isinstance(given, dict) else str(given) for given in results(request))
    if "data-analyst" not in called:
        return Reply.tool_uses([("data-analyst", {"goal": f"What do these say together? {told}"})])
    claims = [
        {"claim": CITED.sub("", line).strip(), "source": CITED.findall(line)[0]}
        for line in told.splitlines()
        if CITED.search(line)
    ]
    return Reply.json(report(topic, f"{len(claims)} findings.", {"What the researchers found": claims}, "None known."))


SCRIPT = [
    When(lambda request: "You are a research coordinator" in request.system and not request.body.get("tools"), plan),
    When("You are a research coordinator", coordinate),
    When("You are a web researcher", research),
    When("You are an academic researcher", research),
    When("You are a data analyst", analyse),
    When("You write research reports", write),
]
