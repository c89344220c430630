"""Sample data of two of the three sources, so that `etl-pipeline` runs without anybody's systems: the stores' CSV file
and the old system's database. The third source, the web shop, is one of the example services.

    python workflows/etl/sample_data.py
"""

from __future__ import annotations

import argparse
import csv
import sqlite3
from contextlib import closing
from pathlib import Path

HEADER = ["Receipt No", "Customer", "Country", "Total", "Paid on", "Changed"]
COUNTRIES = ["South Korea", "Germany", "United States"]
NAMES = ["  kim minji", "LEE  JUNHO", "Anna Schmidt", "joe brown  "]


def receipts(count: int) -> list[list[str]]:
    """Receipts as the tills print them: spaces, capitals and separators as they come. Every fiftieth is a test sale,
    and every seventieth has a total that is no number."""
    rows = []
    for number in range(count):
        name = "TEST" if number % 50 == 49 else NAMES[number % len(NAMES)]
        total = "n/a" if number % 70 == 69 else f"{1000 + number * 7:,}.50"
        paid, changed = (
            f"2026-01-{number % 28 + 1:02d}",
            f"2026-02-01T{number // 60 % 24:02d}:{number % 60:02d}:00+09:00",
        )
        rows.append([f"R-{number:05d}", name, COUNTRIES[number % len(COUNTRIES)], total, paid, changed])
    return rows


def write_stores(file: Path, count: int) -> None:
    """The stores' export."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.writer(opened, delimiter=";")
        table.writerow(HEADER)
        table.writerows(receipts(count))


def write_legacy(database: Path, region: str, count: int) -> None:
    """The old system's table; what is there already stays."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS bookings (number INTEGER NOT NULL, region TEXT NOT NULL, cust_name TEXT, "
            "land TEXT, net REAL, tax REAL, booked TEXT, state TEXT, modified TEXT, PRIMARY KEY (region, number))"
        )
        connection.executemany(
            "INSERT OR IGNORE INTO bookings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    number,
                    region,
                    NAMES[number % len(NAMES)],
                    ["KOR", "GER", "USA"][number % 3],
                    100.0 + number,
                    round((100.0 + number) / 10, 2),
                    f"{number % 28 + 1:02d}.12.2025",
                    "X" if number % 20 == 0 else "A",
                    f"2026-01-15 {number // 60 % 24:02d}:{number % 60:02d}:00",
                )
                for number in range(1, count + 1)
            ],
        )


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description="Sample data for etl-pipeline")
    parser.add_argument("--folder", type=Path, default=Path(), help="the project")
    parser.add_argument("--region", default="seoul")
    parser.add_argument("--rows", type=int, default=300)
    given = parser.parse_args()
    write_stores(given.folder / "data" / "etl" / f"{given.region}.csv", given.rows)
    write_legacy(given.folder / ".orchestrator" / "etl-legacy.db", given.region, given.rows)


if __name__ == "__main__":
    main()
