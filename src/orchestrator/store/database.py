"""The store: everything that is remembered outside Temporal."""

from __future__ import annotations

from sqlalchemy import text

from orchestrator.store.alerts import Alerts
from orchestrator.store.audit import Audit
from orchestrator.store.cache import Cache
from orchestrator.store.connection import Database
from orchestrator.store.deliveries import Deliveries
from orchestrator.store.events import Events
from orchestrator.store.files import Files
from orchestrator.store.flows import Flows
from orchestrator.store.keys import SigningKeys
from orchestrator.store.ledger import Ledger
from orchestrator.store.listeners import Listeners
from orchestrator.store.queues import Queues
from orchestrator.store.responses import Responses
from orchestrator.store.samples import Samples
from orchestrator.store.state import State
from orchestrator.store.tasks import Tasks
from orchestrator.store.transcripts import Transcripts
from orchestrator.store.uploads import Uploads


class Store:
    """Everything the product remembers, by noun, in one database. Safe to share between tasks of one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.flows = Flows(database)
        self.tasks = Tasks(database)
        self.audit = Audit(database)
        self.deliveries = Deliveries(database)
        self.cache = Cache(database)
        self.transcripts = Transcripts(database)
        self.events = Events(database)
        self.files = Files(database)
        self.ledger = Ledger(database)
        self.alerts = Alerts(database)
        self.listeners = Listeners(database)
        self.keys = SigningKeys(database)
        self.responses = Responses(database)
        self.samples = Samples(database)
        self.uploads = Uploads(database)
        self.state = State(database)
        self.queues = Queues(database)

    @classmethod
    async def open(cls, url: str) -> Store:
        """Open ``sqlite:///file`` or ``postgresql://…`` and bring its tables up to date.

        Several processes may open the same database at once. Raises SettingsInvalid for a URL that names no
        usable database, Unavailable when it cannot be reached.
        """
        return cls(await Database.open(url))

    async def check(self) -> None:
        """Ask the database for an answer. Raises Unavailable."""
        async with self._database.reading() as connection:
            await connection.execute(text("select 1"))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._database.aclose()
