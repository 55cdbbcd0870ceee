"""Which names of files are taken from a list that somebody else made, before anything is laid out by it.

Two kinds of list say where files come to lie: the manifest of a release, and DVC's list of a folder's files. A name in
one may lead out of its folder, into git's or DVC's own folder (``.git/config`` names commands that git runs), be two
names on one disk and one on another, or look like a name that it is not. So names are held to what is allowed, not to
what is forbidden, and :func:`clash` looks at all of them together. What some disk takes for ``.git`` follows git's own
rules for HFS+ and NTFS.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST_PART, LONGEST, DEEPEST = 255, 1_024, 64
"""Bytes of a file's or folder's own name, bytes of a whole path, folders above a file."""

_EDGE = r"A-Za-z0-9_.!#%&'()+,:=@\[\]^{}\-"
_PLAIN = re.compile(rf"(?!-(?![0-9]))[{_EDGE}]([{_EDGE}~ ]*[{_EDGE}])?")
"""A part of a path in ASCII: letters, digits and what shells, options and disks read nothing into at that place."""
_USUAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*(/[A-Za-z0-9_][A-Za-z0-9_.=+-]*)*")
"""Paths that are allowed as they are, if they are neither long nor deep: nearly all, and quick to see."""
_DRIVE = re.compile(r"[A-Za-z]:")
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that are not shown, some of which HFS+ passes over (Unicode: ``Default_Ignorable_Code_Point``)."""
_SELECTORS = "\ufe0e\ufe0f"
"""Those of them that say whether a sign is shown as text or as a picture, and that are allowed."""
_RESERVED = {".git", ".dvc", ".hg", ".dvcignore", ".lockgate", "git~1"}
"""Folders and files that decide what git, DVC, Mercurial and Lockgate run; ``git~1`` is what NTFS calls ``.git``."""


def astray(path: str) -> str | None:
    """Return why a path would do harm if a file were laid out by it, whatever the disk; ``None`` if it would not."""
    if _USUAL.fullmatch(path):
        return None
    if not path or "\0" in path or not is_text(path):
        return "is not the name of a file"
    if path.startswith("/") or _DRIVE.match(path):
        return "leads out of its folder"
    for part in re.split(r"[/\\]", path) if "\\" in path else path.split("/"):
        if part in ("", ".", ".."):
            return "leads out of its folder" if part == ".." else "is not a clean path"
        if reserved(part):
            return "is a file of git's, DVC's or Lockgate's own"
    return None


def reserved(part: str) -> bool:
    """Say whether some disk takes a part of a path for a name that git, DVC or Lockgate have for themselves."""
    if part.isascii():
        folded = part.lower()
    else:
        folded = unicodedata.normalize("NFKC", _IGNORABLE.sub("", unicodedata.normalize("NFKC", part))).casefold()
    return folded.partition(":")[0].rstrip(" .") in _RESERVED


def unplain(path: str) -> str | None:
    """Return why a path is not one that is allowed in a list from outside; ``None`` if it is.

    Allowed are letters, digits and marks of any script, signs that nothing reads a meaning into, and single spaces
    inside a name; nothing that is invisible or changes the direction of writing.
    """
    if len(path) <= LONGEST_PART and path.count("/") < DEEPEST and _USUAL.fullmatch(path):
        return None
    if (why := astray(path)) is not None:
        return why
    parts = path.split("/")
    if len(parts) > DEEPEST:
        return f"lies more than {DEEPEST} folders deep"
    if len(path) > LONGEST or len(path.encode()) > LONGEST or any(len(part.encode()) > LONGEST_PART for part in parts):
        return "is too long"
    return None if all(map(_is_plain, parts)) else "has a character that is not allowed in a name, or not there"


def clash(paths: Iterable[str]) -> str | None:
    """Return a path that is named twice, is both a file and a folder, or differs from another by nothing but what some
    disks do not tell apart: case, the composition of accents, what is invisible, dots and spaces at the end."""
    files: dict[str, str] = {}
    for path in paths:
        if (same := folded(path)) in files:
            return path
        files[same] = path
    folders: set[str] = set()
    for same in files:
        end = same.rfind("/")
        while end > 0 and (folder := same[:end]) not in folders:
            folders.add(folder)
            end = same.rfind("/", 0, end)
    return next((path for same, path in files.items() if same in folders), None)


def folded(path: str) -> str:
    """Return what all paths have in common that are one path on some disk."""
    if path.isascii():
        same = path.lower()
        if " /" not in same and "./" not in same and not same.endswith((" ", ".")):
            return same
    else:
        same = unicodedata.normalize("NFC", unicodedata.normalize("NFC", _IGNORABLE.sub("", path)).casefold())
    return "/".join(part.rstrip(" .") for part in same.split("/"))


def shown(path: str) -> str:
    """Return a name so that what is invisible in it, or would disturb a terminal, can be seen."""
    text = ascii(path)[1:-1]
    return text if len(text) <= 120 else f"{text[:119]}…"


def first_unplain(paths: Sequence[str]) -> str | None:
    """Return what is wrong with a list of paths from outside, as a clause; ``None`` if nothing is."""
    for path in paths:
        if (why := unplain(path)) is not None:
            return f"'{shown(path)}' {why}"
    if (twice := clash(paths)) is not None:
        return f"'{shown(twice)}' is two files, or a file and a folder, on some disks"
    return None


def is_text(value: str) -> bool:
    """Say whether UTF-8 can hold a text; half of a surrogate pair it cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(part: str) -> bool:
    ascii_ = part if part.isascii() else "".join(char if char.isascii() else "x" for char in part)
    if _PLAIN.fullmatch(ascii_) is None:
        return False
    if part.isascii():
        return True
    if any(char in "/\\" for char in unicodedata.normalize("NFKC", part)):
        return False
    return all(
        char.isascii()
        or char in _SELECTORS
        or (unicodedata.category(char)[0] in "LMNPS" and not _IGNORABLE.match(char))
        for char in part
    )


def slug(folder: str) -> str:
    """Return a folder as one word, for the name of a file or a label: ``ml/delay`` is ``ml-delay``."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", folder).strip("-")
