"""The store that the code of November 2026 wrote (tests/fixtures/frozen), as tests want it."""

import zipfile
from pathlib import Path

from tests.lockgate.releases import Keys

from lockgate.releasing.registry import Registry
from lockgate.releasing.signing import KeyVerifier
from lockgate.store import open_store

FROZEN = Path(__file__).parents[1] / "fixtures/frozen/2026-11"


def frozen_registry(folder: Path, keys: Keys | None = None, *, barred: bool = False) -> Registry:
    """Return the registry of a copy of the frozen store; ``keys`` are trusted as well, and can write to it. ``barred``
    adds the entry of production that nobody should have signed."""
    for name in ("store.zip", "bricked-entry.zip") if barred else ("store.zip",):
        with zipfile.ZipFile(FROZEN / name) as archive:
            archive.extractall(folder / "store")
    more = (keys.verifier.public_key,) if keys else ()
    return Registry(open_store(str(folder / "store")), "delay", KeyVerifier(FROZEN / "trusted.pub", more))
