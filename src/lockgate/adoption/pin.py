"""Which workflows a repository is given: those of the commit that this lockgate was built from.

Where Lockgate's own repository is, one line says: ``Source`` under ``[project.urls]`` of pyproject.toml, which the
package carries as its metadata. A fork changes that line; ``lockgate init --pin OWNER/NAME`` names another for once.
"""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from importlib.resources import files
from pathlib import Path

from lockgate import __version__, git
from lockgate.errors import NotAskedError, UsageError


@dataclass(frozen=True, slots=True)
class Pin:
    """A commit of the repository ``owner/name``, and the version that it is."""

    repository: str
    commit: str
    version: str


class NoPin(NotAskedError):  # noqa: N818 - named for what the user reads
    """Nothing says which commit this lockgate is."""

    def __init__(self) -> None:
        """Say how to name it."""
        super().__init__(
            "this lockgate was not built from a commit (but outside of git, or with changes that no commit has), so it "
            "does not know which commit its workflows are of",
            "Name it: `lockgate init --pin COMMIT` (40 digits), or install a released version.",
        )


def own_pin(named: str | None = None) -> Pin:
    """Return the pin of this lockgate; ``named`` is a commit, ``OWNER/NAME``, or ``OWNER/NAME@COMMIT``, that is to be
    pinned instead.

    Raises :class:`UsageError` for what is none of them, :class:`NoPin` where nothing says which commit this is.
    """
    given = re.fullmatch(r"(?P<repository>[\w.-]+/[\w.-]+)?@?(?P<commit>(?<![\w.-])[0-9a-f]{40})?", named or "")
    if given is None or (named and named.startswith("@")) or (named and named.endswith("@")):
        raise UsageError(
            f"--pin {named} is no full commit and no repository", "Write 40 digits, OWNER/NAME, or OWNER/NAME@COMMIT."
        )
    return Pin(given["repository"] or _repository(), given["commit"] or _commit(), f"v{__version__}")


def _repository() -> str:
    try:
        told = metadata("lockgate").get_all("Project-URL") or []
    except PackageNotFoundError:
        told = []
    addresses = [str(line).partition(", ")[2] for line in told if str(line).startswith("Source, ")]
    if not addresses:
        raise NotAskedError(
            "this lockgate is not installed as a package, so it does not know where its own repository is",
            "Install it (`pip install .`), or name it: `lockgate init --pin OWNER/NAME@COMMIT`.",
        )
    return addresses[0].removeprefix("https://github.com/").removesuffix("/")


def _commit() -> str:
    packaged = files("lockgate.adoption") / "COMMIT"
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8").strip()
    here = Path(__file__).parent
    try:
        top = Path(git.git(here, "rev-parse", "--show-toplevel").rstrip("\n"))
        commit = git.head(here)
    except git.GitError as error:
        raise NoPin from error
    if commit is None or not (top / "src/lockgate/adoption/pin.py").exists():
        raise NoPin
    return commit
