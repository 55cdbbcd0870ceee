"""Which files of this repository the steps of a pull request's check open, and whether a reviewer would hear of each.

In a fresh clone every file is watched (:mod:`lockgate.dvc.opened`) while the commands of ``pull-request.yml`` and its
action ``setup`` run: the set-up, then ``lockgate ci pull-request`` for a change of one parameter. Each file that they
open has to be an input or output of the pipeline, or by its name one that decides how a change is measured
(:mod:`lockgate.publishing.measures`), or a document. Exits with 1 and names those that are none.

The set-up brings packages from the index, so this needs a network. Data come from this checkout's cache, if it has one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lockgate import git
from lockgate.dvc.opened import watching
from lockgate.git import Commit
from lockgate.publishing.measures import is_document, measures, measuring

ROOT = Path(__file__).resolve().parents[1]
OWN = "src/lockgate/"
EDIT = ("params.yaml", "learning_rate: 0.05", "learning_rate: 0.06")


def main() -> int:
    """Run the steps and print what they opened."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        git.git(ROOT, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone))
        base = git.resolve(clone, "HEAD")
        git.git(clone, "switch", "--quiet", "--create", "change")
        others = _accounted(clone, base)
        files = git.git(clone, "ls-files", "-z").split("\0")[:-1]
        found = {}
        for name, command in (("set-up", ["make", ".venv/run"]), ("check", _check(clone, base))):
            if name == "check" and (ROOT / ".dvc/cache").exists():
                shutil.copytree(ROOT / ".dvc/cache", clone / ".dvc/cache", dirs_exist_ok=True)
            with watching(clone, files) as opened:
                subprocess.run(command, cwd=clone, check=name == "set-up", env=_environment(clone))
                found[name] = opened()
    strange = []
    for name, paths in found.items():
        unknown = [path for path in paths if path in others and not is_document(path)]
        unknown = [path for path in unknown if not path.startswith(OWN)]  # of the clone, not of this checkout
        by_name = sum(measures(path) or path.startswith(OWN) for path in paths)
        print(f"{name}: {len(paths):,} files opened, {by_name:,} that decide the measurement, {len(unknown):,} unknown")
        print("".join(f"  {path}\n" for path in unknown), end="")
        strange += unknown
    return 1 if strange else 0


def _accounted(clone: Path, base: str) -> set[str]:
    """Return the files for which neither rule nor pipeline accounts: all of them are changed, to ask."""
    for path in git.git(clone, "ls-files", "-z").split("\0")[:-1]:
        if not measures(path) and not path.endswith(("dvc.yaml", "dvc.lock", ".dvc")) and (clone / path).is_file():
            with (clone / path).open("ab") as file:
                file.write(b"\n")
    git.git(clone, "-c", "user.name=study", "-c", "user.email=study@localhost", "commit", "--quiet", "-a", "-m", "all")
    sides = (Commit(clone, "base", base), Commit(clone, "all", git.resolve(clone, "HEAD")))
    others = set(measuring(clone, *sides).others)
    git.git(clone, "reset", "--quiet", "--hard", base)
    path, before, after = EDIT
    (clone / path).write_text((clone / path).read_text().replace(before, after, 1))
    git.git(clone, "-c", "user.name=study", "-c", "user.email=study@localhost", "commit", "--quiet", "-a", "-m", "edit")
    return others


def _check(clone: Path, base: str) -> list[str]:
    return [str(clone / ".venv/bin/lockgate"), "ci", "pull-request", "--base", base, "--into", "handover"]


def _environment(clone: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{clone}/.venv/bin{os.pathsep}{os.environ['PATH']}"}


if __name__ == "__main__":
    sys.exit(main())
