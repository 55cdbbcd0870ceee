"""The log of an environment: what ran there, since when, by whom and why. Its newest entry is what runs now.

::

    NAME/environments/production/99999999.json        entry 1: names count down, so that the newest sorts first and
    NAME/environments/production/99999998.json        entry 2: one listing request finds it, however long the log is
    NAME/environments/production/pages/00000001.json  entries 1 … 100 in one object, for quick reading of long logs

Entries are create-only: of two writers of one number one loses, looks again and takes the next, so none is lost. Each
is signed under its own path and holds the digest of the one before: the newest entry's signature vouches for all of
them, and none can be altered, dropped, moved or repeated unseen. A page is no more than a copy: what it says has to fit
the chain. The store alone cannot show that the *newest* entries were taken away; git's tags can (:func:`missing_tags`).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from lockgate.errors import LockgateError, NotAskedError, nearest
from lockgate.releasing.manifest import NotCanonical, canonical, parse_canonical, sha256, spell
from lockgate.releasing.registry import Actor, Build, Refused, Registry
from lockgate.releasing.signing import Signer, check_signer
from lockgate.store import ObjectDiffers

ENTRY_SCHEMA = "lockgate.entry/1"
PAGE = 100  # entries in one page
LAST = 10**8  # entry n is named LAST - n
TRIES = 100  # of an append against other promoters

_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FILE = re.compile(r"[0-9]{8}\.json")


class NeverPromoted(NotAskedError):  # noqa: N818 - named for what the user reads
    """The environment's log is empty."""

    def __init__(self, name: str, environment: str, known: Iterable[str] = ()) -> None:
        """Name the model and the environment, and the nearest of the ``known`` ones."""
        hint = nearest(environment, known)
        promote = f"`lockgate promote {name}@vX.Y.Z {environment}` promotes a release to it."
        super().__init__(
            f"no release was ever promoted to the environment '{environment}' of {name}",
            f"{hint[0].upper()}{hint[1:]}" if hint else promote,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. ``manifest`` is the digest of the build; ``tag`` is git's tag that asked for it, if one did;
    ``previous`` is the digest of the entry before, empty for the first. ``time`` is ISO 8601, UTC, and orders nothing.
    """

    name: str
    environment: str
    number: int
    action: Literal["promote", "rollback"]
    version: str
    manifest: str
    actor: str
    time: str
    reason: str
    tag: str
    previous: str

    def payload(self) -> dict[str, Any]:
        """Return the entry as it is signed and stored."""
        return {"schema": ENTRY_SCHEMA} | {name: getattr(self, name) for name in self.__slots__}

    @property
    def digest(self) -> str:
        """What the next entry holds of this one."""
        return sha256(spell(self.payload()))


def environments(registry: Registry) -> list[str]:
    """Return the names of the environments to which something was promoted."""
    return registry.store.folders(f"{registry.name}/environments")


@dataclass(frozen=True, slots=True)
class Environment:
    """The log of one environment of a model."""

    registry: Registry
    name: str

    def __post_init__(self) -> None:
        """Refuse a name that could leave the environment's folder."""
        if not _ENVIRONMENT.fullmatch(self.name):
            raise LockgateError(f"'{self.name}' is no environment's name", "It has letters, digits, '.', '_' and '-'.")

    def head(self) -> Entry | None:
        """Return the newest entry, its signature verified; ``None`` if there is none.

        Two requests, however long the log is. Raises :class:`Refused` and what
        :meth:`~lockgate.releasing.registry.Registry.read_signed` raises.
        """
        path = self.registry.store.first(self._root)
        if path is None or path.startswith(f"{self._root}/pages/"):
            if path is not None:
                raise Refused(self._place(self._path(1)), "is missing from the log")
            return None
        file = path.removeprefix(f"{self._root}/")
        if not _FILE.fullmatch(file):
            raise Refused(self._place(path), "is no entry of a log")
        return self._entry(self.registry.read_signed(path), LAST - int(file.removesuffix(".json")))

    def current(self) -> tuple[Entry, Build]:
        """Return the newest entry and the build it names. Raises :class:`NeverPromoted`, and as :meth:`head`."""
        entry = self.head()
        if entry is None:
            raise NeverPromoted(self.registry.name, self.name, environments(self.registry))
        build = self.registry.release(entry.version)
        if build.release.manifest != entry.manifest:
            raise Refused(self._place(self._path(entry.number)), f"names another build than {entry.version} is")
        return entry, build

    def history(self) -> list[Entry]:
        """Return every entry, oldest first: the newest by its signature, those before by the chain of digests.

        Read from pages where there are some. Raises as :meth:`head`.
        """
        head = self.head()
        if head is None:
            return []
        found = self._from_pages((head.number - 1) // PAGE)
        wanted = [number for number in range(1, head.number) if number not in found]
        for number, data in zip(wanted, self._documents(wanted), strict=True):
            found[number] = self._entry(data["payload"], number)
        entries = [found[number] for number in range(1, head.number)] + [head]
        self._check_chain(entries)
        return entries

    def verify(self) -> list[Entry]:
        """Return every entry, oldest first, after reading each one itself and verifying its own signature, and after
        comparing every page. Raises as :meth:`head`."""
        head, store = self.head(), self.registry.store
        if head is None:
            return []
        expected = {self._path(number) for number in range(1, head.number + 1)}
        pages = {self._page_path(page): page for page in range(1, head.number // PAGE + 1)}
        for stored in store.objects(self._root):
            if stored.path not in expected and stored.path not in pages:
                raise Refused(self._place(stored.path), "does not belong to the log")
        numbers = list(range(1, head.number + 1))
        entries = []
        for number, document in zip(numbers, self._documents(numbers), strict=True):
            path = self._path(number)
            entries.append(self._entry(self.registry.open_signed(path, canonical(document)), number))
        self._check_chain(entries)
        for (path, page), data in zip(pages.items(), store.read_all(pages), strict=True):
            if data is not None and data != _page(entries[(page - 1) * PAGE : page * PAGE]):
                raise Refused(self._place(path), "is no true copy of the entries it stands for")
        return entries

    def append(
        self,
        build: Build,
        signer: Signer,
        actor: Actor,
        action: Literal["promote", "rollback"],
        *,
        reason: str = "",
        tag: str = "",
        done_already: Callable[[list[Entry]], Entry | None] = lambda _: None,
    ) -> tuple[Entry, bool]:
        """Append an entry and return it, and whether this call did.

        Every entry passes through here, and is checked before it is written, because nothing can be taken back: the
        log so far, the release it names, the key that signs, and the entry as its readers will read it.

        Before each try, ``done_already`` is asked with the whole log: an entry it returns means that nothing is to be
        done. Against another writer it looks again, so that both entries come to stand, in the order of their numbers.
        """
        check_signer(signer, self.registry.verifier)
        for _ in range(TRIES):
            entries = self.history()
            self._write_page(entries)
            if (done := done_already(entries)) is not None:
                return done, False
            entry = Entry(
                name=self.registry.name,
                environment=self.name,
                number=len(entries) + 1,
                action=action,
                version=build.release.version,
                manifest=build.release.manifest,
                actor=actor.name,
                time=actor.time,
                reason=reason,
                tag=tag,
                previous=entries[-1].digest if entries else "",
            )
            self._check_chain([*entries, self._entry(entry.payload(), entry.number)])
            try:
                self.registry.write_signed(self._path(entry.number), entry.payload(), signer)
            except ObjectDiffers:
                continue
            return entry, True
        raise LockgateError(
            f"{TRIES} other promotions to '{self.name}' came first, one after the other", "Run the same command again."
        )

    def _write_page(self, entries: list[Entry]) -> None:
        """Write the page that ``entries`` just filled: before the next entry, so that no crash leaves it out for good.

        It is a copy; a reader without it reads the entries.
        """
        if entries and len(entries) % PAGE == 0:
            path = self._page_path(len(entries) // PAGE)
            try:
                self.registry.store.create(path, _page(entries[-PAGE:]))
            except ObjectDiffers:
                raise Refused(self._place(path), "is no true copy of the entries it stands for") from None

    def _from_pages(self, count: int) -> dict[int, Entry]:
        """Return the entries of the first ``count`` pages by number, as far as there are such pages."""
        found: dict[int, Entry] = {}
        paths = [self._page_path(page) for page in range(1, count + 1)]
        for page, data in enumerate(self.registry.store.read_all(paths)):
            if data is not None:
                payloads = parse_canonical(data, self._place(paths[page]))
                for number, payload in enumerate(payloads, page * PAGE + 1):
                    found[number] = self._entry(payload, number)
        return found

    def _documents(self, numbers: list[int]) -> list[Any]:
        """Return the stored documents of entries, their signatures not yet looked at."""
        paths = [self._path(number) for number in numbers]
        documents = []
        for path, data in zip(paths, self.registry.store.read_all(paths), strict=True):
            if data is None:
                raise Refused(self._place(path), "is missing from the log")
            document = parse_canonical(data, self._place(path))
            if not isinstance(document, dict) or "payload" not in document:
                raise NotCanonical(self._place(path))
            documents.append(document)
        return documents

    def _entry(self, payload: Any, number: int) -> Entry:
        """Return the entry of a payload, which has to say that it is ``number`` of this log."""
        place = self._place(self._path(number))
        if not isinstance(payload, dict) or payload.get("schema") != ENTRY_SCHEMA:
            raise Refused(place, f"is not a {ENTRY_SCHEMA} entry")
        try:
            entry = Entry(**{key: value for key, value in payload.items() if key != "schema"})
        except TypeError:
            raise Refused(place, f"does not have the fields of a {ENTRY_SCHEMA} entry") from None
        if (entry.name, entry.environment, entry.number) != (self.registry.name, self.name, number):
            raise Refused(place, f"is entry {entry.number} of {entry.name}'s environment '{entry.environment}'")
        return entry

    def _check_chain(self, entries: list[Entry]) -> None:
        previous = ""
        for entry in entries:
            if entry.previous != previous:
                before = self._place(self._path(max(entry.number - 1, 1)))
                raise Refused(before, f"was altered: entry {entry.number} was written after another one")
            previous = entry.digest

    @property
    def _root(self) -> str:
        return f"{self.registry.name}/environments/{self.name}"

    def _path(self, number: int) -> str:
        return f"{self._root}/{LAST - number:08d}.json"

    def _page_path(self, page: int) -> str:
        return f"{self._root}/pages/{page:08d}.json"

    def _place(self, path: str) -> str:
        return self.registry.store.place(path)


def missing_tags(entries: Iterable[Entry], tags: Iterable[str], name: str, environment: str) -> list[str]:
    """Return git's tags ``NAME#ENVIRONMENT#N`` of this environment that no entry of its log was written for.

    Entries taken from the end of a log leave no trace in the store; their tags remain in git. A promotion that was
    refused leaves its tag behind too.
    """
    known = {entry.tag for entry in entries}
    form = re.compile(re.escape(f"{name}#{environment}#") + r"[0-9]+")
    return sorted(tag for tag in tags if form.fullmatch(tag) and tag not in known)


def before(entries: list[Entry]) -> Entry | None:
    """Return the entry whose release ran before the one that runs now, ``None`` if there is nothing to go back to.

    Promotions pile up. A rollback takes off what lies above its target; one to a release that was taken off before
    (``--to``) puts it on top again, like a promotion.
    """
    pile: list[Entry] = []
    for entry in entries:
        known = [place for place, one in enumerate(pile) if one.manifest == entry.manifest]
        if entry.action == "rollback" and known:
            del pile[known[-1] + 1 :]
        elif not pile or pile[-1].manifest != entry.manifest:
            pile.append(entry)
    return pile[-2] if len(pile) > 1 else None


def _page(entries: list[Entry]) -> bytes:
    return canonical([entry.payload() for entry in entries])
