"""Reading a lock of packages: a requirements file with pins and hashes, as ``uv pip compile`` and pip-tools write it.

This is the only reader of such files. It keeps every line: what is no pin (an index address, an editable project, a
package without a version) is kept as an :class:`OddLine`, so that the list of components can show it and an
installation can refuse it by name and line number.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lockgate.errors import LockgateError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Kind = Literal["option", "editable", "address", "unpinned", "unreadable"]

_ADDRESS_OPTIONS = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "--pypi-url")
_LINE_OPTION = re.compile(r"\s--(?:hash|config-settings?|global-option)[=\s]\s*\S+")
_HASH = re.compile(r"\s--hash[=\s]\s*sha256:([0-9a-fA-F]{64})(?=\s|$)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_VIA = re.compile(r"^#\s*(?:via\s+)?([A-Za-z0-9][A-Za-z0-9._-]*)\s*$")


class LockRefused(LockgateError):  # noqa: N818 - named for what the user reads
    """A lock from which no exact installation can be made."""

    def __init__(self, place: str, finding: str, advice: str = "") -> None:
        """Name the lock, the line if there is one, and what is wrong with it."""
        super().__init__(
            f"{place}: {finding}",
            advice or "Make the lock with `uv pip compile --generate-hashes --no-emit-index-url INPUT -o LOCK`.",
        )


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock: its normalised name, its exact version, the environment marker that it is limited to
    (``None``: none), the SHA-256 of each file that may be installed, and the packages that need it (``via``)."""

    name: str
    version: str
    marker: str | None = None
    hashes: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    line: int = 0

    def applies(self) -> bool:
        """Whether the marker holds for the interpreter that runs this."""
        from packaging.markers import Marker

        return self.marker is None or Marker(self.marker).evaluate({"extra": ""})


@dataclass(frozen=True, slots=True)
class OddLine:
    """A line of a lock that pins nothing. ``name`` is the package's normalised name, or what stands for it; ``text`` is
    the requirement without what may be secret in it."""

    kind: Kind
    name: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Lock:
    """What a lock says. ``place`` names it in messages."""

    place: str
    pins: tuple[Pin, ...]
    odd: tuple[OddLine, ...] = ()

    def requirements(self) -> str:
        """Return the pins as a requirements file for an installer: one line a pin, hashes included, nothing else.

        Raises :class:`LockRefused` naming the first line from which nothing exact can be installed.
        """
        for line in self.odd:
            raise _refusal(self.place, line)
        lines = []
        for pin in self.pins:
            if not pin.hashes:
                raise LockRefused(self.place, f"line {pin.line}: {pin.name}=={pin.version} has no SHA-256 hash")
            marker = f" ; {pin.marker}" if pin.marker else ""
            hashes = "".join(f" --hash=sha256:{digest}" for digest in pin.hashes)
            lines.append(f"{pin.name}=={pin.version}{marker}{hashes}\n")
        if not lines:
            raise LockRefused(self.place, "it pins no package")
        return "".join(sorted(lines))

    def pins_package(self, name: str) -> bool:
        """Whether a package of this normalised name is pinned for this machine."""
        return any(pin.name == name and pin.applies() for pin in self.pins)

    @property
    def digest(self) -> str:
        """The SHA-256 of :meth:`requirements`: the same for two locks that install the same."""
        return hashlib.sha256(self.requirements().encode()).hexdigest()


def read_lock(text: str, place: str) -> Lock:
    """Return what the text of a lock says. Nothing is refused here: see :meth:`Lock.requirements`.

    Who needs a package is read from the comments ``# via``; a lock without them gives none.
    """
    pins: list[Pin] = []
    odd: list[OddLine] = []
    for number, line, comments in _logical_lines(text):
        found = _read_line(number, line, comments)
        (pins if isinstance(found, Pin) else odd).append(found)  # type: ignore[arg-type]
    known = {pin.name for pin in pins} | {line.name for line in odd}
    return Lock(place, tuple(_with_known(pin, known) for pin in pins), tuple(odd))


def normalised(name: str) -> str:
    """Return the name of a package as the Python Packaging Authority spells it."""
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def requirement_name(text: str) -> str:
    """Return the normalised name of a requirement such as ``numpy>=2; python_version > "3"``; empty if it is none."""
    requirement = _requirement(text)
    return normalised(requirement.name) if requirement else ""


def _refusal(place: str, line: OddLine) -> LockRefused:
    start = f"line {line.line}: "
    if line.kind == "option" and line.text in _ADDRESS_OPTIONS:
        return LockRefused(
            place,
            f"{start}it names an index address with {line.text}, and a lock may not say where packages come from",
            "Remove the line. The index is a setting of the machine: UV_DEFAULT_INDEX, UV_INDEX or UV_FIND_LINKS.",
        )
    finding = {
        "option": f"the option {line.text} is not supported in a lock",
        "editable": f"'{line.text}' is an editable project, which has no hash",
        "address": f"{line.name} comes from an address, not from an index under a version and a hash",
        "unpinned": f"'{line.text}' is not pinned to one version",
        "unreadable": f"'{line.text}' is not a requirement",
    }[line.kind]
    return LockRefused(place, start + finding)


def _logical_lines(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the number of each line's beginning, the line with its continuations joined and without comments, and the
    comments inside and below it, up to the next line."""
    started = 0
    parts: list[str] = []
    comments: list[str] = []
    open_ = False
    for number, raw in enumerate(text.splitlines(), 1):
        comment = _COMMENT.search(raw)
        line = raw[: comment.start()] if comment else raw
        if comment and (started or parts):
            comments.append(comment[0].strip())
        if not line.strip():
            open_ = (
                open_ and comment is not None
            )  # pip ignores comments between continued lines; a blank line ends them
            continue
        if not open_:
            if parts:
                yield started, " ".join(parts), comments
            started, parts, comments = number, [], [comment[0].strip()] if comment else []
        open_ = line.rstrip().endswith("\\")
        parts.append(line.rstrip().removesuffix("\\").strip())
    if parts:
        yield started, " ".join(parts), comments


def _read_line(number: int, line: str, comments: list[str]) -> Pin | OddLine:
    if line.startswith("-"):
        option, value = (*re.split(r"[=\s]", line, maxsplit=1), "")[:2]
        if option in ("-e", "--editable"):
            return OddLine("editable", _address_name(value), f"-e {_without_secret(value.strip())}", number)
        return OddLine("option", option, option, number)
    stated = _LINE_OPTION.sub("", line).strip()
    requirement = _requirement(stated)
    if requirement is None:
        shown = _without_secret(stated)
        is_address = "://" in stated or stated.startswith((".", "/"))
        return OddLine("address" if is_address else "unreadable", _address_name(stated), shown, number)
    name = normalised(requirement.name)
    if requirement.url:
        return OddLine("address", name, f"{requirement.name} @ {_without_secret(requirement.url)}", number)
    specifiers = list(requirement.specifier)
    exact = specifiers[0] if len(specifiers) == 1 and specifiers[0].operator in ("==", "===") else None
    if exact is None or exact.version.endswith(".*"):
        return OddLine("unpinned", name, stated, number)
    via = sorted({normalised(found[1]) for comment in comments if (found := _VIA.match(comment)) and found[1] != "via"})
    hashes = tuple(sorted({digest.lower() for digest in _HASH.findall(line)}))
    marker = str(requirement.marker) if requirement.marker else None
    return Pin(name, exact.version, marker, hashes, tuple(via), number)


def _requirement(text: str) -> "Requirement | None":
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _with_known(pin: Pin, known: set[str]) -> Pin:
    from dataclasses import replace

    return replace(pin, via=tuple(name for name in pin.via if name in known))


def _address_name(address: str) -> str:
    """Return what an address is called: its fragment ``egg=NAME``, else its last part."""
    egg = re.search(r"[#&]egg=([A-Za-z0-9._-]+)", address)
    return normalised(egg[1]) if egg else _without_secret(address.strip()).split("#")[0].rstrip("/").rpartition("/")[2]


def _without_secret(address: str) -> str:
    """Return an address without the user, password and query in it."""
    return re.sub(r"\?[^#\s]*", "", re.sub(r"://[^/@\s]*@", "://", address))
