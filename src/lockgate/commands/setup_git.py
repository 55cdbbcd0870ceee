"""``lockgate setup-git``: let git merge ``dvc.lock`` stage by stage in this clone.

Two things are needed: a line in ``.gitattributes``, which is committed and serves everybody, and the driver that it
names in ``.git/config``, which each clone has of its own because git lets no repository bring commands along.
"""

import argparse
import shlex
import sys
from pathlib import Path

from lockgate.git import git, project_root

EXAMPLES = """\
examples:
  lockgate setup-git            once in each clone, and again after Python was moved
  lockgate setup-git --dry-run  only say what would be done
"""

DRIVER = "lockgate"
ATTRIBUTE = f"dvc.lock merge={DRIVER}"
OUTPUTS = "lockgate-output"
"""The driver for small outputs that git keeps (``reports/*.json merge=lockgate-output``): this side's stands until
``dvc repro`` writes the file again. Git asks a driver only where both sides changed, and then the merged lock lacks the
stage."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate setup-git``."""
    parser.epilog = EXAMPLES
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")


def main(arguments: argparse.Namespace) -> int:
    """Configure the merge driver, and say what was done. Run again it does nothing."""
    root = project_root()
    top = Path(git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
    would = "would be " if arguments.dry_run else ""
    done = []
    for key, value in settings().items():
        if git(root, "config", "--local", "--default", "", "--get", key) != f"{value}\n":
            done.append(f".git/config: {key} {would}set to: {value}")
            if not arguments.dry_run:
                git(root, "config", "--local", "--replace-all", key, value)
    if not git(root, "check-attr", "merge", "--", "dvc.lock").endswith(f": {DRIVER}\n"):
        done.append(f".gitattributes: the line '{ATTRIBUTE}' {would}added; commit it")
        if not arguments.dry_run:
            _append(top / ".gitattributes", ATTRIBUTE)
    sys.stdout.write("\n".join(done or ["nothing to do: git merges dvc.lock stage by stage here"]) + "\n")
    return 0


def settings() -> dict[str, str]:
    """Return the settings of git: this Python runs the driver, and takes no module from the working tree (``-P``)."""
    python = shlex.quote(sys.executable).replace("%", "%%")
    return {
        f"merge.{DRIVER}.name": "dvc.lock, stage by stage",
        f"merge.{DRIVER}.driver": f"{python} -P -m lockgate merge-lock %O %A %B %P",
        f"merge.{OUTPUTS}.name": "what a stage writes again",
        f"merge.{OUTPUTS}.driver": "true",
    }


def _append(path: Path, line: str) -> None:
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    separator = "" if before.endswith("\n") or not before else "\n"
    path.write_text(f"{before}{separator}{line}\n", encoding="utf-8")
