"""Large values in the product as it is started: the Web UI knows where they are, doctor looks, purge is careful."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from tests.e2e.product import Product

LARGE = """
id: large
inputs: {text: string}
steps: [{id: keep, type: transform, config: {value: "{{ inputs.text }}"}}]
"""


def test_the_web_ui_is_told_where_stored_values_are_shown(product: Product) -> None:
    ui = f"http://127.0.0.1:{product.settings.temporal_ui_port}"
    codec = httpx.get(f"{ui}/api/v1/settings").json()["Codec"]
    assert codec["Endpoint"] == f"http://127.0.0.1:{product.settings.port}/codec"
    for origin in (ui, ui.replace("127.0.0.1", "localhost")):
        answer = httpx.post(f"{codec['Endpoint']}/decode", json={"payloads": []}, headers={"Origin": origin})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)


def test_a_large_value_is_stored_once_and_seen_by_doctor_and_purge(product: Product, tmp_path: Path) -> None:
    flow, inputs = tmp_path / "large.yaml", tmp_path / "inputs.json"
    flow.write_text(LARGE, encoding="utf-8")
    inputs.write_text(json.dumps({"text": "spam " * 100_000}), encoding="utf-8")
    run = product.cli("run", str(flow), "--inputs-file", str(inputs), "--wait", "--json")
    assert run.returncode == 0, run.stderr
    assert len(json.loads(run.stdout)["result"]) == 500_000
    findings = json.loads(product.cli("doctor", "--json").stdout)
    [found] = [finding["found"] for finding in findings if finding["what"] == "payloads"]
    assert str(product.settings.state / "objects") in found and "50,000,000 bytes" in found
    refused = product.cli("payloads", "purge", "--older-than", "1d")
    assert (refused.returncode, "Temporal keeps finished runs" in refused.stderr) == (2, True)
    purged = product.cli("payloads", "purge", "--json")
    assert json.loads(purged.stdout) == {"removed": 0, "bytes": 0, "kept": 0}
    unclear = product.cli("payloads", "purge", "--older-than", "soon")
    assert (unclear.returncode, "--older-than soon" in unclear.stderr) == (2, True)
