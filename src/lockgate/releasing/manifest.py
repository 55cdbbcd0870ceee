"""The manifest of a build: every file with its SHA-256 and size, and the facts of how the build came to be.

``manifest.json`` is canonical JSON (RFC 8785): one value has one spelling, so that the SHA-256 of the file names the
build. Numbers are integers below 2⁵³ in size; a fraction is written as text by whoever records it. Nothing else than
the canonical spelling is ever read.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate.errors import LockgateError
from lockgate.names import clash, is_text
from lockgate.releasing.pickles import PickleFound, named_as_pickle, refuse_pickle
from lockgate.store import Piece

SCHEMA = "lockgate.manifest/1"
MANIFEST = "manifest.json"
SIGNATURE = "model.sig"
OPAQUE = "opaque"  # the fact that the model may be a pickle, because nothing of Lockgate ever loads it
PART_SIZE = 64 * 2**20  # bytes of one object; a longer file lies in the store as several

_LAST = r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?"
_NAME = re.compile(rf"([A-Za-z0-9_-][A-Za-z0-9._-]*=)*{_LAST}")  # folders of the dvc.yaml, then the artifact's name
_VERSION = re.compile(
    r"v(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BuildError(LockgateError):
    """A folder that cannot become a build, or a manifest that cannot be believed."""


class NotCanonical(BuildError):  # noqa: N818 - named for what the user reads
    """A document of the store is not spelled as Lockgate spells it: it is damaged or not Lockgate's."""

    def __init__(self, place: str) -> None:
        """Name the document."""
        super().__init__(f"{place} was altered: it is not a canonical JSON document of Lockgate")


@dataclass(frozen=True, slots=True)
class BuildFile:
    """One file of a build: its path with ``/``, its SHA-256 in hexadecimal, its size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a build is: for which release it was made, its files sorted by path, and the facts its maker recorded.

    ``facts`` is JSON without fractions: git commit, hash of ``dvc.lock``, params, metrics, gates' outcome, rebuild.
    """

    name: str
    version: str
    files: tuple[BuildFile, ...]
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)
    part_size: int = PART_SIZE

    def to_bytes(self) -> bytes:
        """Return the canonical JSON of ``manifest.json``."""
        return canonical(
            {
                "schema": SCHEMA,
                "name": self.name,
                "version": self.version,
                "files": [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in self.files],
                "facts": dict(self.facts),
                "part_size": self.part_size,
            }
        )

    @property
    def digest(self) -> str:
        """The SHA-256 of :meth:`to_bytes`: the name of the build."""
        return sha256(self.to_bytes())

    def digests(self) -> dict[str, str]:
        """Return what a signature of the build covers: path → SHA-256 of every file, the manifest's own included."""
        return {MANIFEST: self.digest} | {file.path: file.sha256 for file in self.files}

    def pieces(self, file: BuildFile, root: str) -> Iterator[Piece]:
        """Yield where the bytes of ``file`` lie below ``root``: in one object of its name, or, above ``part_size``,
        in the objects ``NAME/00001``, ``NAME/00002``, … to be joined."""
        if file.size <= self.part_size:
            yield Piece(f"{root}/{file.path}", 0, file.size)
            return
        for number, offset in enumerate(range(0, file.size, self.part_size), 1):
            yield Piece(f"{root}/{file.path}/{number:05d}", offset, min(self.part_size, file.size - offset))


def canonical(value: Any) -> bytes:
    """Return the canonical JSON (RFC 8785) of a value made of text, integers, booleans, null, lists and mappings.

    Raises :class:`BuildError` naming the place of anything else.
    """
    if not _fits(value):
        _check(value, "")
    return spell(value)


def spell(value: Any) -> bytes:
    """Return what :func:`canonical` does, of a value that is known to have a canonical spelling."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse_canonical(data: bytes, place: str) -> Any:
    """Return the value of a document in its canonical spelling. Raises :class:`NotCanonical` naming ``place``."""
    try:
        value = json.loads(data)
        if canonical(value) == data:
            return value
    except (ValueError, RecursionError, BuildError):
        pass
    raise NotCanonical(place)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def make_manifest(
    folder: Path,
    name: str,
    version: str,
    facts: Mapping[str, Any],
    part_size: int = PART_SIZE,
) -> Manifest:
    """Return the manifest of every file below ``folder``.

    Raises :class:`BuildError` for a name or version out of form, a link, a path that is not plain ASCII, or a file
    that Lockgate adds itself; :class:`~lockgate.releasing.pickles.PickleFound`.
    """
    check_release_name(name, version)
    files = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BuildError(f"{path} is not a plain file", "A build holds plain files only: copy what it points at.")
        if path.is_dir():
            continue
        with path.open("rb") as content:
            if not (facts.get(OPAQUE) is True and is_model(relative)):
                refuse_pickle(relative, content)
            content.seek(0)
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            files.append(BuildFile(relative, digest, content.tell()))
    manifest = Manifest(name, version, tuple(sorted(files, key=lambda file: file.path)), facts, part_size)
    return read_manifest(manifest.to_bytes(), str(folder))


def read_manifest(data: bytes, place: str) -> Manifest:
    """Return the manifest in ``data``; it writes the same bytes again.

    Raises :class:`NotCanonical` or :class:`BuildError` naming ``place`` for anything that no build of Lockgate has.
    """
    value = parse_canonical(data, place)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise BuildError(f"{place} is not a {SCHEMA} file", "A newer Lockgate may have written it.")
    try:
        files = tuple(BuildFile(**file) for file in value["files"])
        manifest = Manifest(value["name"], value["version"], files, value["facts"], value["part_size"])
        check_release_name(manifest.name, manifest.version)
        good = manifest.to_bytes() == data and isinstance(manifest.facts, dict) and 0 < manifest.part_size < 2**40
        good = good and all(isinstance(f.size, int) and f.size >= 0 and _SHA256.fullmatch(f.sha256) for f in files)
    except (KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise BuildError(f"{place} does not have the fields of a manifest")
    _check_paths([file.path for file in files], place, opaque=manifest.facts.get(OPAQUE) is True)
    return manifest


def check_release_name(name: str, version: str) -> None:
    """Raise :class:`BuildError` unless ``name`` is a model's name and ``version`` reads vX.Y.Z, as GTO's tags have."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise BuildError(
            f"'{name}' is not a valid model name", "Use letters, digits, '-' and '_', such as flight-delay."
        )
    if not (isinstance(version, str) and _VERSION.fullmatch(version)):
        raise BuildError(f"'{version}' is not a version", "A version reads vX.Y.Z, such as v1.2.0.")


def is_name(word: str) -> bool:
    """Say whether ``word`` has the form of a model's name."""
    return _NAME.fullmatch(word) is not None


def release_name(artifact: str) -> str:
    """Return the name under which a store keeps an artifact: ``a/b:model`` of DVC and GTO is ``a=b=model``."""
    return artifact.replace(":", "=").replace("/", "=")


def tag_name(name: str) -> str:
    """Return how GTO's tags write the name of a release: ``a=b=model`` is ``a/b=model``."""
    folder, mark, last = name.rpartition("=")
    return f"{folder.replace('=', '/')}{mark}{last}"


def is_version(word: str) -> bool:
    """Say whether ``word`` has the form of a version."""
    return _VERSION.fullmatch(word) is not None


def _fits(value: Any) -> bool:
    """Say whether :func:`_check` finds nothing; it is quicker, because it knows no places."""
    kind = type(value)
    if kind is str:
        return bool(value.isascii())
    if kind is dict:
        return all(type(key) is str and key.isascii() and _fits(item) for key, item in value.items())
    if kind is list:
        return all(map(_fits, value))
    return value is None or kind is bool or (kind is int and -(2**53) < value < 2**53)


def _check(value: Any, place: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise BuildError(f"{place or 'facts'}: the key {key!r} is not ASCII text")
            _check(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{place}[{index}]")
    else:
        _check_scalar(value, place)


def _check_scalar(value: Any, place: str) -> None:
    if isinstance(value, str):
        if not is_text(value):
            raise BuildError(f"{place}: {value!r} is not text that UTF-8 can hold")
    elif isinstance(value, int):
        if abs(value) >= 2**53:
            raise BuildError(f"{place}: {value} is too large for JSON", "Write it as text.")
    elif value is not None:
        kind = type(value).__name__
        raise BuildError(
            f"{place}: a {kind} has no one spelling in JSON", "Write a fraction as text, such as '0.6948'."
        )


def is_model(path: str) -> bool:
    """Say whether a file of a build is the model, or of it: ``model``, ``model.EXT`` or ``model…/FILE``."""
    return path.split("/", maxsplit=1)[0].split(".", maxsplit=1)[0] == "model" and path != SIGNATURE


def _check_paths(paths: list[str], place: str, *, opaque: bool) -> None:
    if not paths:
        raise BuildError(f"{place} holds no file: there is nothing to release")
    if paths != sorted(set(paths)):
        raise BuildError(f"{place}: its files are not sorted, or one is named twice")
    for path in paths:
        if not isinstance(path, str) or not _PATH.fullmatch(path) or len(path) > 200:
            raise BuildError(
                f"{place}: the path {path!r} is not plain",
                "Use letters, digits, '.', '_', '+', '-' and '/'; rename it.",
            )
        if path in {MANIFEST, SIGNATURE}:
            raise BuildError(f"{place}: {path} is written by Lockgate itself", "Take it out of the folder.")
        if named_as_pickle(path) and not (opaque and is_model(path)):
            raise PickleFound(path, "by its name")
    if (twice := clash(paths)) is not None:
        raise BuildError(f"{place}: {twice} is two files, or a file and a folder, on some disks", "Rename one.")
