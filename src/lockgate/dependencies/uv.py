"""uv, the installer: where it is, how it is called, and what its failures mean in one sentence.

It is given an environment of its own: where packages come from (an index, a proxy, certificates) is taken from the
user's, everything that changes *what* is installed is not, and no other variable is passed on, so that the build of a
source distribution sees no key of this process.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lockgate.errors import NO, NotAskedError

_PASSED = re.compile(
    r"PATH|HOME|TMPDIR|TMP|TEMP|LANG|LC_\w+|TZ|USERPROFILE|SYSTEMROOT|NETRC|LD_LIBRARY_PATH"
    r"|XDG_(CACHE|DATA|CONFIG|BIN)_HOME|SSL_CERT_(FILE|DIR)|SSL_CLIENT_CERT|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|(HTTP|HTTPS|ALL|NO)_PROXY|(http|https|all|no)_proxy|SOURCE_DATE_EPOCH"
    r"|UV_(DEFAULT_INDEX|INDEX|INDEX_\w+|EXTRA_INDEX_URL|FIND_LINKS|OFFLINE|INSECURE_HOST|KEYRING_PROVIDER)"
    r"|UV_(HTTP_\w+|REQUEST_TIMEOUT|SYSTEM_CERTS|NATIVE_TLS|CONCURRENT_\w+|CACHE_DIR|NO_CACHE)"
    r"|UV_(PYTHON_INSTALL_\w+|PYTHON_DOWNLOADS|PYTHON_DOWNLOADS_JSON_URL|MANAGED_PYTHON|NO_MANAGED_PYTHON)"
    r"|UV_PYTHON_PREFERENCE"
)


class UvMissing(NotAskedError):  # noqa: N818 - named for what the user reads
    """uv is not on this machine."""

    def __init__(self) -> None:
        """Say what it is needed for, and the two ways on."""
        super().__init__(
            "uv, which installs the locked dependencies, is not on this machine: it is neither on PATH nor in "
            "lockgate's own Python",
            "Install it (`pip install uv`), or use the packages that are installed here: --dependencies current.",
        )


class InstallFailed(NotAskedError):  # noqa: N818
    """The locked dependencies could not be installed."""

    def __init__(self, place: str, finding: str, advice: str) -> None:
        """Name the lock, what went wrong and the way on."""
        super().__init__(f"the dependencies of {place} could not be installed: {finding}", advice)


class FileDiffers(InstallFailed):
    """A file of a package is not the one that the lock names by its hash."""

    exit_code = NO


class UvError(Exception):
    """What uv said, for ``--verbose``; addresses are shortened to their hosts."""


def find_uv() -> list[str] | None:
    """Return the command that runs uv, ``None`` if there is none.

    It is looked for on PATH, then as a package of this Python, then where ``make`` puts it beside this Python's
    environment.
    """
    on_path = shutil.which("uv")
    if on_path:
        return [on_path]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    own = Path(sys.prefix).parent / ".cache" / "uv" / "bin" / "uv"
    return [str(own)] if os.access(own, os.X_OK) else None


def run_uv(arguments: Sequence[str | Path], place: str, *, folder: Path) -> str:
    """Run uv with ``arguments`` in ``folder`` and return its output. ``place`` names the lock in messages.

    Raises :class:`UvMissing`, :class:`InstallFailed`.
    """
    command = find_uv()
    if command is None:
        raise UvMissing
    done = subprocess.run(
        [*command, *map(str, arguments), "--no-config", "--no-progress", "--color", "never"],
        cwd=folder,
        env=_environment(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        finding, advice = explain(done.stderr)
        said = UvError(re.sub(r"://(?:[^/@\s]*@)?([^/\s]+)\S*", r"://\1/…", done.stderr.strip()))
        raise (FileDiffers if "Hash mismatch" in done.stderr else InstallFailed)(place, finding, advice) from said
    return done.stdout


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    passed = {name: value for name, value in own.items() if _PASSED.fullmatch(name)}
    if "UV_DEFAULT_INDEX" not in passed and "UV_INDEX_URL" not in passed and own.get("PIP_INDEX_URL"):
        passed["UV_DEFAULT_INDEX"] = own["PIP_INDEX_URL"]  # a mirror that only pip was told of
    return {**passed, "UV_HTTP_TIMEOUT": own.get("UV_HTTP_TIMEOUT", "30")}


# what uv says → what that means, and the way on; the first that fits counts
_MEANINGS = (
    (
        r"unexpected argument '(?P<what>[^']+)'",
        "the uv that is found first is too old: it does not know {what}",
        "Upgrade it (`pip install --upgrade uv`).",
    ),
    (
        r"Hash mismatch for `(?P<what>[^`]+)`",
        "the file of {what} is not the one that the lock names by its hash",
        "The index, a mirror or a cache gave another file. Find out why; `uv cache clean` empties uv's own cache.",
    ),
    (
        r"no trusted hash was provided for: `(?P<what>[^`]+)`",
        "a package comes as source, and the lock does not pin {what}, which it is built with",
        "Name the lock that pins it as `dependencies: {{build: LOCK}}` in lockgate.yaml.",
    ),
    (
        r"(?P<what>[\w.=-]+) has no wheels with a matching (?P<tag>platform|Python \w+) ",
        "{what} has no wheel for this machine ({tag})",
        "The lock was made for another platform or Python. Run this on such a machine, or make the lock for this one.",
    ),
    (
        r"(?P<what>[\w.=-]+) has no usable wheels",
        "{what} has no wheel that this machine can use",
        "The lock was made for another platform or Python. Run this on such a machine, or make the lock for this one.",
    ),
    (
        r"[Nn]o interpreter found for (?P<what>.+?)(?: in .*)?$",
        "{what} is not on this machine",
        "Install it, or let uv download it (unset UV_PYTHON_DOWNLOADS and --no-managed-python).",
    ),
    (
        r"No space left on device|Disk quota exceeded|os error (?:28|122)\b",
        "the disk is full",
        "Make room where the cache lies ($XDG_CACHE_HOME, else ~/.cache); nothing half-made is used.",
    ),
    (
        r"(?P<what>[\w.=-]+) was not found in (?:the package registry|the provided package locations|the cache)",
        "the index has no package {what}",
        "Set the index that has it (UV_DEFAULT_INDEX), or use a release that was made with --keep-dependencies.",
    ),
    (
        r"[Tt]here is no version of (?P<what>[\w.=-]+)",
        "the index no longer has {what}",
        "Set the index that has it (UV_DEFAULT_INDEX), or use a release that was made with --keep-dependencies.",
    ),
    (
        r"[Nn]etwork connectivity is disabled|--offline|network was disabled",
        "a package is neither kept nor in uv's cache, and the network is switched off for uv",
        "Unset UV_OFFLINE.",
    ),
    (
        r"[Ff]ailed to fetch|error sending request|[Cc]onnection refused|dns error|timed out|HTTP status",
        "the index does not answer",
        "Try again, or name a mirror with UV_DEFAULT_INDEX=URL.",
    ),
)


def explain(said: str) -> tuple[str, str]:
    """Return what uv's words mean, and what to do about it. Addresses, which may hold passwords, are left out."""
    text = re.sub(r"\s+", " ", said)
    for pattern, finding, advice in _MEANINGS:
        found = re.search(pattern, said) or re.search(pattern, text)
        if found:
            return finding.format(**found.groupdict()), advice.format()
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("warning:")]
    first = re.sub(r"https?://\S+", "(an address)", lines[0].removeprefix("error: ")) if lines else "uv said nothing"
    return f"uv said: {first}", "Run `uv pip sync --require-hashes LOCK` in an empty environment to see more."
