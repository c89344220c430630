"""The data converter of every Temporal client of the product: what is large goes to the place of the settings."""

from __future__ import annotations

from collections.abc import Sequence

import temporalio.client
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverSelectContext,
    StorageDriverStoreContext,
)

from orchestrator.errors import Unavailable
from orchestrator.payloads import bucket
from orchestrator.payloads.bucket import BucketDriver
from orchestrator.payloads.folder import FolderDriver
from orchestrator.payloads.place import Place, default_root, place_of
from orchestrator.settings import Settings

THRESHOLD = 100_000
"""Bytes. Smaller values stay in the history; larger ones there make Temporal slow (measured)."""


def data_converter(settings: Settings) -> DataConverter:
    """The SDK's JSON converter, with large values stored where the settings say.

    Values that were stored as files before the setting changed are still read. Raises SettingsInvalid.
    """
    place = place_of(settings)
    chosen = _driver(place)
    drivers: list[StorageDriver] = [] if chosen is None else [chosen]
    if place.kind != "file":
        drivers.append(FolderDriver(default_root(settings)))
    if place.kind != "s3":
        drivers.append(_Elsewhere(bucket.NAME, "an S3 bucket"))

    def select(_: StorageDriverSelectContext, __: Payload) -> StorageDriver | None:
        return chosen

    storage = ExternalStorage(drivers=drivers, driver_selector=select, payload_size_threshold=THRESHOLD)
    return DataConverter(external_storage=storage)


def carrying(temporal: temporalio.client.Client, settings: Settings) -> temporalio.client.Client:
    """The same connection with this data converter; a client that has storage of its own is left as it is."""
    config = temporal.config()
    if config["data_converter"].external_storage is not None:
        return temporal
    config["data_converter"] = data_converter(settings)
    return temporalio.client.Client(**config)


async def release(converter: DataConverter) -> None:
    """Close what its storage keeps open."""
    storage = converter.external_storage
    for driver in storage.drivers if storage else ():
        if isinstance(driver, BucketDriver):
            await driver.aclose()


def _driver(place: Place) -> StorageDriver | None:
    if place.kind == "s3":
        return BucketDriver(place)
    return FolderDriver(place.root) if place.kind == "file" and place.root is not None else None


class _Elsewhere(StorageDriver):
    """Stands for a driver this process was not told about, so that a reference to it fails in words."""

    def __init__(self, name: str, what: str) -> None:
        self._name = name
        self._what = what

    def name(self) -> str:
        return self._name

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        raise NotImplementedError("never selected")

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        raise Unavailable(
            f"a value of this run is stored in {self._what}, which this process does not know: set "
            "ORCHESTRATOR_PAYLOADS as it was when the run started; until then the run waits"
        )
