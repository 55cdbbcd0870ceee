"""Which releases a store holds, and where each runs now."""

from dataclasses import dataclass

from lockgate.releasing.environments import Entry, Environment, environments
from lockgate.releasing.registry import Registry, Release


@dataclass(frozen=True, slots=True)
class Listed:
    """A release, the git commit it was made of (empty if its manifest names none), the environments that run it."""

    release: Release
    commit: str
    environments: tuple[str, ...]


def running(registry: Registry, version: str) -> list[str]:
    """Return the environments that run ``version`` now, by their newest entries, whose signatures are verified."""
    heads = {name: Environment(registry, name).head() for name in environments(registry)}
    return [name for name, entry in heads.items() if entry is not None and _runs(entry) and entry.version == version]


def list_releases(registry: Registry, limit: int | None = None) -> list[Listed]:
    """Return the releases, the newest version first, at most ``limit``; signatures and manifests are verified."""
    runs: dict[str, list[str]] = {}
    for name in environments(registry):
        if (entry := Environment(registry, name).head()) is not None and _runs(entry):
            runs.setdefault(entry.version, []).append(name)
    versions = registry.versions()[::-1][:limit]
    builds = [registry.release(version) for version in versions]
    return [
        Listed(build.release, str(build.manifest.facts.get("commit") or ""), tuple(runs.get(build.release.version, ())))
        for build in builds
    ]


def _runs(newest: Entry) -> bool:
    return newest.action != "retire"
