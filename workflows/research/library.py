"""An MCP server over the documents beside it, for the research flows: ``python library.py web|papers|sources``.

It needs no account and no network, so that the flows can be tried at once; with real servers in its place
(``docs/mcp-catalogue.md`` lists some) the flows stay as they are. The documents are made up.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

DOCUMENTS: dict[str, dict[str, Any]] = {
    document["id"]: document
    for document in json.loads((Path(__file__).parent / "documents.json").read_text(encoding="utf-8"))
}
WORD = re.compile(r"\w{4,}")
COMMON = {"been", "does", "from", "have", "that", "this", "what", "which", "with"}
SHARED = 2
"""Words that a document has in common with the query at least."""


class Entry(BaseModel):
    """A document in a list of results."""

    id: str
    title: str
    publisher: str
    year: int
    summary: str


class Found(BaseModel):
    """Results of a search, best first."""

    documents: list[Entry]


class Figure(BaseModel):
    """A number with its name."""

    label: str
    value: float
    unit: str


class Document(Entry):
    """A document to read."""

    text: str
    figures: list[Figure]
    full_text_price: float = 0
    """US dollars; 0 where the text above is all there is."""


class Ordered(BaseModel):
    """A full text that was bought."""

    id: str
    paid: float
    text: str


class Checked(BaseModel):
    """Which of the ids are documents of this library."""

    known: list[str]
    unknown: list[str]


def search(shelf: str, query: str, limit: int) -> Found:
    """Documents that share words with the query; those that share most come first."""
    wanted = set(words(query))
    enough = min(SHARED, max(1, len(wanted)))
    scored = [
        (len(wanted & set(words(f"{document['title']} {document['summary']} {document['text']}"))), document)
        for document in DOCUMENTS.values()
        if document["shelf"] == shelf
    ]
    best = sorted((pair for pair in scored if pair[0] >= enough), key=lambda pair: (-pair[0], pair[1]["id"]))
    return Found(documents=[Entry.model_validate(document) for _, document in best[: max(1, min(limit, 20))]])


def words(text: str) -> list[str]:
    """Words of four letters and more that say something, without the plural's s."""
    return [word.rstrip("s") for word in WORD.findall(text.casefold()) if word not in COMMON]


def read(shelf: str, wanted: str) -> Document:
    """The document. Raises ToolError, whose text the model reads."""
    document = DOCUMENTS.get(wanted)
    if document is None or document["shelf"] != shelf:
        raise ToolError(f"there is no document '{wanted}' here; search first and use an id of the results")
    return Document.model_validate(document)


def web() -> MCPServer:
    """Web pages."""
    server = MCPServer("web")

    @server.tool(name="search")
    def search_web(query: str, limit: int = 4) -> Found:
        """Search web pages by words. Results are titles and summaries; read a page before you rely on it."""
        return search("web", query, limit)

    @server.tool()
    def read_page(id: str) -> Document:  # noqa: A002 - the word of the tool
        """The text and the figures of one web page, by the id of a search result."""
        return read("web", id)

    return server


def papers() -> MCPServer:
    """Research papers."""
    server = MCPServer("papers")

    @server.tool(name="search")
    def search_papers(query: str, limit: int = 4) -> Found:
        """Search research papers by words. Results are titles and summaries."""
        return search("papers", query, limit)

    @server.tool()
    def read_paper(id: str) -> Document:  # noqa: A002
        """The abstract and the main figures of one paper, by the id of a search result."""
        return read("papers", id)

    @server.tool()
    def order_full_text(id: str, max_price: float) -> Ordered:  # noqa: A002
        """Buy the full text of a paper. This spends money, at most `max_price` US dollars."""
        document = read("papers", id)
        if document.full_text_price > max_price:
            raise ToolError(f"the full text of '{id}' costs {document.full_text_price:g} dollars, not {max_price:g}")
        return Ordered(id=id, paid=document.full_text_price, text=DOCUMENTS[id].get("full_text", document.text))

    return server


def sources() -> MCPServer:
    """What exists: for checks that do not rely on a model."""
    server = MCPServer("sources")

    @server.tool()
    def check_sources(ids: list[str]) -> Checked:
        """Which of these ids are documents of the library."""
        unique = list(dict.fromkeys(ids))
        known = [one for one in unique if one in DOCUMENTS]
        return Checked(known=known, unknown=[one for one in unique if one not in DOCUMENTS])

    return server


if __name__ == "__main__":
    {"web": web, "papers": papers, "sources": sources}[sys.argv[1]]().run()
