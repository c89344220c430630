"""Tables of what was measured, and the file that remembers them."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.load import middle

RESULTS = Path(__file__).parent / "results.md"
BASE = "hand-written"


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one variant in one round."""

    variant: str
    round: int
    figures: dict[str, float]
    case: str = ""


def table(title: str, rows: list[Row], base: str = BASE) -> str:
    """Medians over the rounds as Markdown; where the variant ``base`` was measured beside, the median of the
    ratios of each round, for a single median hides what a busy machine does to one of the two."""
    names = list(rows[0].figures)
    lines = [f"### {title}", "", "| " + " | ".join(["", *names]) + " |", "|---" * (len(names) + 1) + "|"]
    for case in dict.fromkeys(row.case for row in rows):
        variants = list(dict.fromkeys(row.variant for row in rows if row.case == case))
        for variant in sorted(variants, key=lambda name: name != base):
            cells = [_number(middle(_column(rows, case, variant, name))) for name in names]
            lines.append("| " + " | ".join([" ".join(filter(None, [variant, case])), *cells]) + " |")
        if base in variants and len(variants) > 1:
            lines += [_ratios(rows, case, variant, base, names) for variant in variants if variant != base]
    return "\n".join([*lines, ""])


def _column(rows: list[Row], case: str, variant: str, name: str) -> list[float]:
    found = [row for row in rows if (row.case, row.variant) == (case, variant)]
    return [row.figures[name] for row in sorted(found, key=lambda row: row.round)]


def _ratios(rows: list[Row], case: str, variant: str, base: str, names: list[str]) -> str:
    cells = []
    for name in names:
        pairs = zip(_column(rows, case, variant, name), _column(rows, case, base, name), strict=True)
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        spread = f" ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 else ""
        cells.append(f"{middle(ratios):.2f}×{spread}" if ratios else "")
    return "| " + " | ".join([f"**{variant} / {base}**", *cells]) + " |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def machine() -> str:
    """What the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return (
        f"{os.cpu_count()} × {model}, Python {platform.python_version()}, "
        f"temporalio {version('temporalio')}, load before {load():.1f}"
    )


def load() -> float:
    """How many processes wanted a processor in the last minute: what else the machine does."""
    return os.getloadavg()[0]


def save(text: str, setup: str) -> None:
    """Append a dated section to ``results.md``."""
    heading = "# Results\n\nAppended by `python -m benchmarks --save`; newest last.\n"
    before = RESULTS.read_text() if RESULTS.exists() else heading
    RESULTS.write_text(f"{before}\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n{setup}\n\n{text}\n")
