"""The whole product in one process, for laptops, demos and tests."""

from orchestrator.devserver.serve import HttpServer
from orchestrator.devserver.stack import Parts, Stack, Teller, connected
from orchestrator.devserver.temporal import (
    TemporalServer,
    die_with_parent,
    find_temporal,
    free_port,
    port_is_free,
)

__all__ = [
    "HttpServer",
    "Parts",
    "Stack",
    "Teller",
    "TemporalServer",
    "connected",
    "die_with_parent",
    "find_temporal",
    "free_port",
    "port_is_free",
]
