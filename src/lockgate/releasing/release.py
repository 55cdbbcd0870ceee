"""``lockgate release NAME@vX.Y.Z``: rebuild a tagged commit, make the build, sign it, bring it to the store, for ever.

The half that runs the model's code (:mod:`lockgate.releasing.prepare`) can be run apart, where nothing may be written:
``--prepare FOLDER`` there, ``--prepared FOLDER`` here. The same commit gives the same build, digest for digest, whoever
makes it: after a crash at any point the same command goes on where it was.
"""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from lockgate import git
from lockgate.dependencies.kept import Kept
from lockgate.dvc.rebuild import interrupted
from lockgate.dvc.stages import stoppable
from lockgate.errors import LockgateError, UsageError, nearest
from lockgate.files import progress
from lockgate.releasing import tags
from lockgate.releasing.build import make_build
from lockgate.releasing.candidate import Candidate
from lockgate.releasing.fetch import fetch
from lockgate.releasing.manifest import Manifest, make_manifest, release_name, tag_name
from lockgate.releasing.options import (
    STORE,
    StderrProgress,
    actor_of,
    registry_of,
    signer_of,
    verifier_of,
)
from lockgate.releasing.prepare import DEPENDENCIES, NotPrepared, Prepared, prepare, read_prepared
from lockgate.releasing.registry import Actor, Registry
from lockgate.releasing.signing import check_signer
from lockgate.temporary import temporary_folder


class NotOnDefaultBranch(LockgateError):  # noqa: N818 - named for what the user reads
    """The tagged commit was not merged."""

    def __init__(self, tag: str, commit: str, branch: str) -> None:
        """Name the tag, its commit and the branch."""
        super().__init__(
            f"the tag '{tag}' is at {commit[:12]}, which is not on {branch}",
            f"Only what was merged is released. Merge it (and push {branch.removeprefix('origin/')}), then tag that.",
        )


class UnknownModel(LockgateError):  # noqa: N818
    """The tag names another model than the repository has."""

    def __init__(self, tag: str, name: str, known: tuple[str, ...]) -> None:
        """Name the tag, its model and the repository's."""
        hint = nearest(name, known)
        meant = next(iter(get_close_matches(name, known, n=1, cutoff=0)), name)
        listed = " and ".join(f"'{one}'" for one in known)
        super().__init__(
            f"the tag '{tag}' is for a model '{name}', lockgate.yaml knows {listed}{'; ' + hint if hint else ''}",
            f"Delete the tag and make {tag_name(release_name(meant))}@{tag.partition('@')[2]}.",
        )


class NotAbove(LockgateError):  # noqa: N818
    """The version is not the highest."""

    def __init__(self, name: str, version: str, last: str) -> None:
        """Name the version and the last one."""
        super().__init__(f"{name}@{version} is not above {last}, the last release", "Tag a higher version.")


class TagMoved(LockgateError):  # noqa: N818
    """The version was released from another commit than the tag is at now."""

    def __init__(self, tag: str, now: str, released: str) -> None:
        """Name the tag and both commits."""
        super().__init__(
            f"the tag '{tag}' is at {now[:12]}, but {released[:12]} was released under it: the tag was moved",
            f"A release never changes. Move the tag back (`git tag -a -f '{tag}' {released[:12]}`); tag a new one.",
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the command: the build, and whether the release was made, was there, or would be made."""

    candidate: Candidate
    manifest: Manifest
    done: str
    store: str
    seconds: float


def wanted(root: Path, tag: str) -> Candidate:
    """Return what the tag asks to release.

    Raises :class:`~lockgate.releasing.tags.Malformed`, :class:`~lockgate.releasing.tags.NoSuchTag`,
    :class:`~lockgate.releasing.tags.Lightweight`, :class:`NotOnDefaultBranch`, :class:`UnknownModel`.
    """
    asked = tags.parse(tag)
    if asked.version is None:
        raise UsageError(f"the tag '{tag}' asks for a promotion", f"`lockgate promote --tag '{tag}'` does that.")
    if asked.cancels:
        raise UsageError(f"the tag '{tag}' asks for a withdrawal", f"`lockgate withdraw --tag '{tag}'` does that.")
    found = tags.annotated(root, tag)
    branch = git.default_branch(root)
    if git.merge_base(root, found.commit, branch) != found.commit:
        raise NotOnDefaultBranch(tag, found.commit, branch)
    candidate = Candidate(root, tag, asked.name, asked.version, found.commit)
    if candidate.models.find(asked.name) is None:
        raise UnknownModel(tag, asked.name, candidate.models.names)
    return candidate


def release(candidate: Candidate, arguments: argparse.Namespace) -> Outcome:
    """Make the release as the options say, or find that it is there.

    Raises :class:`TagMoved`, :class:`NotAbove`, :class:`~lockgate.dvc.rebuild.LockStale`,
    :class:`~lockgate.dvc.rebuild.RebuildDiffers`, :class:`~lockgate.releasing.build.GateFails`, and what the store may
    raise.
    """
    started = time.monotonic()
    signer = None if arguments.dry_run else signer_of(arguments)
    if signer is not None:
        check_signer(signer, verifier_of(arguments), "releases")  # before the long work begins
    registry = _registry(arguments, candidate.name)
    store = registry.store.url if registry else str(arguments.store or os.environ.get("LOCKGATE_STORE") or STORE)
    if registry is not None:
        last = last_release(registry, candidate)
        if last == candidate.version:
            build = registry.release(last)
            registry.verify_files(build, StderrProgress())
            if arguments.output is not None:
                fetch(registry, build, arguments.output.absolute())
            return Outcome(candidate, build.manifest, "there", store, time.monotonic() - started)
        candidate = _after(registry, candidate, last)
    versions = tags.versions_at(candidate.root, candidate.name, candidate.commit)
    if len(versions) > 1:
        raise tags.SeveralVersions(candidate.name, candidate.commit, versions)
    with _folder(arguments.output) as folder, _prepared(candidate, arguments) as prepared:
        facts = make_build(candidate, prepared, folder)
        manifest = make_manifest(folder, candidate.name, candidate.version, facts)
        if signer is None or registry is None:
            return Outcome(candidate, manifest, "dry", store, time.monotonic() - started)
        if prepared.kept is not None:  # before the release appears that says so
            Kept(registry.store, candidate.name).keep(prepared.kept, prepared.folder / DEPENDENCIES)
        actor = Actor.now(actor_of(arguments))
        build, made = registry.publish(
            folder, candidate.version, facts, signer=signer, actor=actor, progress=StderrProgress()
        )
    return Outcome(candidate, build.manifest, "made" if made else "there", store, time.monotonic() - started)


def last_release(registry: Registry, candidate: Candidate) -> str | None:
    """Return the last version that was released, or the candidate's own if it was; ``None`` before the first.

    Raises :class:`NotAbove`, and :class:`TagMoved` if the candidate's was released from another commit.
    """
    versions = registry.versions()
    if candidate.version in versions:
        released = str(registry.release(candidate.version).manifest.facts.get("commit"))
        if released != candidate.commit:
            raise TagMoved(candidate.tag, candidate.commit, released)
        return candidate.version
    if versions and not _above(candidate.version, versions[-1]):
        raise NotAbove(candidate.name, candidate.version, versions[-1])
    return versions[-1] if versions else None


def _after(registry: Registry, candidate: Candidate, last: str | None) -> Candidate:
    """Return the candidate that is compared with the last release."""
    if last is None:
        return candidate
    return replace(candidate, base=(last, str(registry.release(last).manifest.facts.get("commit"))))


def _above(version: str, other: str) -> bool:
    from semver import Version

    return Version.parse(version.removeprefix("v")) > Version.parse(other.removeprefix("v"))


def _registry(arguments: argparse.Namespace, name: str) -> Registry | None:
    """Return the store's registry; for a dry run, ``None`` where there is no store yet."""
    url = str(arguments.store or os.environ.get("LOCKGATE_STORE") or STORE)
    if arguments.dry_run and "://" not in url and not Path(url).is_dir():
        return None
    return registry_of(arguments, name, create=not arguments.dry_run)


@contextmanager
def _prepared(candidate: Candidate, arguments: argparse.Namespace) -> Iterator[Prepared]:
    if arguments.prepared is not None:
        if arguments.rebuild is not None:
            raise UsageError("--rebuild says what to run, --prepared that nothing is run", "Leave one of them out.")
        if arguments.dependencies is not None:
            raise UsageError("--dependencies says what stages run with, --prepared that none is run", "Leave one out.")
        prepared = read_prepared(candidate, arguments.prepared)
        if arguments.keep_dependencies and prepared.kept is None:
            raise NotPrepared(
                arguments.prepared, "holds no files of dependencies: --prepare had no --keep-dependencies"
            )
        yield prepared if arguments.keep_dependencies else replace(prepared, kept=None)
        return
    with temporary_folder("release") as place:
        with stoppable(interrupted()):
            prepared, _ = prepare(
                candidate,
                arguments.rebuild or "full",
                place,
                progress,
                dependencies=arguments.dependencies,
                keep=arguments.keep_dependencies,
            )
        yield prepared


@contextmanager
def _folder(output: Path | None) -> Iterator[Path]:
    """Give an empty folder for the build: the one that is asked for, or one that is gone afterwards."""
    if output is not None:
        empty(output)
        yield output.absolute()
        return
    with temporary_folder("release") as place:
        yield place


def empty(folder: Path) -> None:
    """Raise :class:`UsageError` unless the folder is empty or absent."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", "Name another folder, or remove this one.")
    folder.mkdir(parents=True, exist_ok=True)
