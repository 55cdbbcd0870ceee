"""``lockgate store gc``: list, or remove, builds that no release points at.

A build is garbage when its release never came to be: the upload was given up. Before anything of it is removed the
build is claimed, create-only, under the name a release would have to claim it by: one of the two wins, so that no
release can ever point at a build that is being removed. The claim stays: a build once given up does not come back.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lockgate.releasing.registry import COLLECTION, Registry, claim_path
from lockgate.store import ObjectDiffers, Stored


@dataclass(frozen=True, slots=True)
class Garbage:
    """A build nobody points at: its digest, its objects, their bytes, when the newest of them came (ISO 8601, UTC)."""

    digest: str
    objects: int
    size: int
    newest: str


def find_garbage(registry: Registry, older_than: timedelta, now: datetime) -> list[Garbage]:
    """Return the builds that no release points at or has claimed, and that grew last before ``now - older_than``.

    Every release is read and verified: what cannot be read is not taken for absent.
    """
    kept = {registry.release(version).release.manifest for version in registry.versions()}
    builds: dict[str, list[Stored]] = {}
    root = f"{registry.name}/builds/"
    for stored in registry.store.objects(root.rstrip("/")):
        builds.setdefault(stored.path.removeprefix(root).partition("/")[0], []).append(stored)
    found = []
    for digest, objects in builds.items():
        newest = max(stored.modified for stored in objects)
        if digest not in kept and newest < now - older_than:
            size = sum(stored.size for stored in objects)
            found.append(Garbage(digest, len(objects), size, newest.astimezone(UTC).isoformat(timespec="seconds")))
    claims = registry.store.read_all(claim_path(registry.name, garbage.digest) for garbage in found)
    return [garbage for garbage, claim in zip(found, claims, strict=True) if claim in {None, COLLECTION}]


def remove(registry: Registry, garbage: Garbage) -> bool:
    """Remove a build's objects, unless a release has claimed it; return whether it was removed."""
    try:
        registry.store.create(claim_path(registry.name, garbage.digest), COLLECTION)
    except ObjectDiffers:
        return False
    for stored in registry.store.objects(f"{registry.name}/builds/{garbage.digest}"):
        registry.store.delete(stored.path)
    return True
