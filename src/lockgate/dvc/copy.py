"""Throw-away copies of a revision that share this project's cache, in which its stages run with other parameters.

What they compute is in the cache afterwards, as with ``dvc exp run --temp``; nothing of the working tree is touched.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lockgate import git
from lockgate.dvc.objects import Cache
from lockgate.git import Snapshot
from lockgate.temporary import temporary_folder


@contextmanager
def shared_copy(root: Path, head: Snapshot, name: str) -> Iterator[Path]:
    """Give the project's folder with the files of ``head``, in a clone of its own that uses this project's cache and
    remotes. The temporary folder's name has ``name`` in it."""
    with temporary_folder(name) as folder:
        top, clone = Path(git.git(root, "rev-parse", "--show-toplevel").rstrip("\n")), folder / "clone"
        git.git(root, "clone", "--quiet", "--shared", "--no-checkout", str(top), str(clone))
        commit = head.commit or git.head(root)
        if commit is not None:
            git.git(clone, "checkout", "--quiet", "--detach", commit)
        copy = clone / root.relative_to(top)
        if head.commit is None:
            _overlay(root, head, copy)
        _share_cache(root, copy)
        yield copy


def _overlay(root: Path, head: Snapshot, copy: Path) -> None:
    """Make the clone's files those of the working tree: changed, new and deleted ones alike."""
    wanted = set(head.list())
    for path in git.git(copy, "ls-files", "-z").split("\0"):
        if path and path not in wanted:
            (copy / path).unlink(missing_ok=True)
    for path in wanted:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).unlink(missing_ok=True)
        shutil.copy2(root / path, copy / path, follow_symlinks=False)


def _share_cache(root: Path, copy: Path) -> None:
    """Point the copy at this project's cache, and its remotes at where this project's relative addresses lead."""
    from dvc.config import Config

    remotes = Config(str(root / ".dvc"))["remote"]
    with Config(str(copy / ".dvc")).edit("local") as settings:
        settings["cache"] = {"dir": str(Cache.of(root).folder.resolve())}
        settings["remote"] = {name: dict(remote) for name, remote in remotes.items()}


def set_parameter(path: Path, key: str, value: Any) -> None:
    """Write ``value`` at the dotted ``key`` of a parameter file, by DVC's own reader and writer of its format.

    Raises ``KeyError`` for a section that the file does not have.
    """
    from dvc.utils.serialize import MODIFIERS

    with MODIFIERS[path.suffix.lower()](str(path)) as content:
        *sections, last = key.split(".")
        for section in sections:
            content = content[section]  # noqa: PLW2901 - going down
        content[last] = value
