"""``lockgate verify REF``: check everything the store says of a release or an environment, and that git agrees."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from lockgate import git
from lockgate.errors import LockgateError
from lockgate.releasing.access import StderrProgress, add_reader_options, parse_ref, registry_of, resolve
from lockgate.releasing.environments import Entry, Environment, missing_tags
from lockgate.releasing.registry import Build, as_json


class TagsDisagree(LockgateError):  # noqa: N818 - named for what the user reads
    """git's tags and the store tell different stories."""


def check_tags(build: Build, entry: Entry | None, log: list[Entry], tags: Mapping[str, str]) -> None:
    """Compare a verified release, and the log of the environment it runs in, with git's ``tags`` (name → commit).

    Raises :class:`TagsDisagree` if the release's tag moved to another commit, or if git has tags of promotions that
    the log does not know: entries taken off its end show nowhere else.
    """
    release = build.release
    tag, commit = f"{release.name}@{release.version}", build.manifest.facts.get("commit")
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


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("ref", metavar="REF", help="a version (v1.2.0, NAME@v1.2.0) or an environment (production)")
    parser.add_argument("--no-git", action="store_true", help="do not compare with the tags of the repository here")
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Verify signatures, manifest, every file, the whole log and git's tags."""
    ref = parse_ref(arguments.ref)
    registry = registry_of(arguments, ref.name)
    log = Environment(registry, ref.environment).verify() if ref.environment else []
    entry, build = resolve(registry, ref)
    tags = {} if arguments.no_git else read_tags(Path.cwd())
    check_tags(build, entry, log, tags)
    registry.verify_files(build, StderrProgress())
    release = build.release
    ours = [tag for tag in tags if tag.startswith((f"{release.name}@", f"{release.name}#"))]
    facts = {
        "release": f"{release.name}@{release.version}",
        "build": release.manifest,
        "files": len(build.manifest.files),
        "bytes": sum(file.size for file in build.manifest.files),
        "entries": len(log),
        "tags": len(ours),
        "verified": True,
    }
    text = f"{facts['release']}: signature, manifest and {facts['files']} files hold ({facts['bytes']:,} bytes)\n"
    if ref.environment:
        text += f"{ref.environment}: {len(log)} entries, an unbroken chain\n"
    text += f"git: {len(ours)} tags of {release.name} agree\n" if ours else "git: no tags here to compare with\n"
    sys.stdout.write(as_json(facts) if arguments.json else text)
    return 0
