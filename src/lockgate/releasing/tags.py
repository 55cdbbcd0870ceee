"""The tags that ask for something, in GTO's grammar::

    NAME@vX.Y.Z          a release
    NAME@vX.Y.Z!         its withdrawal
    NAME#ENVIRONMENT#N   a promotion of the release that is tagged at the same commit
    NAME#ENVIRONMENT!#N  the environment is retired

``gto`` reads the grammar. What GTO knows besides (deprecations, counters on versions, build metadata) asks Lockgate for
nothing and is refused with the grammar. A tag has to be annotated: it says who asked, when and why.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lockgate import git
from lockgate.errors import LockgateError, NotAskedError, nearest
from lockgate.releasing.manifest import is_name, is_version

GRAMMAR = (
    "A release is asked for by NAME@vX.Y.Z (flight-delay@v1.2.0), its withdrawal by NAME@vX.Y.Z!, a promotion by "
    "NAME#ENVIRONMENT#N, the end of an environment by NAME#ENVIRONMENT!#N."
)


class Malformed(LockgateError):  # noqa: N818 - named for what the user reads
    """The tag is not in the grammar."""

    def __init__(self, tag: str, finding: str) -> None:
        """Show the tag letter by letter, and the grammar."""
        super().__init__(f"the tag {tag!r} {finding}", GRAMMAR)


class NoSuchTag(NotAskedError):  # noqa: N818
    """git has no tag of this name."""

    def __init__(self, tag: str, known: list[str]) -> None:
        """Name the tag, and the nearest of the ``known`` ones."""
        hint = nearest(tag, known)
        advice = f"`git tag -a '{tag}' -m 'why' COMMIT` makes it; in another clone: `git fetch --tags`."
        super().__init__(f"git has no tag '{tag}'{'; ' + hint if hint else ''}", advice)


class Lightweight(LockgateError):  # noqa: N818
    """The tag is a bare name for a commit: it does not say who made it, when and why."""

    def __init__(self, tag: str) -> None:
        """Name the tag."""
        super().__init__(
            f"the tag '{tag}' is lightweight: nobody signed for it",
            f"Make it anew, annotated: `git tag -a -f '{tag}' -m 'why' '{tag}^{{}}'`.",
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a tag asks for: the release of ``version``, or a promotion to ``environment``, the ``number``-th one; with
    ``cancels``, the withdrawal of the release or the end of the environment."""

    tag: str
    name: str
    version: str | None = None
    environment: str | None = None
    number: int | None = None
    cancels: bool = False


@dataclass(frozen=True, slots=True)
class Annotated:
    """A tag as git holds it: the commit it is at, who tagged, and the first line of why."""

    commit: str
    tagger: str
    subject: str


def parse(tag: str) -> Wanted:
    """Return what ``tag`` asks for. Raises :class:`Malformed`."""
    from gto.exceptions import InvalidTagName
    from gto.tag import parse_name

    try:
        said = parse_name(tag)
    except InvalidTagName:
        raise Malformed(tag, "is not in GTO's grammar") from None
    name = str(said["name"])
    cancels = "action" in said and said["action"].value in {"deregister", "unassign"}
    wanted = Wanted(tag, name, said.get("version"), said.get("stage"), said.get("counter"), cancels)
    mark = "!" if cancels else ""
    spelled = f"{name}@{wanted.version}{mark}"
    if wanted.environment:
        spelled = f"{name}#{wanted.environment}{mark}#{wanted.number}"
    # GTO's pattern lets more pass, such as a line end or a counter on a version: one spelling asks for something
    if tag != spelled or not is_name(name) or not (wanted.environment or is_version(str(wanted.version))):
        raise Malformed(tag, "asks for no release and no promotion")
    return wanted


def annotated(root: Path, tag: str) -> Annotated:
    """Return the annotated tag of that very name. Raises :class:`NoSuchTag`, :class:`Lightweight`."""
    form = "%(objecttype)%00%(taggername)%00%(contents:subject)"
    listed = git.git(root, "for-each-ref", "--count=1", f"--format={form}", f"refs/tags/{tag}")
    if not listed:
        names = git.git(root, "for-each-ref", "--format=%(refname:strip=2)", "refs/tags").splitlines()
        raise NoSuchTag(tag, names)
    kind, tagger, subject = listed.rstrip("\n").split("\0")
    if kind != "tag":
        raise Lightweight(tag)
    return Annotated(git.resolve(root, f"refs/tags/{tag}"), tagger, subject)


def versions_at(root: Path, name: str, commit: str) -> list[str]:
    """Return the versions of ``name`` that annotated tags give to ``commit``."""
    form = "%(objecttype) %(refname:strip=2)"
    listed = git.git(root, "for-each-ref", f"--points-at={commit}", f"--format={form}", f"refs/tags/{name}@v*")
    found = re.findall(rf"^tag {re.escape(name)}@(\S+)$", listed, flags=re.MULTILINE)
    return [version for version in found if is_version(version)]
