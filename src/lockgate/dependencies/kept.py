"""Files of locked packages in the store, so that a release can be rebuilt and served when the index has lost them.

::

    NAME/dependencies/<SHA-256>/<file name>          a wheel or a source distribution, once for all releases
    NAME/dependencies/<SHA-256>/<file name>/00001    a part of one that is longer than 64 MiB

They are created and never replaced, as everything in the store. They need no signature: whoever installs them has the
SHA-256 from a lock, which is part of a commit or of a signed build.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockgate.dependencies.install import Wheels
from lockgate.dependencies.lock import Lock
from lockgate.dependencies.uv import FileDiffers
from lockgate.store import ObjectMissing, Piece, Store, StoreError

FOLDER: Final = "dependencies"
PART: Final = 64 * 2**20  # bytes of one object


@dataclass(frozen=True, slots=True)
class Kept:
    """The kept files of the model ``name`` in ``store``."""

    store: Store
    name: str

    def keep(self, files: Mapping[str, str], folder: Path) -> int:
        """Bring ``files`` (name → SHA-256) of ``folder`` into the store; return how many were not there before.

        What is there is not sent again; whoever installs from it compares every byte.
        """
        there = self._sizes()
        new = 0
        for name, digest in files.items():
            pieces = self._pieces(digest, name, (folder / name).stat().st_size)
            missing = [piece for piece in pieces if there.get(piece.path) != piece.length]
            self.store.upload(folder / name, missing, lambda _: None)
            new += bool(missing)
        return new

    def wheels(
        self, lock: Lock, build: Lock | None, folder: Path, tell: Callable[[str], None] = lambda _: None
    ) -> Wheels | None:
        """Put the kept files that ``lock`` and ``build`` name into ``folder``; ``None`` if there are none, or if the
        store cannot be asked. Raises :class:`~lockgate.dependencies.uv.FileDiffers` naming a file that was altered.
        """
        wanted = {digest for one in (lock, build) if one is not None for pin in one.pins for digest in pin.hashes}
        try:
            sizes = self._sizes()
            files: dict[tuple[str, str], int] = {}
            for path, size in sizes.items():
                digest, _, name = path.removeprefix(f"{self.name}/{FOLDER}/").partition("/")
                if digest in wanted:
                    file = (digest, name.partition("/")[0])
                    files[file] = files.get(file, 0) + size
            for (digest, name), size in files.items():
                self._bring(digest, name, size, folder / name, lock.place)
        except StoreError as error:
            tell(f"The kept dependencies could not be read ({error}); the index is asked")
            return None
        held = {digest for digest, _ in files}
        complete = all(not held.isdisjoint(pin.hashes) for pin in lock.pins if pin.applies())
        return Wheels(folder, complete) if files else None

    def _bring(self, digest: str, name: str, size: int, target: Path, place: str) -> None:
        found = hashlib.sha256()
        with target.open("wb") as file:
            for chunk in self.store.stream(self._pieces(digest, name, size)):
                found.update(chunk)
                file.write(chunk)
        if found.hexdigest() != digest:
            target.unlink()
            where = self.store.place(f"{self.name}/{FOLDER}/{digest}/{name}")
            raise FileDiffers(
                place,
                f"{where} was altered: its SHA-256 is {found.hexdigest()[:12]}…, not {digest[:12]}…",
                "Nothing of it was used. Find out who wrote to the store; restore the file from a copy.",
            )

    def _pieces(self, digest: str, name: str, size: int) -> list[Piece]:
        root = f"{self.name}/{FOLDER}/{digest}/{name}"
        if size <= PART:
            return [Piece(root, 0, size)]
        starts = range(0, size, PART)
        return [Piece(f"{root}/{number:05d}", at, min(PART, size - at)) for number, at in enumerate(starts, 1)]

    def _sizes(self) -> dict[str, int]:
        try:
            return {stored.path: stored.size for stored in self.store.objects(f"{self.name}/{FOLDER}")}
        except ObjectMissing:
            return {}
