"""From alerts that runs have raised to the channels they are for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from orchestrator.dispatch.loops import side_by_side, until
from orchestrator.errors import OrchestratorError, StepError
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.call import ALERT
from orchestrator.spec.definition import Json
from orchestrator.spec.project import Project
from orchestrator.steps.context import CURRENT, Resources, StepContext
from orchestrator.steps.notify.alert import tell
from orchestrator.steps.notify.sent import Sent
from orchestrator.store.alerts import Alert
from orchestrator.store.database import Store

_LOGGER = logging.getLogger("orchestrator.dispatch")
AT_ONCE = 5
"""Alerts for one channel that are sent together."""
POLL = 1.0
"""Seconds between two looks for what other processes keep."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
"""Seconds before an alert that was not sent is tried again; doubled from try to try."""
GIVE_UP = 86400.0
"""Seconds after which an alert is not tried any more."""
TRY = 60.0
"""Seconds that one try may take."""
LEASE = TRY + 30.0
"""Seconds a gateway has to send what it took; after them another one may."""


class AlertSender:
    """Sends alerts, each channel by itself: one that hangs holds up no other. An alert is sent again until its channel
    has taken it, under the same id; one that no further try helps, or that was tried for a day, is kept as failed."""

    name = "alerts"

    def __init__(self, store: Store, project: Callable[[], Project], settings: Settings) -> None:
        self._settings = settings
        self._alerts = store.alerts
        self._project = project
        self._resources = Resources()
        self._busy: dict[str, asyncio.Task[None]] = {}
        """By channel."""

    async def aclose(self) -> None:
        """Stop sending. What was under way is sent again by whoever comes next."""
        for task in self._busy.values():
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy.values())
        await self._resources.aclose()

    async def turn(self) -> None:
        """Begin with every channel that something is for, and wait until something may be. Raises Unavailable."""
        self._alerts.arrived.clear()
        for channel in await self._alerts.due_channels():
            if channel not in self._busy:
                self._busy[channel] = asyncio.create_task(self._serve(channel), name=f"alerts for {channel}")
        await until(self._alerts.arrived, POLL)

    async def _serve(self, channel: str) -> None:
        """Send what is due for a channel until nothing is."""
        try:
            while taken := await self._alerts.take(channel, AT_ONCE, LEASE):
                await side_by_side(self._send(one) for one in taken)
        except OrchestratorError as error:
            # Once the lease is over they are found again.
            _LOGGER.warning("alerts for '%s' wait: %s", channel, error)
        finally:
            del self._busy[channel]

    async def _send(self, alert: Alert) -> None:
        """One try. Raises Unavailable where the store cannot note what became of it, and FlowInvalid where
        orchestrator.yaml cannot be read."""
        context = self._context(alert)
        CURRENT.set(context)
        sent = Sent(alert.sent)
        try:
            async with asyncio.timeout(TRY):
                await tell(alert.channel, dict(alert.told), context, sent)
        except TimeoutError:
            slow = StepError("timeout", f"the channel has not taken it in {TRY:g} s")
            await self._not_sent(alert, slow, context, sent.known)
        except StepError as error:
            await self._not_sent(alert, error, context, sent.known)
        except Exception as error:
            # A defect of ours, or an entry of orchestrator.yaml that nobody foresaw: no reason to forget the alert.
            _LOGGER.warning("alert %s could not be made", alert.id, exc_info=True)
            await self._not_sent(alert, StepError(type(error).__name__, str(error)), context, sent.known)
        else:
            problem = "; ".join(context.secrets.mask_text(warning) for warning in context.warnings)
            await self._alerts.done(alert, problem or None)

    async def _not_sent(self, alert: Alert, error: StepError, context: StepContext, sent: Json) -> None:
        problem = context.secrets.mask_text(f"{error.type}: {error.message}")
        over = datetime.now(UTC) >= alert.since + timedelta(seconds=GIVE_UP)
        if error.retryable and not over:
            pause = min(FIRST_PAUSE * 2.0 ** min(alert.attempts - 1, 20), LONGEST_PAUSE)
            await self._alerts.again(alert, problem, max(pause, error.retry_after or 0.0), sent)
            return
        _LOGGER.warning(
            "alert '%s' of run %s was not sent: %s; see `orchestrator alerts list`",
            alert.told["condition"],
            alert.run_id,
            problem,
        )
        await self._alerts.give_up(alert, problem, sent)

    def _context(self, alert: Alert) -> StepContext:
        """What is told in the run's name, as if one of its steps did."""
        return StepContext(
            path="#alert",
            step_id="alert",
            step_type=ALERT,
            source="orchestrator.yaml",
            flow=alert.flow,
            version=alert.version,
            run_id=alert.run_id,
            root_id=alert.run_id,
            attempt=alert.attempts,
            idempotency_key=alert.id,
            settings=self._settings,
            project=self._project(),
            secrets=Secrets(self._settings.secrets),
            resources=self._resources,
            report=_unreported,
        )


def _unreported(_: Json) -> None:
    """No activity is running whose progress Temporal could show."""
