"""``lockgate setup-git``: let git merge ``dvc.lock`` stage by stage in this clone.

Two things are needed: a line in ``.gitattributes``, which is committed and serves everybody, and the driver that it
names in ``.git/config``, which each clone has of its own because git lets no repository bring commands along.
"""

import argparse
import sys
from pathlib import Path

from lockgate.adoption.clone import DRIVER, merges_lock, missing
from lockgate.adoption.clone import configure as configure_clone
from lockgate.git import git, project_root

EXAMPLES = """\
examples:
  lockgate setup-git            once in each clone, and again after Python was moved
  lockgate setup-git --dry-run  only say what would be done
"""

ATTRIBUTE = f"dvc.lock merge={DRIVER}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate setup-git``."""
    parser.epilog = EXAMPLES
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")


def main(arguments: argparse.Namespace) -> int:
    """Configure the merge driver, and say what was done. Run again it does nothing."""
    root = project_root()
    top = Path(git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
    would = "would be " if arguments.dry_run else ""
    lacking = missing(root)
    done = [f".git/config: {key} {would}set to: {value}" for key, value in lacking.items()]
    if not arguments.dry_run:
        configure_clone(root, lacking)
    if not merges_lock(root):
        done.append(f".gitattributes: the line '{ATTRIBUTE}' {would}added; commit it")
        if not arguments.dry_run:
            _append(top / ".gitattributes", ATTRIBUTE)
    sys.stdout.write("\n".join(done or ["nothing to do: git merges dvc.lock stage by stage here"]) + "\n")
    return 0


def _append(path: Path, line: str) -> None:
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    separator = "" if before.endswith("\n") or not before else "\n"
    path.write_text(f"{before}{separator}{line}\n", encoding="utf-8")
