"""Which changed files decide how a change is measured: what the check's own steps read, beside the pipeline's inputs.

A stage's dependencies are listed with the change itself. The files here are none, and yet decide what runs, with which
packages, by which rules it is judged, or what git and DVC make of a file: a reviewer reads them first.
"""

import re
from pathlib import Path

from lockgate import git

FOLDERS = (".github/", ".dvc/", "requirements/")
"""Everything below these, in the project or at the top of the repository."""
NAMES = re.compile(
    r"""
    (?:GNU)?[Mm]akefile | .+\.mk                      # what the steps call
    | pyproject\.toml | setup\.(?:cfg|py) | tox\.ini | noxfile\.py | pytest\.ini | [\w.-]*\.lock | uv\.toml
    | [\w.-]*requirements[\w.-]*\.(?:txt|in) | Pipfile | environment\.ya?ml | package(?:-lock)?\.json
    | \.python-version | \.tool-versions | \.nvmrc | pip\.conf | \.netrc | \.npmrc
    | \.gitattributes | \.gitmodules | \.gitconfig | \.lfsconfig | \.dvcignore
    | lockgate\.ya?ml | lockgate[\w.-]*\.pub
    | sitecustomize\.py | usercustomize\.py | conftest\.py | [\w.-]+\.pth | \.env(?:\.[\w.-]+)? | \.envrc
    | Dockerfile | \.dockerignore
    """,
    re.VERBOSE,
)
"""File names that are read wherever they lie; ``dvc.lock`` is not among them, for it is checked entry by entry."""


def measuring_files(root: Path, base: str, head: str) -> tuple[str, ...]:
    """Return the files that differ between two commits and decide how the change is measured."""
    changed = git.changed_files(root, base, head)
    prefix = git.git(root, "rev-parse", "--show-prefix").rstrip("\n")
    own = _own_code(root)
    return tuple(name for name in changed if measures(name, prefix) or (own and name.startswith(own)))


def measures(path: str, prefix: str = "") -> bool:
    """Say whether the file at ``path`` decides how a change is measured. ``prefix`` is the project's folder."""
    inner = path.removeprefix(prefix)
    if path.startswith(FOLDERS) or inner.startswith(FOLDERS) or "/.dvc/" in path:
        return True
    name = path.rsplit("/", 1)[-1]
    return name != "dvc.lock" and NAMES.fullmatch(name) is not None


def _own_code(root: Path) -> str:
    """Return the folder of lockgate's own code, if this is the repository that it lives in."""
    top = Path(git.git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
    own = Path(__file__).resolve().parents[1]
    return f"{own.relative_to(top).as_posix()}/" if own.is_relative_to(top) else ""
