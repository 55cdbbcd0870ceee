"""``lockgate verify REF``: check everything the store says of a release or an environment, and that git agrees."""

from collections.abc import Mapping
from pathlib import Path

from lockgate import git
from lockgate.errors import LockgateError
from lockgate.releasing.environments import Entry, missing_tags
from lockgate.releasing.manifest import tag_name
from lockgate.releasing.registry import Build


class TagsDisagree(LockgateError):  # noqa: N818 - named for what the user reads
    """git's tags and the store tell different stories."""


def check_tags(build: Build, entry: Entry | None, log: list[Entry], tags: Mapping[str, str]) -> None:
    """Compare a verified release, and the log of the environment it runs in, with git's ``tags`` (name → commit).

    Raises :class:`TagsDisagree` if the release's tag moved to another commit, or if git has tags of promotions that
    the log does not know: entries taken off its end show nowhere else.
    """
    release = build.release
    tag, commit = f"{tag_name(release.name)}@{release.version}", build.manifest.facts.get("commit")
    if tag in tags and commit is not None and tags[tag] != commit:
        raise TagsDisagree(
            f"the tag {tag} is at {tags[tag][:12]}, the release was made of {str(commit)[:12]}",
            "The tag was moved after the release, or the release is not of this repository.",
        )
    missing = missing_tags(log, tags, release.name, entry.environment) if entry else []
    if missing:
        raise TagsDisagree(
            f"the log of '{entry.environment if entry else ''}' knows nothing of {', '.join(missing)}",
            "Either that promotion was refused (run it again, or delete the tag), or entries were taken off the log.",
        )


def read_tags(folder: Path) -> dict[str, str]:
    """Return git's tags as name → commit; empty outside a repository."""
    try:
        listed = git.git(
            folder, "for-each-ref", "--format=%(refname:strip=2)%09%(objectname)%09%(*objectname)", "refs/tags"
        )
    except git.GitError:
        return {}
    rows = (line.split("\t") for line in listed.splitlines())
    return {name: peeled or direct for name, direct, peeled in rows}
