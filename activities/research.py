"""Functions of the research flows: what must be right is computed, not asked of a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean

from temporalio import activity

from orchestrator.errors import TerminalError


@dataclass(frozen=True)
class Figure:
    """A number with its name, as the sources give it."""

    label: str
    value: float
    unit: str


@dataclass(frozen=True)
class Finding:
    """One claim and the document it comes from."""

    claim: str
    source: str
    """Id of the document."""
    figures: list[Figure] = field(default_factory=list)


@dataclass(frozen=True)
class Research:
    """What one researcher brought back."""

    findings: list[Finding]
    gaps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Gathered:
    """What the flow passes: each researcher's result, null where one failed, and why; and the sources that were looked
    up and do not exist."""

    results: dict[str, Research | None]
    errors: dict[str, str | None] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """A part of a report; ``citations`` are ids of documents."""

    heading: str
    text: str
    citations: list[str]


@dataclass(frozen=True)
class Report:
    """A report as Claude writes it."""

    title: str
    summary: str
    sections: list[Section]
    limitations: str = ""


@dataclass(frozen=True)
class Draft:
    """A report, the documents it may cite, and the researchers that failed, whom it has to name."""

    report: Report
    sources: list[str]
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Figures:
    """Numbers of the same unit."""

    figures: list[Figure]


@activity.defn
def collect_findings(gathered: Gathered) -> dict[str, object]:
    """``{findings, sources, figures, gaps, missing}`` of all researchers. A claim whose source does not exist becomes a
    gap; ``missing`` says who failed and why."""
    arrived = {name: result for name, result in gathered.results.items() if result is not None}
    claimed = [(name, finding) for name, result in arrived.items() for finding in result.findings]
    unique = {
        (finding.claim, finding.source): (name, finding)
        for name, finding in claimed
        if finding.source not in gathered.unknown
    }
    invented = [
        f"left out, for its source '{finding.source}' does not exist: {finding.claim}"
        for _, finding in claimed
        if finding.source in gathered.unknown
    ]
    return {
        "findings": [
            {"claim": finding.claim, "source": finding.source, "by": name} for name, finding in unique.values()
        ],
        "sources": list(dict.fromkeys(finding.source for _, finding in unique.values())),
        "figures": [
            {"label": figure.label, "value": figure.value, "unit": figure.unit, "source": finding.source}
            for _, finding in unique.values()
            for figure in finding.figures
        ],
        "gaps": [gap for result in arrived.values() for gap in result.gaps] + invented,
        "missing": [
            {"researcher": name, "because": gathered.errors.get(name) or "it brought no result"}
            for name, result in gathered.results.items()
            if result is None
        ],
    }


@activity.defn
def check_report(draft: Draft) -> dict[str, object]:
    """``{ok, problems}``: every section cites, every citation is a source of the research, and every researcher that
    failed is named under the limitations."""
    known = set(draft.sources)
    problems = [
        f"section '{section.heading}' cites '{citation}', which the research did not find"
        for section in draft.report.sections
        for citation in section.citations
        if citation not in known
    ]
    problems += [
        f"section '{section.heading}' cites nothing" for section in draft.report.sections if not section.citations
    ]
    problems += [
        f"the limitations do not say that the {name} researcher failed"
        for name in draft.missing
        if name.casefold() not in draft.report.limitations.casefold()
    ]
    return {"ok": not problems, "problems": problems}


@activity.defn
def describe_figures(figures: Figures) -> dict[str, object]:
    """Count, smallest, largest and mean of numbers that share one unit. Fails where the units differ."""
    units = sorted({figure.unit for figure in figures.figures})
    if len(units) != 1:
        raise TerminalError("mixed_units", f"give figures of one unit; these have {', '.join(units) or 'none'}")
    values = [figure.value for figure in figures.figures]
    return {
        "unit": units[0],
        "count": len(values),
        "smallest": min(values),
        "largest": max(values),
        "mean": round(fmean(values), 3),
    }
