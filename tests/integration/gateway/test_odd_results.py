"""Results that a vendor or a function gave and that are hardly JSON: whoever asks for them is answered."""

from __future__ import annotations

from pathlib import Path

import temporalio.client

from .conftest import open_door

FUNCTION = '''
from temporalio import activity


@activity.defn
async def odd() -> dict[str, object]:
    """What programs in other languages write: half of an emoji, and a division by zero."""
    return {"cut": "a\\ud83d", "ratio": float("nan")}
'''
FLOW = """
id: odd-results
triggers: [{type: webhook, path: /odd, respond: result}]
steps: [{id: odd, type: function, config: {handler: odd}}]
"""


async def test_a_result_with_half_a_character_or_no_number_is_answered_and_shown(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    (tmp_path / "activities").mkdir()
    (tmp_path / "activities" / "odd.py").write_text(FUNCTION)
    async with open_door(temporal, tmp_path) as door:
        await door.publish(FLOW)
        answer = await door.http.post("/odd")
        assert (answer.status_code, answer.json()) == (200, {"cut": "a\ufffd", "ratio": None})
        run_id = answer.headers["x-run-id"]
        shown = (await door.http.get(f"/v1/runs/{run_id}")).json()
        assert shown["result"] == shown["state"]["steps"]["odd"]["output"] == answer.json()
        step = await door.http.get(f"/v1/runs/{run_id}/steps", params={"path": "odd"})
        assert step.json()["output"] == answer.json()
        assert (await door.http.get(f"/runs/{run_id}")).status_code == 200
