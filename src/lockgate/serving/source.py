"""Where a service gets its release from: the store, and a folder here that remembers what was verified last.

The folder is laid out as a store is (records, log entries, builds), with copies of signed documents. So what starts the
service while the store is down is verified by the same code as ever: a file changed here is refused too. What it knows
beyond the store is how far the log had come: a log that ends earlier lost entries, which the store alone cannot show.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from lockgate.errors import LockgateError
from lockgate.files import locked
from lockgate.releasing.environments import Entry, Environment
from lockgate.releasing.fetch import FolderTaken, check_folder, fetch
from lockgate.releasing.heartbeats import check_fresh
from lockgate.releasing.manifest import OPAQUE
from lockgate.releasing.options import Ref, resolve
from lockgate.releasing.registry import Build, Refused, Registry
from lockgate.releasing.signing import Verifier
from lockgate.releasing.trusted_keys import LAST
from lockgate.releasing.withdrawal import Withdrawal, check_withdrawn
from lockgate.store import ObjectDiffers, Patience, Store, open_store

KEPT = 3  # builds that stay in the folder: what runs, what ran, what was tried
PATIENCE = Patience(tries=4, first=0.1, longest=1.0)  # a service has something better to do than wait: what it has


class OpaqueModel(LockgateError):  # noqa: N818 - named for what the user reads
    """The model is never loaded by Lockgate."""

    def __init__(self, release: str) -> None:
        """Name the release."""
        super().__init__(
            f"the model of {release} is opaque: loading it may run any code that it holds",
            f"`lockgate fetch {release} FOLDER` brings its files. To serve a model, save it in a format without code, "
            "such as skops, ONNX or safetensors.",
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A verified release, and the entry of the environment's log that names it, if an environment was asked for."""

    entry: Entry | None
    build: Build
    withdrawal: Withdrawal | None = None

    @property
    def release(self) -> str:
        """``NAME@vX.Y.Z``."""
        return f"{self.build.release.name}@{self.build.release.version}"

    @property
    def digest(self) -> str:
        """The digest of the build's manifest."""
        return self.build.release.manifest

    @property
    def number(self) -> int:
        """The entry's number, 0 without one."""
        return self.entry.number if self.entry else 0


@dataclass(frozen=True)
class Source:
    """The release that ``ref`` names in the store at ``url``. ``cache`` is a folder for this store alone."""

    url: str
    ref: Ref
    name: str
    verifier: Verifier
    cache: Path
    max_age: timedelta | None = None

    def newest(self, known: Found | None = None) -> Found:
        """Return what the store says now, verified; ``known`` if the newest entry is still that one's.

        Raises :class:`~lockgate.store.StoreError`, and :class:`Refused` if the log lost entries that were seen before;
        :class:`~lockgate.releasing.withdrawal.ReleaseWithdrawn`, :class:`~lockgate.releasing.environments.Retired`,
        :class:`~lockgate.releasing.heartbeats.Stale`.
        """
        registry = self._registry()
        if known and known.entry and Environment(registry, known.entry.environment).head() == known.entry:
            self._check_age(registry, known.entry)
            return replace(known, withdrawal=check_withdrawn(registry, known.build))
        entry, build = resolve(registry, self.ref)
        self._check_age(registry, entry)
        found = Found(entry, build, check_withdrawn(registry, build))
        if found.build.manifest.facts.get(OPAQUE) is True:
            raise OpaqueModel(found.release)
        before = self._last_seen()
        if found.number < before:
            place = f"the log of '{self.ref.environment}' in {self.url}"
            raise Refused(place, f"ends at entry {found.number}, but entry {before} was there before")
        return found

    def _check_age(self, registry: Registry, entry: Entry | None) -> None:
        if self.max_age is not None and entry is not None:
            check_fresh(registry, entry.environment, entry, self.max_age)

    def remembered(self) -> Found:
        """Return what was verified last and is still here, every byte of it verified again. Raises
        :class:`LockgateError` if there is none, or if it was altered."""
        found = Found(*resolve(self._mirror(), self.ref))
        check_folder(self.folder(found), found.build.manifest)
        return found

    def bring(self, found: Found) -> Path:
        """Return the folder here with the build's files, fetched if need be, each byte verified."""
        folder = self.folder(found)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.cache / f"{self.name}.lock"):  # another process may want the same at the same time
            try:
                fetch(self._registry(), found.build, folder)
            except FolderTaken:  # damaged since; nobody but us writes there
                shutil.rmtree(folder)
                fetch(self._registry(), found.build, folder)
            os.utime(folder)
        return folder

    def remember(self, found: Found) -> None:
        """Keep the signed documents that lead to a release, once it is served. Raises :class:`Refused` if the store
        had others under the same names before."""
        remote, here = self._registry().store, self._mirror().store
        paths = [f"{self.name}/releases/{found.build.release.version}.json"]
        if found.entry:
            paths.append(f"{self.name}/environments/{found.entry.environment}/{LAST - found.entry.number:08d}.json")
        paths += [stored.path for stored in remote.objects(f"{self.name}/revocations")]
        for path in paths:
            try:
                here.create(path, remote.read(path))
            except ObjectDiffers:
                raise Refused(
                    remote.place(path), f"is not what it was when {here.place(path)} was copied from it"
                ) from None
        self._forget(found)

    def folder(self, found: Found) -> Path:
        """Return where the files of a build lie here."""
        return self.cache / self.name / "builds" / found.digest

    def _last_seen(self) -> int:
        if self.ref.environment is None:
            return 0
        newest = self._mirror().store.first(f"{self.name}/environments/{self.ref.environment}")
        return LAST - int(Path(newest).stem) if newest else 0

    def _forget(self, found: Found) -> None:
        """Remove builds that have not been used for the longest time; never the one given."""
        folders = sorted((self.cache / self.name / "builds").iterdir(), key=lambda folder: folder.stat().st_mtime)
        for folder in [one for one in folders if one.name != found.digest and one.name[0] != "."][: -(KEPT - 1)]:
            shutil.rmtree(folder, ignore_errors=True)

    def _registry(self) -> Registry:
        return Registry(open_store(self.url, patience=PATIENCE), self.name, self.verifier)

    def _mirror(self) -> Registry:
        return Registry(open_store(str(self.cache), create=True), self.name, self.verifier)


def cache_of(folder: Path, url: str) -> Path:
    """Return the folder below ``folder`` that belongs to the store at ``url``."""
    return folder / hashlib.sha256(url.encode()).hexdigest()[:16]


def only_model(open_remote: "Store | None", cache: Path) -> str:
    """Return the model that the store holds, or that the cache remembers while the store is down."""
    names = open_remote.folders() if open_remote else open_store(str(cache), create=True).folders()
    if len(names) == 1:
        return names[0]
    raise LockgateError(
        f"which model is to be served is not clear: there are {', '.join(names) or 'none'}", "Name it: --model NAME."
    )
