"""``lockgate rebuild``: run a commit's pipeline again in a clone, compare each hash with its ``dvc.lock``.

Nothing that ``dvc repro`` relies on is relied on here. The commit is cloned to a new folder with its own cache, the
outputs that git holds are removed, and each stage is run whatever any lock, run cache or remote says of it. Source data
that no stage makes (``dvc add``, ``dvc import``) is fetched and must have the hash of its ``.dvc`` file.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lockgate import git
from lockgate.dependencies.commit import CHOICES, Locked
from lockgate.dependencies.install import Wheels
from lockgate.dvc.rebuild import LEVELS, Rebuild, RebuildError, as_text, interrupted, rebuild
from lockgate.dvc.stages import stoppable
from lockgate.envelope import envelope
from lockgate.files import progress

EXAMPLES = """\
examples:
  lockgate rebuild                    the commit you are on, from its source data to its last output
  lockgate rebuild main               any commit, branch or tag
  lockgate rebuild --level train      only the model's stage and what follows, from their locked inputs
  lockgate rebuild --level none       run nothing: only ask whether dvc.lock belongs to this code
  lockgate rebuild --dependencies current    with the packages that are installed here, not those of its lock
  lockgate rebuild --json | jq -r '.outputs[] | select(.rebuilt != .locked).path'

Your working tree, cache and remote are not touched.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate rebuild``."""
    parser.epilog = EXAMPLES
    parser.add_argument("revision", metavar="REV", nargs="?", help="the commit to rebuild (default: HEAD)")
    parser.add_argument("--level", choices=LEVELS, default="full", help="how far back to start (default: full)")
    parser.add_argument(
        "--dependencies",
        choices=CHOICES,
        help="what stages run with: the packages of the commit's own lock, or those that are installed here "
        "(default: locked where its lockgate.yaml names a lock)",
    )
    parser.add_argument(
        "--store", metavar="URL", help="take packages that a release kept from there first (default: $LOCKGATE_STORE)"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="only what is of this model, where lockgate.yaml has several (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    parser.add_argument("--keep", action="store_true", help="keep the clone, and print where it is")


def main(arguments: argparse.Namespace) -> int:
    """Rebuild and print the comparison. An error (exit code 1) if one output differs."""
    root = git.project_root()
    if arguments.revision is None:
        _check_committed(root)
    with stoppable(interrupted()):
        done = rebuild(
            root,
            arguments.revision or "HEAD",
            arguments.level,
            dependencies=arguments.dependencies,
            kept=_kept(arguments.store),
            keep=arguments.keep,
            model=arguments.model,
            tell=progress,
        )
    sys.stdout.write(as_json(done) if arguments.json else as_text(done))
    if not done.ok:
        raise done.difference()
    return 0


def _kept(url: str | None) -> Callable[[str, Locked, Path], Wheels | None]:
    """Return what brings the kept files of a model's packages from the store: the one that is named, or is here."""

    def bring(model: str, locked: Locked, folder: Path) -> Wheels | None:
        from lockgate.dependencies.kept import Kept
        from lockgate.releasing.options import STORE
        from lockgate.store import open_store

        named = url or os.environ.get("LOCKGATE_STORE") or (STORE if Path(STORE).is_dir() else None)
        return Kept(open_store(named), model).wheels(locked.lock, locked.build, folder, progress) if named else None

    return bring


def as_json(done: Rebuild) -> str:
    """Return the comparison as JSON text."""
    content = {
        "commit": done.commit,
        "level": done.level,
        "ok": done.ok,
        "ran_with": asdict(done.ran_with) if done.ran_with else None,
        "outputs": [asdict(out) for out in done.outputs],
    }
    return envelope("rebuild", content)


def _check_committed(root: Path) -> None:
    """Refuse to rebuild HEAD for somebody whose lock says something else; mention other changes."""
    changed = git.git(root, "status", "--porcelain", "-z", "--untracked-files=no", "--", ".").split("\0")
    names = [entry[3:] for entry in changed if entry]
    if any(Path(name).name == "dvc.lock" for name in names):
        raise RebuildError(
            "dvc.lock has uncommitted changes, and only commits are rebuilt",
            "Commit it, or name the commit you mean: `lockgate rebuild HEAD`.",
        )
    if names:
        progress(f"rebuilding HEAD, without your uncommitted changes ({', '.join(names[:3])})")
