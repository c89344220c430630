"""The Python client: start runs, look at them, answer their tasks. Every door of the product goes through it.

```python
async with await Client.connect() as client:
    run = await client.start("customer-onboarding", inputs={"customer": {...}})
    print(await run.result())
```
"""

from orchestrator.client.again import Plan
from orchestrator.client.client import Client
from orchestrator.client.run import OVER, Run, RunCancelled, RunFailed, RunInfo
from orchestrator.client.transcript import Transcript, TranscriptMessage, TranscriptSummary

__all__ = [
    "OVER",
    "Client",
    "Plan",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunInfo",
    "Transcript",
    "TranscriptMessage",
    "TranscriptSummary",
]
