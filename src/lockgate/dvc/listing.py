"""DVC's list of a folder's files (the object ``….dir``): read, and held to rules before anything is laid out by it.

A list says where files come to lie. Two readings of it: :func:`read` takes what lies on this machine, or in a remote
that is trusted, and refuses what would do harm on any disk. :func:`read_strictly` is for what comes from outside: it
takes nothing but the bytes that DVC itself writes, and no names but by the rule of :mod:`lockgate.names`, to which the
manifest of a release is held as well.
"""

import json
import re
from typing import Any

from lockgate.errors import LockgateError
from lockgate.names import astray, first_unplain, shown

LIMIT = 1 << 30
"""Bytes of a list; a million files need about 0.1 GB."""

_ENTRY = re.compile(
    rb'\{"md5": "([0-9a-f]{32})", "relpath": "((?:[^"\\\x00-\x1f\x80-\xff]|\\["\\bfnrt]|\\u[0-9a-f]{4})*+)"\}'
)
"""One entry, as ``json.dumps(…, sort_keys=True)`` writes it."""
_BETWEEN = b", "
_DIGEST = re.compile(r"[0-9a-f]{32}")


class BrokenList(LockgateError, ValueError):  # noqa: N818 - named for what the user reads
    """A list of a folder's files that is none, or that names files which are not laid out."""

    def __init__(self, finding: str, folder: str = "") -> None:
        """Say what is wrong with the list; ``folder`` is where its files would come to lie, if that is known."""
        self.finding = finding
        super().__init__(
            f"the list of files of '{folder}' is not used: {finding}" if folder else f"a list of files: {finding}",
            "If the folder is yours, rename the file: letters, digits and common signs, no two names that differ by "
            "nothing but case (docs/dvc-features.md). If it is not, find out who wrote the list to the remote.",
        )


def read(content: bytes) -> dict[str, str]:
    """Return relative path → digest of the files in a list. Raises :class:`BrokenList`."""
    try:
        items = json.loads(content)
        entries = {item["relpath"]: item["md5"] for item in items}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BrokenList("it is not a list of files") from error
    check(list(entries), len(items))
    if not all(type(digest) is str and _DIGEST.fullmatch(digest) for digest in entries.values()):
        raise BrokenList("it is not a list of files")
    return entries


def check(paths: list[Any], number: int) -> None:
    """Raise :class:`BrokenList` where files that have these paths in a folder, ``number`` of them, would do harm."""
    if not all(type(path) is str for path in paths):
        raise BrokenList("it is not a list of files")
    for path in paths:
        if (why := astray(path)) is not None:
            raise BrokenList(f"'{shown(path)}' {why}")
    if len(paths) != number:
        raise BrokenList("a file is named twice")


def read_strictly(content: bytes, folder: str = "") -> dict[str, str]:
    """Return relative path → digest of the files in a list from outside. Raises :class:`BrokenList`.

    A list of a million files takes seconds, and what is no list as DVC writes it is refused where it stops being one.
    """
    entries: dict[str, str] = {}
    at, last = 1, None
    if content[:1] != b"[" or content[-1:] != b"]":
        raise BrokenList("it is not a list of files", folder)
    while at < len(content) - 1:
        found = _ENTRY.match(content, at)
        if found is None:
            raise BrokenList("it is not a list of files as DVC writes it", folder)
        digest, text = (part.decode("ascii") for part in found.groups())
        path = _unescaped(text) if "\\" in text else text
        if path is None or (last is not None and path <= last):
            raise BrokenList("it is not a list of files as DVC writes it: sorted, each file once", folder)
        entries[path], last = digest, path
        at = found.end()
        if at < len(content) - 1:
            if content[at : at + 2] != _BETWEEN or at + 2 >= len(content) - 1:
                raise BrokenList("it is not a list of files as DVC writes it", folder)
            at += 2
    if (finding := first_unplain(list(entries))) is not None:
        raise BrokenList(finding, folder)
    return entries


def hold_dvc() -> None:
    """Have DVC itself, in this process, lay out no folder by a list that would do harm. Safe to call again."""
    from dvc_data.hashfile.tree import Tree

    if getattr(Tree, "held_by_lockgate", False):
        return
    as_dvc = Tree.from_list.__func__  # type: ignore[attr-defined]

    def from_list(cls: Any, lst: Any, hash_name: Any = None) -> Any:
        if isinstance(lst, list) and all(isinstance(entry, dict) for entry in lst):
            paths = [entry.get("relpath") for entry in lst]
            check(list(dict.fromkeys(map(_hashable, paths))), len(paths))
        return as_dvc(cls, lst, hash_name=hash_name)

    Tree.from_list = classmethod(from_list)  # type: ignore[assignment]
    Tree.held_by_lockgate = True  # type: ignore[attr-defined]


def _hashable(path: Any) -> Any:
    return path if isinstance(path, str) else None


def _unescaped(text: str) -> str | None:
    """Return what a JSON text says, ``None`` if DVC would have spelled it otherwise."""
    try:
        path = json.loads(f'"{text}"')
    except ValueError:
        return None
    return path if json.dumps(path) == f'"{text}"' else None
