"""``lockgate setup-git``: let git merge ``dvc.lock`` stage by stage in this clone.

Two things are needed: lines in ``.gitattributes``, which is committed and serves everybody, and the drivers that they
name in ``.git/config``, which each clone has of its own because git lets no repository bring commands along.

Outputs that git keeps (``cache: false``) get a line as well: where both sides changed one, its stage runs again, and a
conflict in what it writes would be nobody's to resolve.
"""

import argparse
import re
import sys
from pathlib import Path

from lockgate.adoption.clone import DRIVER, OUTPUTS, merges_lock, missing
from lockgate.adoption.clone import configure as configure_clone
from lockgate.dvc.pipeline import is_address, read_pipeline
from lockgate.errors import LockgateError
from lockgate.git import Workspace, git, project_root

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
    lines = [] if merges_lock(root) else [ATTRIBUTE]
    for line in [*lines, *_output_lines(root, top)]:
        done.append(f".gitattributes: the line '{line}' {would}added; commit it")
        if not arguments.dry_run:
            _append(top / ".gitattributes", line)
    sys.stdout.write("\n".join(done or ["nothing to do: git merges dvc.lock stage by stage here"]) + "\n")
    return 0


def _attribute(root: Path, path: str) -> str:
    return git(root, "check-attr", "-z", "merge", "--", path).split("\0")[2]


def _output_lines(root: Path, top: Path) -> list[str]:
    """Return the lines for outputs that git keeps and of which nothing says yet how they are merged."""
    try:
        stages = read_pipeline(Workspace(root)).stages
    except LockgateError as error:
        sys.stderr.write(f"Outputs that git keeps get no line in .gitattributes: {error}\n")
        return []
    lines = []
    for path in sorted(
        out.path for stage in stages for out in stage.outs if not out.cached and not is_address(out.path)
    ):
        place = (root.resolve() / path).resolve()
        if not place.is_relative_to(top.resolve()):
            continue
        is_folder = place.is_dir()
        if _attribute(root, f"{path}/x" if is_folder else path) == "unspecified":
            lines.append(
                f"{_pattern(place.relative_to(top.resolve()).as_posix(), is_folder=is_folder)} merge={OUTPUTS}"
            )
    return lines


def _pattern(path: str, *, is_folder: bool) -> str:
    """Return a path as .gitattributes has it: from the top, with nothing in it that would stand for something else."""
    plain = re.sub(r"([\\*?\[])", r"\\\1", path)
    whole = f"/{plain}/**" if is_folder else f"/{plain}"
    quoted = whole.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"' if re.search(r'[\s"]', whole) else whole


def _append(path: Path, line: str) -> None:
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    separator = "" if before.endswith("\n") or not before else "\n"
    path.write_text(f"{before}{separator}{line}\n", encoding="utf-8")
