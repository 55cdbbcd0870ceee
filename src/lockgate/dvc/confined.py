"""Starts a command in :mod:`lockgate.dvc.sandbox`: what it sees of the machine, and how it was run in the end.

Two kinds of command come through here: those of stages (:mod:`lockgate.dvc.stages`), and Lockgate's own ones that read
files which somebody else made (:func:`confined`).
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lockgate.result import Isolation
from lockgate.temporary import temporary_folder

LAUNCH = "import sys; sys.path.append(sys.argv[1]); import sandbox; sandbox.main(sys.argv[2:])"

LONGEST_LINE = 1 << 20
"""Bytes of one line that a command may print which is listened to."""


@dataclass(frozen=True, slots=True)
class HowRun:
    """How a command was run; ``reason`` is why it was not isolated, ``contacts`` what addresses it tried to reach."""

    isolation: Isolation
    reason: str = ""
    contacts: tuple[str, ...] = ()

    @classmethod
    def heard(cls, stream: IO[str]) -> "HowRun":
        """Return what the sandbox reported."""
        facts = [line.rstrip("\n").partition(" ")[::2] for line in stream]
        contacts = tuple(value for fact, value in facts if fact == "contact")
        how, reason = next(((fact, value) for fact, value in facts if fact != "contact"), ("none", "it did not start"))
        return cls("namespaces" if how == "namespaces" else "none", reason, contacts)


@dataclass(frozen=True, slots=True)
class Done:
    """What a confined command came to."""

    code: int
    output: bytes
    errors: bytes
    how: HowRun


def launch(places: Sequence[str], scratch: Path, report: int, command: Sequence[str]) -> list[str]:
    """Return the command that runs ``command`` in a sandbox. ``places`` are the sandbox's options."""
    start = [sys.executable, "-I", "-S", "-c", LAUNCH, str(Path(__file__).parent)]
    return [*start, *places, f"scratch={scratch}", f"report={report}", "--", *command]


def confined(
    command: Sequence[str], variables: Mapping[str, str], *, repository: Path, read: Sequence[Path], seconds: float
) -> Done:
    """Run a command of Lockgate's own on files that somebody else made; it has these variables and no other.

    It can read the repository and ``read``, write to temporary folders of its own, and reach no network: where the
    machine refuses namespaces, it cannot open a socket. Raises ``TimeoutError`` after that many ``seconds``.
    """
    hide = {os.path.realpath(path) for path in homes()}
    named = [Path(value) for value in variables.values() if Path(value).is_absolute() and Path(value).exists()]
    asked: list[str | Path] = [repository, *git_folders(repository), *python_folders(), *read, *named]
    seen = {os.path.realpath(path) for path in asked}
    places = [f"read={path}" for path in sorted(seen) if not contains(path, hide)]
    places += [*(f"hide={path}" for path in sorted(hide)), "network=no", "sockets=no"]
    with temporary_folder("confined") as scratch:
        (scratch / "tmp" / "home").mkdir(parents=True)
        heard, report = os.pipe()
        try:
            done = subprocess.run(
                launch(places, scratch, report, command),
                cwd=repository,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=seconds,
                pass_fds=(report,),
            )
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error
        finally:
            os.close(report)
            with os.fdopen(heard) as stream:
                how = HowRun.heard(stream)
    return Done(done.returncode, done.stdout, done.stderr, how)


def listened_to(
    command: Sequence[str],
    variables: Mapping[str, str],
    hear: Callable[[bytes], float],
    *,
    repository: Path,
    read: Path,
    seconds: float,
) -> int:
    """Run a command that runs somebody's code, as :func:`confined` does but away from the repository; return its exit
    code.

    It can read the folder ``read``, which it starts in, and what is not hidden of the system; neither the repository
    nor the homes of people. ``hear`` gets each line that it prints as it comes, and returns within how many seconds the
    next one has to; ``seconds`` is what the first one may take. Raises ``TimeoutError`` where one takes longer.
    """
    hide = {os.path.realpath(path) for path in (*homes(), str(repository))}
    seen = {os.path.realpath(path) for path in [*python_folders(), str(read)]}
    places = [f"read={path}" for path in sorted(seen) if not contains(path, hide)]
    places += [*(f"hide={path}" for path in sorted(hide)), "network=no", "sockets=no"]
    with temporary_folder("confined") as scratch:
        (scratch / "tmp" / "home").mkdir(parents=True)
        heard, report = os.pipe()
        with (
            os.fdopen(heard),
            os.fdopen(report, "wb"),
            subprocess.Popen(
                launch(places, scratch, report, command),
                cwd=read,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(report,),
                start_new_session=True,
            ) as process,
        ):
            try:
                _listen(process, hear, seconds)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # and, in its namespace, all that it started
    return process.returncode


def _listen(process: "subprocess.Popen[bytes]", hear: Callable[[bytes], float], seconds: float) -> None:
    """Hear every line until the process has ended. Raises ``TimeoutError``."""
    assert process.stdout is not None  # noqa: S101 - asked for
    deadline, pending = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                deadline = time.monotonic() + hear(line)
            if len(pending) > LONGEST_LINE:
                raise TimeoutError
    process.wait(max(0.1, deadline - time.monotonic()))


def homes() -> list[str]:
    """Return the folders in which people keep their credentials."""
    import pwd

    own = [os.environ.get("HOME", ""), *(user.pw_dir for user in pwd.getpwall() if user.pw_uid == os.getuid())]
    return [path for path in ("/home", "/root", *own) if Path(path).is_absolute() and os.path.realpath(path) != "/"]


def contains(folder: str, places: Iterable[str]) -> bool:
    """Say whether one of ``places`` is the folder, or lies in it."""
    real = os.path.realpath(folder)
    return any(f"{place}/".startswith(f"{real.rstrip('/')}/") for place in places)


def git_folders(checkout: Path) -> list[str]:
    """Return what may be read of the git repository that the checkout is of: in it, and where it points to."""
    checkout = checkout.resolve()
    top = next((folder for folder in (checkout, *checkout.parents) if (folder / ".git").exists()), checkout)
    git = top / ".git"
    found = [git] if top == checkout else [top, git]
    if git.is_file():  # of a linked work tree
        git = top / git.read_text().partition(":")[2].strip()
        common = git / "commondir"
        git = git / common.read_text().strip() if common.exists() else git
        found.append(git)
    with suppress(OSError):
        found += [Path(line) for line in (git / "objects/info/alternates").read_text().splitlines() if line]
    return [str(path) for path in found if path.exists()]


def python_folders(dependencies: Path | None = None) -> list[str]:
    """Return the folders of the Python environment ``dependencies``, and of the one that lockgate is in."""
    found = [sys.prefix, sys.base_prefix, str(Path(__file__).parents[1])]
    if dependencies is not None:
        found += [str(dependencies), str((dependencies / "bin/python").resolve().parents[1])]
    return [path for path in found if os.path.realpath(path) not in ("/", "/usr")]
