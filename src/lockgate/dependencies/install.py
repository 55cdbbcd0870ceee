"""Making a Python environment out of a lock: exactly the packages it pins, kept under the lock's digest.

::

    CACHE/dependencies/<digest>/          a virtual environment; its dependencies.json is the proof that it is whole
    CACHE/dependencies/.<digest>.part/    one that is being made; renamed when it is done
    CACHE/dependencies/<digest>.lock      held by whoever makes it

The digest is of what is installed, for which Python and on which kind of machine. An environment is made beside its
place and renamed, so that one that was not finished never has the name; and it is compared with the list of its files
each time it is used, so that one which was changed since is made again. Nothing here resolves anything: what the lock
does not pin is not installed, and a lock's own word on where packages come from does not count.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lockgate.dependencies.lock import Lock
from lockgate.dependencies.uv import InstallFailed, run_uv
from lockgate.errors import LockgateError
from lockgate.files import locked
from lockgate.temporary import temporary_folder

SCHEMA: Final = "lockgate.dependencies/1"
PROOF: Final = "dependencies.json"
FOLDER: Final = "dependencies"


@dataclass(frozen=True, slots=True)
class Installed:
    """A Python environment in ``folder`` that holds what a lock pins, for the full version ``python``."""

    folder: Path
    python: str

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self.folder / "bin"

    @property
    def executable(self) -> Path:
        """Its Python interpreter."""
        return self.bin / "python"


@dataclass(frozen=True, slots=True)
class Wheels:
    """Files of packages in a folder, to be installed from before any index is asked; ``complete`` if none is needed."""

    folder: Path
    complete: bool


def default_cache() -> Path:
    """Return the folder in which environments are kept: below ``$XDG_CACHE_HOME``, else ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lockgate"


def install(
    lock: Lock,
    python: str,
    *,
    build: Lock | None = None,
    cache: Path | None = None,
    wheels: Callable[[Path], Wheels | None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Installed:
    """Return an environment of Python ``python`` (such as ``3.11``) that holds what ``lock`` pins, made if need be.

    ``build`` pins what source distributions are built with, beside the lock itself. ``wheels`` is asked, once there is
    something to install, to put files that are to be taken first into a folder. Raises
    :class:`~lockgate.dependencies.lock.LockRefused`, :class:`~lockgate.dependencies.uv.UvMissing`,
    :class:`~lockgate.dependencies.uv.InstallFailed`.
    """
    requirements = lock.requirements()
    constraints = (build.requirements() if build else "") + requirements
    root = (cache or default_cache()) / FOLDER
    digest = _digest(requirements, python)
    folder = root / digest
    if (found := _whole(folder)) is not None:
        return found
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f"{digest}.lock"):
            if (found := _whole(folder)) is not None:  # another process made it meanwhile
                return found
            _remove_unfinished(root)
            part, files = root / f".{digest}.part", root / f".{digest}.files.part"
            tell(f"Installing the dependencies of {lock.place} ({len(lock.pins)} packages) for Python {python}")
            try:
                _remove(files)
                files.mkdir()
                _make(part, lock.place, python, requirements, constraints, wheels(files))
                _remove(folder)
                part.rename(folder)
            finally:
                _remove(part)
                _remove(files)
    except OSError as error:
        raise InstallFailed(
            lock.place,
            f"{root} could not be written ({error.strerror or error})",
            "Make room or give rights there, or name another place with XDG_CACHE_HOME.",
        ) from error
    found = _whole(folder)
    if found is None:
        raise InstallFailed(lock.place, f"{folder} was changed while it was made", "Run the same command again.")
    return found


def _digest(requirements: str, python: str) -> str:
    told = {
        "schema": SCHEMA,
        "requirements": requirements,
        "python": python,
        "machine": [sysconfig.get_platform(), *platform.libc_ver()],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _make(part: Path, place: str, python: str, requirements: str, constraints: str, wheels: Wheels | None) -> None:
    _begin(part, place, python, requirements, constraints)
    if wheels is None or not wheels.complete:
        _sync(part, place, ["--find-links", wheels.folder] if wheels is not None else [])
    else:
        try:
            _sync(part, place, ["--find-links", wheels.folder, "--no-index", "--offline"])
        except InstallFailed:  # what is kept may be for another kind of machine
            _sync(part, place, ["--find-links", wheels.folder])
    version = _version(part)
    if version is None:
        raise InstallFailed(place, f"the Python of {part} does not start", "Run the same command again.")
    proof = {"schema": SCHEMA, "python": version, "files": _listing(part)}
    (part / PROOF).write_text(json.dumps(proof), encoding="utf-8")


def _begin(part: Path, place: str, python: str, requirements: str, constraints: str) -> None:
    _remove(part)
    run_uv(
        ["venv", "--quiet", "--no-project", "--relocatable", "--python", _interpreter(python), part],
        place,
        folder=part.parent,
    )
    (part / "requirements.txt").write_text(requirements, encoding="utf-8")
    (part / "build-constraints.txt").write_text(constraints, encoding="utf-8")


def _sync(part: Path, place: str, sources: Sequence[str | Path]) -> None:
    run_uv(
        # Copied, not linked: a stage that writes to a package must not reach uv's cache and so every other environment.
        # Compiled: Python would do it in every process as long as the folder cannot be written.
        ["pip", "sync", "--quiet", "--python", part / "bin" / "python", "--require-hashes", "--link-mode", "copy",
         "--compile-bytecode", "--build-constraints", part / "build-constraints.txt", "--require-build-hashes",
         *sources, part / "requirements.txt"],
        place,
        folder=part,
    )  # fmt: skip


def install_without_index(lock: Lock, python: str, files: Path, *, build: Lock | None = None) -> None:
    """Install ``lock`` from the files in a folder alone, and remove it again: it shows that they suffice.

    Raises :class:`~lockgate.dependencies.uv.InstallFailed`.
    """
    with temporary_folder("dependencies") as scratch:
        part = Path(scratch, "environment")
        _begin(
            part, lock.place, python, lock.requirements(), (build.requirements() if build else "") + lock.requirements()
        )
        _sync(part, lock.place, ["--find-links", files, "--no-index", "--offline", "--no-cache"])


def _interpreter(python: str) -> str:
    """Return what uv is to make the environment with: lockgate's own Python if it is such a one."""
    own = platform.python_version()
    base = str(getattr(sys, "_base_executable", "") or sys.executable)
    return base if f"{own}.".startswith(f"{python}.") else python


def _whole(folder: Path) -> Installed | None:
    """Return the environment in ``folder`` if it is there and every file of it is as it was made."""
    try:
        proof: Any = json.loads((folder / PROOF).read_bytes())
        same = proof["schema"] == SCHEMA and proof["files"] == _listing(folder) and proof["python"] == _version(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not same:
        return None
    with suppress(OSError):
        os.utime(folder)  # when it was used last
    return Installed(folder, str(proof["python"]))


def _version(folder: Path) -> str | None:
    """Return the full version of an environment's Python; ``None`` if it does not start (its base was removed)."""
    try:
        done = subprocess.run(
            [folder / "bin" / "python", "-I", "-S", "-c", "import platform; print(platform.python_version())"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _listing(folder: Path) -> str:
    """Return a digest of the names, sizes and times of all files below ``folder``, the proof itself left out."""
    digest = hashlib.sha256()
    for line in sorted(_entries(str(folder), len(str(folder)) + 1)):
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def _entries(folder: str, skip: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path, skip)
                continue
            name = entry.path[skip:]
            if name != PROOF:
                found = entry.stat(follow_symlinks=False)
                yield f"{name} {found.st_size} {found.st_mtime_ns} {found.st_mode:o}"


def _remove_unfinished(root: Path) -> None:
    """Remove what killed runs left behind: half-made environments whose lock nobody holds."""
    for part in root.glob(".*.part"):
        digest = part.name[1:].partition(".")[0]
        with suppress(LockgateError), locked(root / f"{digest}.lock", LockgateError("another process is making it")):
            _remove(part)


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
