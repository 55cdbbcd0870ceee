"""The tags that ask for something, in GTO's grammar::

    NAME@vX.Y.Z          a release
    NAME@vX.Y.Z!         its withdrawal
    NAME#ENVIRONMENT#N   a promotion of the release that is tagged at the same commit
    NAME#ENVIRONMENT!#N  the environment is retired

``gto`` reads the grammar. What GTO knows besides (deprecations, counters on versions, build metadata) asks Lockgate for
nothing and is refused with the grammar. A tag has to be annotated: it says who asked, when and why.
"""

import re
import shlex
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lockgate import git
from lockgate.errors import LockgateError, NotAskedError, nearest
from lockgate.releasing.manifest import is_name, is_version, release_name, tag_name

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
    name = release_name(str(said["name"]))
    cancels = "action" in said and said["action"].value in {"deregister", "unassign"}
    wanted = Wanted(tag, name, said.get("version"), said.get("stage"), said.get("counter"), cancels)
    mark = "!" if cancels else ""
    spelled = f"{tag_name(name)}@{wanted.version}{mark}"
    if wanted.environment:
        spelled = f"{tag_name(name)}#{wanted.environment}{mark}#{wanted.number}"
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
    tagged = tag_name(name)
    listed = git.git(root, "for-each-ref", f"--points-at={commit}", f"--format={form}", f"refs/tags/{tagged}@v*")
    found = re.findall(rf"^tag {re.escape(tagged)}@(\S+)$", listed, flags=re.MULTILINE)
    return [version for version in found if is_version(version)]


@dataclass(frozen=True, slots=True)
class Tag:
    """An annotated tag: the commit it is at and when it was made, in seconds since 1970."""

    name: str
    commit: str
    time: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What tags ask for of one model: its versions that were not withdrawn, by their commit, and which of them each
    environment is to run."""

    versions: dict[str, str]
    environments: dict[str, str]


class SeveralVersions(LockgateError):  # noqa: N818
    """Several versions of a model are tagged at one commit. GTO takes one."""

    def __init__(self, name: str, commit: str, versions: Iterable[str]) -> None:
        """Name the model, the commit and its versions."""
        super().__init__(
            f"{' and '.join(sorted(versions))} of {name} are tagged at one commit, {commit[:12]}: "
            "GTO takes one version a commit, and `gto show` fails for all models",
            "Delete the tags of those that were not released; a new version is tagged at a commit of its own.",
        )


def listed(root: Path) -> list[Tag]:
    """Return the annotated tags of a repository."""
    form = "%(objecttype) %(*objectname) %(taggerdate:unix) %(refname:strip=2)"
    lines = git.git(root, "for-each-ref", f"--format={form}", "refs/tags").splitlines()
    parts = [line.split(" ", 3) for line in lines if line.startswith("tag ")]
    return [Tag(name, commit, int(time or 0)) for _, commit, time, name in parts]


def asked_for(tags: Iterable[Tag]) -> dict[str, Asked]:
    """Return what tags ask for, by the name of the model, as ``gto show`` does. Other tags are passed over.

    A version is what its last tag says: ``NAME@v1.2.0`` registers it, ``NAME@v1.2.0!`` withdraws it. An environment is
    to run the version that was promoted to it last and not taken off (``NAME#ENVIRONMENT!#N``) since. A promotion at
    a commit of no version asks for nothing. Raises :class:`SeveralVersions` for a promotion at a commit of several.
    """
    events = sorted(_events(tags), key=lambda event: event[1].time)
    there: dict[tuple[str, str], dict[str, bool]] = {}  # model and commit → version → whether it stands
    promoted: dict[tuple[str, str, str], int | None] = {}  # model, environment and commit → when, where it stands
    for wanted, tag in events:
        if wanted.version is not None:
            there.setdefault((wanted.name, tag.commit), {})[wanted.version] = not wanted.cancels
        elif wanted.environment is not None:
            promoted[wanted.name, wanted.environment, tag.commit] = None if wanted.cancels else tag.time
    for name, _, commit in promoted:
        if len(versions := there.get((name, commit), {})) > 1:
            raise SeveralVersions(name, commit, versions)
    found: dict[str, Asked] = {name: Asked({}, {}) for name, _ in there}
    standing: dict[tuple[str, str], str] = {}
    for (name, commit), versions in there.items():
        for version in (version for version, stands in versions.items() if stands):
            found[name].versions[version] = commit
            standing[name, commit] = version
    in_order = sorted((since, key) for key, since in promoted.items() if since is not None)
    for _, (name, environment, commit) in in_order:
        if (name, commit) in standing:
            found[name].environments[environment] = standing[name, commit]
    return found


def _events(tags: Iterable[Tag]) -> Iterator[tuple[Wanted, Tag]]:
    for tag in tags:
        with suppress(Malformed):
            yield parse(tag.name), tag


@dataclass(frozen=True, slots=True)
class Follow:
    """The tag that says in git what was done by hand, so that ``gto show`` stays true. It is not dated before
    ``least``, or GTO would take another tag for the last one."""

    tag: str
    commit: str
    least: int

    def command(self, message: str) -> str:
        """Return the commands that make and push it."""
        quoted = shlex.quote(self.tag)
        message = shlex.quote(message or "by hand")
        return f"git tag -a {quoted} -m {message} {self.commit[:12]} && git push origin {quoted}"

    def make(self, root: Path, message: str) -> None:
        """Make it here. Raises :class:`~lockgate.git.GitError`."""
        moment = {"GIT_COMMITTER_DATE": f"{max(int(time.time()), self.least)} +0000"}
        git.git(root, "tag", "-a", self.tag, "-m", message or "by hand", self.commit, environment=moment)


def follow(root: Path, name: str, environment: str, commit: object) -> Follow | None:
    """Return the tag that promotes the release of ``commit`` after all that there are; ``None`` outside its repository.

    GTO counts promotions over all environments of a model.
    """
    try:
        found = listed(root)
        at = git.resolve(root, str(commit))
    except git.GitError:
        return None
    number, least = 0, 0
    for wanted, tag in _events(found):
        if wanted.name == name:
            number, least = max(number, wanted.number or 0), max(least, tag.time + 1)
    return Follow(f"{tag_name(name)}#{environment}#{number + 1}", at, least)
