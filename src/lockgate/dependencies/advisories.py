"""Known vulnerabilities of pinned packages, as a feed in the form of OSV tells them (https://google.github.io/osv.dev).

Asked only where a user names the feed. It is sent names and versions of packages, and nothing else.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from urllib.error import URLError
from urllib.request import Request, urlopen

from lockgate.dependencies.lock import Pin
from lockgate.errors import NotAskedError

OSV = "https://api.osv.dev"
AT_ONCE = 500
LIMIT = 32 << 20
SECONDS = 30.0


def vulnerabilities(pins: Iterable[Pin], feed: str = OSV) -> Mapping[str, tuple[str, ...]]:
    """Return ``name==version`` → the names of the advisories that are about it; packages without any are left out.

    Raises :class:`NotAskedError` where the feed does not answer as OSV does.
    """
    wanted = sorted({(pin.name, pin.version) for pin in pins})
    found: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(wanted), AT_ONCE):
        part = wanted[start : start + AT_ONCE]
        queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in part]
        for (name, version), answer in zip(part, _ask(feed, queries), strict=True):
            names = tuple(sorted(str(one["id"]) for one in answer.get("vulns", ())))
            if names:
                found[f"{name}=={version}"] = names
    return found


def _ask(feed: str, queries: Sequence[Mapping[str, object]]) -> list[dict[str, list[dict[str, str]]]]:
    request = Request(  # noqa: S310 - the user names the address
        f"{feed.rstrip('/')}/v1/querybatch",
        data=json.dumps({"queries": queries}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            said = json.loads(answer.read(LIMIT))
        results = said["results"]
        if len(results) != len(queries):
            raise ValueError(f"{len(results)} answers to {len(queries)} questions")
    except (URLError, OSError, ValueError, KeyError, TypeError) as error:
        raise NotAskedError(
            f"the feed of advisories ({feed}) cannot be asked: {getattr(error, 'reason', error)}",
            "Try again, or name another with --advisories URL.",
        ) from error
    return [one if isinstance(one, dict) else {} for one in results]
