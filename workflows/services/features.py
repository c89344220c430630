"""Which features are switched on for whom, for the flows in `user-events`."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()

features: dict[str, set[str]] = {}


@router.put("/features/{user}/{feature}")
def switch_on(user: str, feature: str) -> dict[str, object]:
    """Switched on twice is switched on."""
    features.setdefault(user, set()).add(feature)
    return look(user)


@router.get("/features/{user}")
def look(user: str) -> dict[str, object]:
    """What a user has."""
    return {"user": user, "features": sorted(features.get(user, ()))}
