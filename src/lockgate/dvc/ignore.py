"""What ``.dvcignore`` files hide from DVC, in a commit as in the working tree, by DVC's own patterns.

DVC reads one ``.dvcignore`` in each folder; it never looks into ``.git``, ``.hg`` and ``.dvc``, nor into a folder that
is a DVC project of its own. What lies above the project's folder is not subject to any of it.
"""

import posixpath
from collections.abc import Iterable, Iterator
from typing import Any

from lockgate.git import Snapshot

FILE = ".dvcignore"
DEFAULTS = (".hg/", ".git/", ".git", ".dvc/")
ROOT = "/project"
"""Where DVC's patterns believe the project to be: they want absolute paths."""


class Ignores:
    """The ignore rules of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Read nothing yet."""
        self.snapshot = snapshot
        self._known: dict[str, Any] = {}
        self._open: dict[str, bool] = {"": True}

    def walk(self, path: str) -> Iterator[tuple[str, list[str]]]:
        """Walk a folder as DVC does: yield each folder in it and the names of its files that are not ignored."""
        for folder, folders, names in self.snapshot.walk(path):
            folders[:] = [name for name in folders if self._is_entered(folder, name)]
            yield folder, [name for name in names if not self._hides(folder, name, is_folder=False)]

    def visible(self, paths: Iterable[str]) -> list[str]:
        """Return the files that DVC would come across from the project's folder on, in order."""
        return [path for path in paths if self._is_open(posixpath.dirname(path)) and not self._hides_file(path)]

    def _hides_file(self, path: str) -> bool:
        return self._hides(posixpath.dirname(path), posixpath.basename(path), is_folder=False)

    def _is_open(self, folder: str) -> bool:
        """Say whether DVC would look into a folder of the project."""
        if folder not in self._open:
            above, name = posixpath.split(folder)
            self._open[folder] = self._is_open(above) and self._is_entered(above, name)
        return self._open[folder]

    def _is_entered(self, folder: str, name: str) -> bool:
        if _is_outside(folder):
            return True
        inner = posixpath.join(folder, name)
        return not self._hides(folder, name, is_folder=True) and not self.snapshot.exists(f"{inner}/.dvc")

    def _hides(self, folder: str, name: str, *, is_folder: bool) -> bool:
        if _is_outside(folder):
            return False
        patterns = self._patterns(folder)
        if patterns is None:  # without any pattern of the user's DVC need not be imported
            return name == ".git" or (is_folder and name in (".hg", ".dvc"))
        return bool(patterns.matches(_absolute(folder), name, is_folder))

    def _patterns(self, folder: str) -> Any:
        """Return DVC's patterns that hold in a folder, ``None`` where no ``.dvcignore`` has any."""
        if folder not in self._known:
            above = self._patterns(posixpath.dirname(folder)) if folder else None
            lines = self._lines(folder)
            if lines and (above is None or not above.matches(_absolute(folder), FILE)):
                self._known[folder] = _merged(above, lines, folder)
            else:
                self._known[folder] = above
        return self._known[folder]

    def _lines(self, folder: str) -> list[str]:
        text = self.snapshot.read(posixpath.join(folder, FILE)) or b""
        lines = (line.strip() for line in text.decode(errors="replace").splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def _merged(above: Any, lines: list[str], folder: str) -> Any:
    from dvc.ignore import DvcIgnorePatterns
    from dvc.pathspec_math import PatternInfo, merge_patterns

    if above is None:
        above = DvcIgnorePatterns(list(DEFAULTS), ROOT, posixpath.sep)
    own = [PatternInfo(line, f"{folder}/{FILE}") for line in lines]
    patterns, place = merge_patterns(posixpath, above.pattern_list, above.dirname, own, _absolute(folder))
    return DvcIgnorePatterns(patterns, place, posixpath.sep)


def _absolute(folder: str) -> str:
    return posixpath.join(ROOT, folder) if folder else ROOT


def _is_outside(folder: str) -> bool:
    return folder.startswith(("/", "../")) or folder == ".."
