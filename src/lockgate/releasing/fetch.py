"""``lockgate fetch REF FOLDER``: bring a release to a folder, every byte verified, all of it or nothing."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockgate.errors import LockgateError, NotAskedError
from lockgate.files import locked
from lockgate.releasing.manifest import MANIFEST, SIGNATURE, Manifest, sha256
from lockgate.releasing.registry import Build, Progress, Refused, Registry, silent


class FolderTaken(LockgateError):  # noqa: N818 - named for what the user reads
    """The folder holds something that is not this release."""

    def __init__(self, folder: Path, finding: str) -> None:
        """Name the folder and what is in it."""
        super().__init__(f"{folder} {finding}", "Nothing in it was touched. Name another folder, or remove this one.")


def fetch(registry: Registry, build: Build, folder: Path, progress: Progress = silent) -> bool:
    """Make ``folder`` hold the build's files, its manifest and its signature; return whether there was need to.

    Everything is written beside the folder, verified while it streams, and takes the folder's name at the end. Raises
    :class:`FolderTaken`; :class:`~lockgate.releasing.registry.Refused`; :class:`LockgateError` if the disk refuses.
    """
    if folder.is_dir() and any(folder.iterdir()):
        check_folder(folder, build.manifest)
        return False
    registry.verify_listing(build.manifest)
    try:
        with _beside(folder) as part:
            _download(registry, build, part, progress)
            part.rename(folder)
    except OSError as error:
        raise NotAskedError(f"{folder} could not be written: {error.strerror}", "Nothing was left behind.") from error
    return True


def check_folder(folder: Path, manifest: Manifest) -> None:
    """Raise :class:`FolderTaken` unless the folder's files are those of the manifest, byte for byte."""
    expected = manifest.digests()
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted(found.keys() ^ (expected.keys() | {SIGNATURE})):
        raise FolderTaken(folder, f"{'has' if name in found else 'lacks'} {name}: it is not this release")
    for name, digest in expected.items():
        with found[name].open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != digest:
                raise FolderTaken(folder, f"has another {name}: it is not this release, or was altered")


def _download(registry: Registry, build: Build, part: Path, progress: Progress) -> None:
    manifest = build.manifest
    done, total = 0, sum(file.size for file in manifest.files)
    for file in manifest.files:
        target = part / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            for chunk in registry.stream(manifest, file):
                out.write(chunk)
                done += len(chunk)
                progress("verify", done, total)
            out.flush()
            os.fsync(out.fileno())
    root = f"{registry.name}/builds/{manifest.digest}"
    signature = registry.store.read(f"{root}/{SIGNATURE}")
    if sha256(signature) != build.release.signature:
        raise Refused(registry.store.place(f"{root}/{SIGNATURE}"), "was altered while it was fetched")
    (part / MANIFEST).write_bytes(manifest.to_bytes())
    (part / SIGNATURE).write_bytes(signature)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside ``folder``, on the same disk; whatever is left of it at the end is removed.

    One that a killed run left behind is emptied; one that another run is using is refused.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.part")
    if part.is_symlink():
        raise LockgateError(
            f"{part} is a symbolic link", "Remove it: a download in progress is kept in a folder there."
        )
    part.mkdir(exist_ok=True)
    busy = LockgateError(f"{folder} is being fetched by another run", "Wait for it, then try again.")
    with locked(part / "lock", busy):
        content = part / "content"
        if content.exists():
            shutil.rmtree(content)
        content.mkdir()
        try:
            yield content
        finally:
            shutil.rmtree(part, ignore_errors=True)
