"""The log of an environment: what ran there, since when, by whom and why. Its newest entry says what runs now.

::

    NAME/environments/production/99999999.json        entry 1: names count down, so that the newest sorts first and
    NAME/environments/production/99999998.json        entry 2: one listing request finds it, however long the log is
    NAME/environments/production/pages/00000001.json  entries 1 … 100 in one object, for quick reading of long logs

Entries are create-only: of two writers of one number one loses, looks again and takes the next, so none is lost. Each
is signed under its own path and holds the digest of the one before: the newest entry's signature vouches for all of
them, and none can be altered, dropped, moved or repeated unseen. A page is no more than a copy: what it says has to fit
the chain. The store alone cannot show that the *newest* entries were taken away; git's tags can (:func:`missing_tags`),
and heartbeats (:mod:`lockgate.releasing.heartbeats`).

An entry that nobody should have written (signed with a key that is not trusted, or garbage) cannot be taken away
either. A *repair* is one more entry, which lists such entries by number and SHA-256: readers pass over them.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lockgate.errors import LockgateError, NotAskedError, nearest
from lockgate.releasing.manifest import canonical, parse_canonical, sha256, spell, tag_name
from lockgate.releasing.registry import Actor, Build, Refused, Registry
from lockgate.releasing.signing import Signer, check_signer
from lockgate.releasing.trusted_keys import LAST, SigningError
from lockgate.store import ObjectDiffers

ENTRY_SCHEMA, LATER_SCHEMA = "lockgate.entry/1", "lockgate.entry/2"  # the second for what the first has no words for
PAGE = 100  # entries in one page
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


class Retired(LockgateError):  # noqa: N818
    """The environment was retired: nothing runs there any more."""

    def __init__(self, entry: "Entry") -> None:
        """Name the entry that retired it."""
        super().__init__(
            f"{entry.name}'s environment '{entry.environment}' was retired by {entry.actor}, {entry.time} "
            f"(entry {entry.number}){': ' + entry.reason if entry.reason else ''}",
            f"To use it again: `lockgate promote {entry.name}@vX.Y.Z {entry.environment} --reopen`.",
        )


class EntryRefused(Refused):
    """An entry of the log cannot be believed, so nobody can use the log."""

    def __init__(self, place: str, why: str, environment: str, number: int) -> None:
        """Name the entry and what is wrong with it."""
        super().__init__(place, f"is refused: {why}")
        self.number = number
        self.advice = (
            f"Nothing of the log was used. If you trust the right keys, find out who wrote entry {number}; then "
            f"`lockgate repair {environment}` shows how to go on."
        )


Action = Literal["promote", "rollback", "retire", "repair"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. ``manifest`` is the digest of the build; ``tag`` is git's tag that asked for it, if one did;
    ``previous`` is the digest of the entry before, empty for the first. ``time`` is ISO 8601, UTC, and orders nothing.

    A repair and a retirement repeat what ran before them. ``refused`` lists the entries that a repair passes over, by
    number and SHA-256 of their bytes; ``judged`` the gates that were asked when the release was promoted.
    """

    name: str
    environment: str
    number: int
    action: Action
    version: str
    manifest: str
    actor: str
    time: str
    reason: str
    tag: str
    previous: str
    refused: tuple[tuple[int, str], ...] = ()
    judged: tuple[Mapping[str, str], ...] = ()

    def payload(self) -> dict[str, Any]:
        """Return the entry as it is signed and stored: in the first form, wherever that has words for it."""
        said = {name: getattr(self, name) for name in self.__slots__ if name not in {"refused", "judged"}}
        if self.action in {"promote", "rollback"} and not self.judged:
            return {"schema": ENTRY_SCHEMA, **said}
        judged = [dict(one) for one in self.judged]
        return {"schema": LATER_SCHEMA, **said, "refused": [list(one) for one in self.refused], "judged": judged}

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
            raise LockgateError(
                f"'{self.name}' is not a valid environment name", "Use letters, digits, '.', '_' and '-'."
            )

    def head(self) -> Entry | None:
        """Return the newest entry, its signature verified; ``None`` if there is none.

        Two requests, however long the log is. Raises :class:`EntryRefused`, :class:`Refused`.
        """
        number = self.newest()
        if not number:
            return None
        path = self._path(number)
        return self._believed(number, self.registry.store.read(path))

    def current(self) -> tuple[Entry, Build]:
        """Return the newest entry and the build that runs. Raises :class:`NeverPromoted`, :class:`Retired`, and as
        :meth:`head`."""
        entry = self.head()
        if entry is None or not entry.version:
            raise NeverPromoted(self.registry.name, self.name, environments(self.registry))
        if entry.action == "retire":
            raise Retired(entry)
        build = self.registry.release(entry.version)
        if build.release.manifest != entry.manifest:
            raise Refused(self._place(self._path(entry.number)), f"names another build than {entry.version} is")
        return entry, build

    def history(self) -> list[Entry]:
        """Return every entry that stands, oldest first: the newest by its signature, those before by the chain of
        digests. What a repair passes over is left out.

        Read from pages where there are some. Raises as :meth:`head`.
        """
        head = self.head()
        if head is None:
            return []
        found = self._from_pages((head.number - 1) // PAGE)
        wanted = [number for number in range(1, head.number) if number not in found]
        for number, data in zip(wanted, self._read(wanted), strict=True):
            found[number] = self._parsed(number, data)
        found[head.number] = head
        return self._standing(found)

    def verify(self) -> list[Entry]:
        """Return what :meth:`history` does, after reading every entry itself and verifying its own signature, and
        after comparing every page. Raises as :meth:`head`."""
        listed = [stored.path for stored in self.registry.store.objects(self._root)]
        if self.head() is None:
            return []
        found, failures, content = self._survey()  # after the listing: what is appended meanwhile belongs to the log
        expected = {self._path(number) for number in content}
        pages = {self._page_path(page): page for page in range(1, len(content) // PAGE + 1)}
        for path in listed:
            if path not in expected and path not in pages:
                raise Refused(self._place(path), "does not belong to the log")
        for failure in failures.values():
            raise failure
        for number, digest in _refused(found).items():
            if sha256(content[number]) != digest:
                raise Refused(self._place(self._path(number)), "was altered after a repair passed over it")
        entries = self._standing(found)
        self._check_pages(pages, found)
        return entries

    def refusals(self) -> list[EntryRefused]:
        """Return the entries that bar the log, oldest first: those that cannot be believed and that no repair passes
        over. Raises :class:`Refused` for what no repair can mend."""
        return list(self._survey()[1].values())

    def repair(self, numbers: Iterable[int], signer: Signer, actor: Actor, reason: str) -> Entry:
        """Append an entry that passes over the entries ``numbers``, all of which bar the log, and return it.

        Raises :class:`LockgateError` unless the numbers are those of :meth:`refusals`; for the rest as :meth:`append`.
        """
        check_signer(signer, self.registry.trusted)
        found, failures, content = self._survey()
        if sorted(numbers) != sorted(failures):
            raise LockgateError(
                f"the entries of '{self.name}' that are refused are {_listed(failures) or 'none'}, "
                f"not {_listed(numbers) or 'none'}",
                f"`lockgate repair {self.name}` shows them.",
            )
        number = len(content) + 1
        refused = tuple((one, sha256(content[one])) for one in sorted(failures))
        kept = {one: entry for one, entry in found.items() if one not in failures}
        passed_over = _refused(kept)
        standing = [entry for one, entry in sorted(kept.items()) if entry is not None and one not in passed_over]
        runs = _runs(standing)
        entry = Entry(
            name=self.registry.name,
            environment=self.name,
            number=number,
            action="repair",
            version=runs.version if runs else "",
            manifest=runs.manifest if runs else "",
            actor=actor.name,
            time=actor.time,
            reason=reason,
            tag="",
            previous=standing[-1].digest if standing else "",
            refused=refused,
        )
        self._standing({**found, number: entry})
        self._write_page(number - 1, {one.number: one for one in standing} | {number: entry})
        self.registry.write_signed(self._path(number), entry.payload(), signer)
        return entry

    def append(  # noqa: PLR0913 - what an entry says
        self,
        build: Build | None,
        signer: Signer,
        actor: Actor,
        action: Literal["promote", "rollback", "retire"],
        *,
        reason: str = "",
        tag: str = "",
        judged: tuple[Mapping[str, str], ...] = (),
        reopen: bool = False,
        done_already: Callable[[list[Entry]], Entry | None] = lambda _: None,
    ) -> tuple[Entry, bool]:
        """Append an entry and return it, and whether this call did. ``build`` is what runs from then on; a retirement
        has none.

        Every entry passes through here (or through :meth:`repair`) and is checked before it is written, because
        nothing can be taken back: the log so far, the key that signs, and the entry as its readers will read it.

        Before each try, ``done_already`` is asked with the whole log: an entry it returns means that nothing is to be
        done. Against another writer it looks again, so that both entries come to stand, in the order of their numbers.
        Raises :class:`Retired` unless ``reopen``.
        """
        check_signer(signer, self.registry.trusted)
        for _ in range(TRIES):
            entries = self.history()
            if entries:
                self._write_page(entries[-1].number, {entry.number: entry for entry in entries})
            if (done := done_already(entries)) is not None:
                return done, False
            if entries and entries[-1].action == "retire" and not reopen:
                raise Retired(entries[-1])
            runs = build.release if build else _runs(entries)
            entry = Entry(
                name=self.registry.name,
                environment=self.name,
                number=entries[-1].number + 1 if entries else 1,
                action=action,
                version=runs.version if runs else "",
                manifest=runs.manifest if runs else "",
                actor=actor.name,
                time=actor.time,
                reason=reason,
                tag=tag,
                previous=entries[-1].digest if entries else "",
                judged=judged,
            )
            self._entry(json.loads(canonical(entry.payload())), entry.number)
            try:
                self.registry.write_signed(self._path(entry.number), entry.payload(), signer)
            except ObjectDiffers:
                continue
            return entry, True
        raise LockgateError(
            f"{TRIES} other promotions to '{self.name}' came first, one after the other", "Run the same command again."
        )

    def newest(self) -> int:
        """Return the number of the newest entry, 0 without one. One request."""
        path = self.registry.store.first(self._root)
        if path is None:
            return 0
        if path.startswith(f"{self._root}/pages/"):
            raise Refused(self._place(self._path(1)), "is missing from the log")
        file = path.removeprefix(f"{self._root}/")
        if not _FILE.fullmatch(file):
            raise Refused(self._place(path), "is not an entry of a log")
        return LAST - int(file.removesuffix(".json"))

    def _survey(self) -> tuple[dict[int, Entry | None], dict[int, EntryRefused], dict[int, bytes]]:
        """Return every entry (what it says, even if it is refused; ``None`` where it says nothing), the refusals that
        no repair passes over, and the bytes of all."""
        numbers = range(1, self.newest() + 1)
        content = dict(zip(numbers, self._read(numbers), strict=True))
        found: dict[int, Entry | None] = {}
        failures: dict[int, EntryRefused] = {}
        for number, data in content.items():
            try:
                found[number] = self._believed(number, data)
            except EntryRefused as error:
                failures[number] = error
        refused = _refused(found)
        found |= {number: self._parsed(number, content[number]) for number in failures}
        return found, {number: error for number, error in failures.items() if number not in refused}, content

    def _standing(self, found: Mapping[int, Entry | None]) -> list[Entry]:
        """Return the entries that no repair passes over, oldest first. Raises :class:`Refused` unless each holds the
        digest of the one before."""
        refused = _refused(found)
        entries = []
        for number in range(1, len(found) + 1):
            entry = found[number]
            if number in refused:
                continue
            if entry is None:
                raise EntryRefused(self._place(self._path(number)), "it is not an entry", self.name, number)
            before = number - 1
            while before in dict(entry.refused):
                before -= 1
            written_after = found.get(before)
            if entry.previous != (written_after.digest if written_after else "" if not before else None):
                place = self._place(self._path(max(before, 1)))
                raise Refused(place, f"was altered: entry {entry.number} was written after another one")
            entries.append(entry)
        return entries

    def _write_page(self, newest: int, found: Mapping[int, Entry | None]) -> None:
        """Write the page that the entry ``newest`` filled: before the next entry, so that no crash leaves it out for
        good.

        It is a copy; a reader without it reads the entries. Entries that a repair passes over are ``null`` in it.
        """
        if newest % PAGE == 0:
            path, numbers = self._page_path(newest // PAGE), range(newest - PAGE + 1, newest + 1)
            try:
                self.registry.store.create(path, _page([found.get(number) for number in numbers]))
            except ObjectDiffers:
                self._check_pages({path: newest // PAGE}, found)

    def _check_pages(self, pages: Mapping[str, int], found: Mapping[int, Entry | None]) -> None:
        """Raise :class:`Refused` for a page that says something else of an entry than the entry does, or that says
        nothing of one that stands. A page that is absent is no fault."""
        refused = _refused(found)

        def good(number: int, payload: Any) -> bool:
            entry = found.get(number)
            if payload is None or entry is None:
                return number in refused
            return spell(payload) == spell(entry.payload())

        for (path, page), data in zip(pages.items(), self.registry.store.read_all(pages), strict=True):
            if data is None:
                continue
            entries = [found.get(number) for number in range((page - 1) * PAGE + 1, page * PAGE + 1)]
            if None not in entries and data == _page(entries):
                continue
            payloads = parse_canonical(data, self._place(path))
            if not isinstance(payloads, list) or len(payloads) != PAGE:
                payloads = [None] * PAGE
            if not all(good(number, payload) for number, payload in enumerate(payloads, (page - 1) * PAGE + 1)):
                raise Refused(self._place(path), "is not a copy of the entries it stands for")

    def _from_pages(self, count: int) -> dict[int, Entry | None]:
        """Return the entries of the first ``count`` pages by number, as far as there are such pages."""
        found: dict[int, Entry | None] = {}
        paths = [self._page_path(page) for page in range(1, count + 1)]
        for page, data in enumerate(self.registry.store.read_all(paths)):
            if data is not None:
                payloads = parse_canonical(data, self._place(paths[page]))
                for number, payload in enumerate(payloads, page * PAGE + 1):
                    if payload is not None:
                        found[number] = self._entry(payload, number)
        return found

    def _read(self, numbers: Iterable[int]) -> list[bytes]:
        """Return the bytes of stored entries. Raises :class:`Refused` for one that is missing."""
        paths = [self._path(number) for number in numbers]
        content: list[bytes] = []
        for path, data in zip(paths, self.registry.store.read_all(paths), strict=True):
            if data is None:
                raise Refused(self._place(path), "is missing from the log")
            content.append(data)
        return content

    def _parsed(self, number: int, data: bytes) -> Entry | None:
        """Return what an entry says, its signature not looked at; ``None`` where it says nothing."""
        try:
            document = parse_canonical(data, self._place(self._path(number)))
            return self._entry(document["payload"], number)
        except (LockgateError, KeyError, TypeError):
            return None

    def _believed(self, number: int, data: bytes) -> Entry:
        """Return an entry after verifying its signature. Raises :class:`EntryRefused`."""
        path = self._path(number)
        try:
            return self._entry(self.registry.open_signed(path, data), number)
        except SigningError:  # it is our own key that cannot be read
            raise
        except LockgateError as error:
            why = str(error).removeprefix(self._place(path)).lstrip(": ")
            raise EntryRefused(self._place(path), why, self.name, number) from error

    def _entry(self, payload: Any, number: int) -> Entry:
        """Return the entry of a payload, which has to say that it is ``number`` of this log."""
        place = self._place(self._path(number))
        if not isinstance(payload, dict) or payload.get("schema") not in {ENTRY_SCHEMA, LATER_SCHEMA}:
            raise Refused(place, f"is not a {ENTRY_SCHEMA} or {LATER_SCHEMA} entry; a newer Lockgate may read it")
        try:
            said = {key: value for key, value in payload.items() if key != "schema"}
            later = payload["schema"] == LATER_SCHEMA
            if later:
                said["refused"] = tuple((int(one), str(digest)) for one, digest in said["refused"])
                said["judged"] = tuple({str(key): str(value) for key, value in one.items()} for one in said["judged"])
            entry = Entry(**said)
            same = not later or spell(entry.payload()) == spell(payload)
            same = same and all(0 < one < number for one, _ in entry.refused)
        except (TypeError, ValueError, KeyError, AttributeError):
            same = False
        if not same:
            raise Refused(place, f"does not have the fields of a {payload['schema']} entry")
        if (entry.name, entry.environment, entry.number) != (self.registry.name, self.name, number):
            raise Refused(place, f"is entry {entry.number} of {entry.name}'s environment '{entry.environment}'")
        return entry

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
    form = re.compile(re.escape(f"{tag_name(name)}#{environment}") + r"!?#[0-9]+")
    return sorted(tag for tag in tags if form.fullmatch(tag) and tag not in known)


def before(entries: list[Entry], skip: Callable[[str], bool] = lambda _: False) -> Entry | None:
    """Return the entry whose release ran before the one that runs now, ``None`` if there is nothing to go back to.

    Promotions pile up. A rollback takes off what lies above its target; one to a release that was taken off before
    (``--to``) puts it on top again, like a promotion. Versions for which ``skip`` says so are passed over.
    """
    pile = _pile(entries)
    earlier = [entry for entry in pile[-2::-1] if entry.manifest != pile[-1].manifest]
    return next((entry for entry in earlier if not skip(entry.version)), None)


def _runs(entries: list[Entry]) -> Entry | None:
    """Return the entry whose release runs, or ran last."""
    pile = _pile(entries)
    return pile[-1] if pile else None


def _pile(entries: list[Entry]) -> list[Entry]:
    pile: list[Entry] = []
    for entry in entries:
        if entry.action not in {"promote", "rollback"}:
            continue
        known = [place for place, one in enumerate(pile) if one.manifest == entry.manifest]
        if entry.action == "rollback" and known:
            del pile[known[-1] + 1 :]
        elif not pile or pile[-1].manifest != entry.manifest:
            pile.append(entry)
    return pile


def _refused(found: Mapping[int, Entry | None]) -> dict[int, str]:
    """Return number → SHA-256 of the entries that a repair passes over; a repair that is passed over counts for
    nothing."""
    refused: dict[int, str] = {}
    for number in sorted(found, reverse=True):
        entry = found[number]
        if number not in refused and entry is not None:
            refused |= dict(entry.refused)
    return refused


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))


def _page(entries: list[Entry | None]) -> bytes:
    return canonical([entry.payload() if entry else None for entry in entries])
