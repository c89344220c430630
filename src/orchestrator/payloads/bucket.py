"""Values in an S3 bucket, through the Temporal SDK's own driver."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.aws.s3driver import S3StorageDriver, S3StorageDriverClient
from temporalio.converter import StorageDriverClaim, StorageDriverRetrieveContext, StorageDriverStoreContext

from orchestrator.errors import SettingsInvalid, Unavailable
from orchestrator.payloads.place import Place

NAME = "orchestrator.s3"
_NO_LIMIT = 5_000_000_000
"""Bytes. Sizes are checked at the doors: refused here, inside a workflow task, a value would only hold its run up."""


class BucketDriver(S3StorageDriver):
    """The SDK's driver in one bucket, with errors in our words. Raises Unavailable; ``aclose`` when done."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._objects = _Objects(place)
        super().__init__(self._objects, place.bucket, NAME, _NO_LIMIT)

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Upload what is not there yet."""
        try:
            return await super().store(context, payloads)
        except (RuntimeError, ValueError) as error:
            raise self._unavailable("stored", error) from error

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Download, and compare with the digest in the claim. A claim names no other bucket."""
        for claim in claims:
            if claim.claim_data.get("bucket") != self._place.bucket:
                raise Unavailable(
                    f"a stored value is in the bucket '{claim.claim_data.get('bucket')}', and ORCHESTRATOR_PAYLOADS "
                    f"names '{self._place.bucket}'"
                )
        try:
            return await super().retrieve(context, claims)
        except (RuntimeError, ValueError, KeyError) as error:
            raise self._unavailable("fetched", error) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._objects.aclose()

    def _unavailable(self, what: str, error: Exception) -> Unavailable:
        cause = error.__cause__ or error
        return Unavailable(f"a value cannot be {what} in {self._place} ({cause}); this is tried again")


class _Objects(S3StorageDriverClient):
    """An S3 client, connected when first used. Keys stand under the place's prefix."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stack = AsyncExitStack()
        self._connecting = asyncio.Lock()
        self._client: S3StorageDriverClient | None = None
        try:
            import aioboto3
        except ImportError as error:
            raise SettingsInvalid(
                "ORCHESTRATOR_PAYLOADS=s3://… needs more packages: install orchestrator[s3]"
            ) from error
        self._session: Any = aioboto3.Session()

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        """Upload."""
        await (await self._connected()).put_object(bucket=bucket, key=self._key(key), data=data)

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        """Whether it is there."""
        return await (await self._connected()).object_exists(bucket=bucket, key=self._key(key))

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Download."""
        return await (await self._connected()).get_object(bucket=bucket, key=self._key(key))

    async def aclose(self) -> None:
        """Close what was opened."""
        self._client = None
        await self._stack.aclose()

    def _key(self, key: str) -> str:
        return f"{self._place.prefix}/{key}" if self._place.prefix else key

    async def _connected(self) -> S3StorageDriverClient:
        async with self._connecting:
            if self._client is None:
                from temporalio.contrib.aws.s3driver.aioboto3 import new_aioboto3_client

                opening = self._session.client(
                    "s3", endpoint_url=self._place.endpoint, region_name=self._place.region, config=_patience()
                )
                self._client = new_aioboto3_client(await self._stack.enter_async_context(opening))
            return self._client


def _patience() -> Any:
    """A workflow task has five seconds, and is tried again: an answer that comes later is of no use."""
    from aiobotocore.config import AioConfig

    return AioConfig(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "max_attempts": 2})
