"""Bringing the files that a lock names into a folder, so that its dependencies can be installed without an index.

uv knows where each file lies; this fetches those that the lock names by their hash and that the machine's Python would
install. Where a package comes as source only, the packages that it is built with come along, out of the lock that pins
them. At the end an environment is made from the folder alone.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import tarfile
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lockgate.dependencies.commit import Locked
from lockgate.dependencies.install import Installed, install_without_index
from lockgate.dependencies.lock import Lock, Pin, requirement_name
from lockgate.dependencies.uv import FileDiffers, InstallFailed, run_uv
from lockgate.temporary import temporary_folder

_SECONDS = 60.0  # that a server may be silent


@dataclass(frozen=True, slots=True)
class _File:
    """A file that an index offers: its name, its address (or path), its SHA-256."""

    name: str
    address: str
    sha256: str


def collect(locked: Locked, installed: Installed, folder: Path, tell: Callable[[str], None]) -> dict[str, str]:
    """Fill ``folder`` with the files from which ``locked`` can be installed; return file name → SHA-256.

    Raises :class:`~lockgate.dependencies.uv.InstallFailed` where a file cannot be fetched or the files do not suffice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tags = _tags(installed)
    place = locked.lock.place
    pins = _applying(locked.lock, installed)
    tell(f"Collecting the files of {len(pins)} packages of {place}")
    found = _fetch(_chosen(place, pins, installed, tags), folder, place)
    sources = [folder / name for name in found if not name.endswith(".whl")]
    if sources:
        build = _build_pins(locked, sources)
        found |= _fetch(_chosen(place, build, installed, tags), folder, place)
    install_without_index(locked.lock, locked.told.python, folder, build=locked.build)
    return dict(sorted(found.items()))


def _applying(lock: Lock, installed: Installed) -> list[Pin]:
    """Return the pins whose marker holds for the installed interpreter: those that are there."""
    there = {
        path.name.partition("-")[0].lower() for path in installed.folder.glob("lib/python*/site-packages/*.dist-info")
    }
    return [
        pin for pin in lock.pins if re.sub(r"[-.]", "_", pin.name) in {re.sub(r"[-.]", "_", name) for name in there}
    ]


def _chosen(place: str, pins: Iterable[Pin], installed: Installed, tags: Mapping[str, int]) -> list[_File]:
    """Return one file for each pin: the wheel that fits best, else the source."""
    wanted = list(pins)
    offered = _offered(place, wanted, installed)
    chosen = []
    for pin in wanted:
        files = [file for file in offered if file.sha256 in pin.hashes]
        ranked = sorted((rank, file.name, file) for file in files if (rank := _rank(file.name, tags)) is not None)
        if not ranked:
            raise InstallFailed(
                place,
                f"the index has no file of {pin.name}=={pin.version} that the lock names and this machine can use",
                "Set the index that has it (UV_DEFAULT_INDEX), or make the lock for this machine.",
            )
        chosen.append(ranked[0][2])
    return chosen


def _offered(place: str, pins: Iterable[Pin], installed: Installed) -> list[_File]:
    with temporary_folder("dependencies") as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in pins), encoding="utf-8")
        text = run_uv(
            ["pip", "compile", "--quiet", "--format", "pylock.toml", "--no-deps", "--no-header", "--python",
             installed.executable, requirements],
            place,
            folder=scratch,
        )  # fmt: skip
    found = []
    for package in tomllib.loads(text).get("packages", []):
        for file in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]:
            address = str(file.get("url") or file.get("path"))
            name = file.get("name") or urllib.parse.unquote(PurePosixPath(urllib.parse.urlsplit(address).path).name)
            found.append(_File(str(name), address, str(file.get("hashes", {}).get("sha256", ""))))
    return found


def _tags(installed: Installed) -> dict[str, int]:
    """Return the tags of the wheels that the environment's interpreter can install, the best first."""
    import packaging

    code = (
        "import json, sys; sys.path.append(sys.argv[1])\n"
        "from packaging.tags import sys_tags; print(json.dumps([str(tag) for tag in sys_tags()]))"
    )
    home = str(Path(packaging.__file__).parents[1])
    done = subprocess.run(
        [installed.executable, "-I", "-S", "-c", code, home], capture_output=True, text=True, check=True
    )
    return {tag: rank for rank, tag in enumerate(json.loads(done.stdout))}


def _rank(name: str, tags: Mapping[str, int]) -> int | None:
    """Return how well a file fits (0 is best); ``None`` if it cannot be installed."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    if not name.endswith(".whl"):
        return len(tags) if name.endswith((".tar.gz", ".zip")) else None
    try:
        own = parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return None
    return min((tags[str(tag)] for tag in own if str(tag) in tags), default=None)


def _fetch(files: Iterable[_File], folder: Path, place: str) -> dict[str, str]:
    found = {}
    for file in files:
        content = _content(file, place)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise FileDiffers(
                place,
                f"the file {file.name} is not the one that the lock names by its hash",
                "The index or a mirror gave another file. Find out why, and run the same command again.",
            )
        (folder / file.name).write_bytes(content)
        found[file.name] = file.sha256
    return found


def _content(file: _File, place: str) -> bytes:
    parts = urllib.parse.urlsplit(file.address)
    if parts.scheme in ("", "file"):
        return Path(urllib.parse.unquote(parts.path)).read_bytes()
    try:
        with urllib.request.urlopen(_request(parts), timeout=_SECONDS) as answer:  # noqa: S310 - http, as uv says
            return bytes(answer.read())
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise InstallFailed(
            place, f"{file.name} could not be fetched from {parts.hostname} ({reason})", "Run the same command again."
        ) from None


def _request(parts: urllib.parse.SplitResult) -> urllib.request.Request:
    """Return the request for an address, with the user and password of the index on the same host, if one was set."""
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host)))  # noqa: S310
    credentials = next((user for user in [_user(parts), *_index_users(host)] if user), None)
    if credentials:
        request.add_header("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")
    return request


def _index_users(host: str) -> Iterable[str]:
    names = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "PIP_INDEX_URL")
    for address in re.split(r"[\s,]+", " ".join(os.environ.get(name, "") for name in names)):
        parts = urllib.parse.urlsplit(re.sub(r"^[A-Za-z0-9_.-]+=", "", address))
        if parts.netloc.rpartition("@")[2] == host:
            yield _user(parts)


def _user(parts: urllib.parse.SplitResult) -> str:
    user = parts.netloc.rpartition("@")[0]
    return urllib.parse.unquote(user)


def _build_pins(locked: Locked, sources: Iterable[Path]) -> list[Pin]:
    """Return the pins that the source distributions are built with: what they ask for, and what that needs."""
    known = {pin.name: pin for lock in (locked.lock, locked.build) if lock is not None for pin in lock.pins}
    wanted = {name for path in sources for name in _build_requirements(path)}
    while True:
        more = {pin.name for pin in known.values() if wanted.intersection(pin.via)} - wanted
        if not more:
            return [pin for name, pin in sorted(known.items()) if name in wanted]
        wanted |= more


def _build_requirements(source: Path) -> list[str]:
    """Return the names of what a source distribution says that it is built with."""
    text = ""
    with suppress(KeyError, OSError, tarfile.TarError, zipfile.BadZipFile):
        if source.name.endswith(".zip"):
            with zipfile.ZipFile(source) as archive:
                name = next(n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/pyproject.toml"))
                text = archive.read(name).decode("utf-8", "replace")
        else:
            with tarfile.open(source) as packed:
                member = next(
                    (m for m in packed if m.name.count("/") == 1 and m.name.endswith("/pyproject.toml")), None
                )
                content = packed.extractfile(member) if member is not None else None
                text = content.read().decode("utf-8", "replace") if content is not None else ""
    told: Any = {}
    with suppress(tomllib.TOMLDecodeError):
        told = tomllib.loads(text).get("build-system", {})
    requires = told.get("requires", ["setuptools"]) if isinstance(told, dict) else ["setuptools"]
    return [requirement_name(str(one)) for one in requires]
