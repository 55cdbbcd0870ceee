"""``dvc repro --pull --allow-missing``, watched: what each stage did, how long it took and what was pulled for it.

DVC runs in a process group of its own that ends with us, however we end. It tells us of its stages through a pipe that
the commands of the stages do not have, so that nothing they print can pass for DVC's word.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from lockgate.dvc import Cache, words
from lockgate.pipeline import Recorded

GRACE = 5.0
"""Seconds an interrupted stage has to end by itself before it is killed."""

Event = Literal["began", "ended", "failed"]
Status = Literal["ran", "restored", "untouched"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a reproduction. ``status`` and ``seconds`` are of an ended stage, ``pulled`` in bytes; ``error`` is
    what DVC said of a failed one. ``stage`` is empty for what belongs to no stage."""

    event: Event
    stage: str
    status: Status | None = None
    seconds: float = 0.0
    pulled: int = 0
    error: str = ""


def reproduce(
    root: Path,
    *,
    everywhere: bool,
    on_progress: Callable[[Progress], None],
    on_output: Callable[[str], None],
) -> int:
    """Do what ``dvc repro --pull --allow-missing`` does and return its exit code; 0 is success.

    One thing is done better: a stage that declares an output or dependency which its lock entry does not know runs
    (bare DVC passes over it while the file does not exist). ``everywhere`` includes the ``dvc.yaml`` files of
    subfolders. ``on_progress`` is told of each stage, ``on_output`` gets each line that DVC or a stage prints. Both are
    called in the thread of the caller. The process group dies with this process, even if that is killed, and is
    interrupted, then killed, when this function is left by an exception such as ``KeyboardInterrupt``.
    """
    events, said = os.pipe()
    lifeline, alive = os.pipe()
    source = str(Path(__file__).resolve().parent.parent)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom lockgate.reproduction import child; child(*sys.argv[2:])"
    )
    command = [sys.executable, "-P", "-c", program, source, str(said), str(lifeline), "all" if everywhere else "root"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(said, lifeline),
        start_new_session=True,
    )
    os.close(said)
    os.close(lifeline)
    try:
        with os.fdopen(events, "rb", buffering=0) as stream:
            _listen(process, stream, on_progress, on_output)
        return process.wait()
    finally:
        _end_group(process)
        os.close(alive)


def _listen(
    process: "subprocess.Popen[bytes]",
    events: IO[bytes],
    on_progress: Callable[[Progress], None],
    on_output: Callable[[str], None],
) -> None:
    """Pass on what the child says until it ends. Events go first: what a stage prints comes after its beginning."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    heard, printed = _Lines(events), _Lines(process.stdout)
    with selectors.DefaultSelector() as selector:
        selector.register(events, selectors.EVENT_READ)
        selector.register(process.stdout, selectors.EVENT_READ)
        while not heard.ended:
            ready = {key.fileobj for key, _ in selector.select()}
            for line in heard.read() if events in ready else ():
                on_progress(Progress(**json.loads(line)))
            for line in printed.read() if process.stdout in ready else ():
                on_output(line)
            if printed.ended and process.stdout in selector.get_map():
                selector.unregister(process.stdout)
    process.wait()
    _end_group(process)  # what a stage left behind may hold the output open
    while not printed.ended:
        for line in printed.read():
            on_output(line)


class _Lines:
    """A stream's bytes as lines of text, as far as they have come."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.rest, self.ended = stream, b"", False

    def read(self) -> list[str]:
        """Wait for some bytes and return the lines that are complete (at the end: what is left)."""
        chunk = os.read(self.stream.fileno(), 1 << 16)
        self.ended = not chunk
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        if self.ended and self.rest:
            lines, self.rest = [*lines, self.rest], b""
        return [line.decode(errors="replace") for line in lines]


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End every process of the child's group: ask first, and after :data:`GRACE` seconds do not ask."""
    with suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def child(events: str, lifeline: str, scope: str) -> None:
    """Reproduce with DVC's Python API in this process, the leader of its group; arguments are file descriptors."""
    for descriptor in (int(events), int(lifeline)):
        os.set_inheritable(descriptor, False)  # a stage's command must not be able to speak for us
    threading.Thread(target=_die_with_parent, args=(int(lifeline),), daemon=True).start()
    with os.fdopen(int(events), "w", buffering=1) as stream:
        sys.exit(_reproduce(scope == "all", lambda step: stream.write(json.dumps(asdict(step)) + "\n")))


def _die_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # returns when the other end is closed, by a killed process too
    os.killpg(0, signal.SIGKILL)


def _reproduce(everywhere: bool, tell: Callable[[Progress], object]) -> int:
    from dvc.dependency import Dependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    restored: set[str] = set()
    told = ""

    def one_stage(stage: Any, **options: Any) -> Any:
        nonlocal told
        if not stage.cmd:
            return _as_dvc(stage, options)
        own = [item for item in (*stage.outs, *stage.deps) if not item.IS_DEPENDENCY or type(item) is Dependency]
        if not stage.frozen and any(not item.hash_info for item in own):
            stage.cmd_changed = True  # its lock entry is not about this stage as it stands now
        tell(Progress("began", stage.addressing))
        started = time.monotonic()
        try:
            result = _as_dvc(stage, options)
        except Exception as error:
            told = stage.addressing
            tell(Progress("failed", stage.addressing, seconds=time.monotonic() - started, error=words(error)))
            raise
        status: Status = "untouched" if result is None else "restored" if stage.addressing in restored else "ran"
        made = _made(cache, stage) if status == "ran" else set()
        pulled = 0 if status == "untouched" else growth.since(made)
        tell(Progress("ended", stage.addressing, status, time.monotonic() - started, pulled))
        return result

    def pull_run_cache(*arguments: Any, **options: Any) -> Any:
        copied = fetch_run_cache(*arguments, **options)
        files = (cache.folder / "runs" / key[:2] / key / value for key, value in copied)
        tell(Progress("ended", "", pulled=sum(file.stat().st_size for file in files)))
        return copied

    def restore(stage: Any, **options: Any) -> None:
        from_cache(stage, **options)
        restored.add(stage.addressing)

    try:
        with Repo() as repo:
            cache = Cache(Path(repo.cache.local_cache_dir))
            growth = _Growth(cache)
            from_cache, repo.stage_cache.restore = repo.stage_cache.restore, restore
            fetch_run_cache, repo.stage_cache.pull = repo.stage_cache.pull, pull_run_cache
            repo.reproduce(all_pipelines=everywhere, pull=True, allow_missing=True, repro_fn=one_stage)
    except DvcException as error:
        if not told:
            tell(Progress("failed", "", error=words(error)))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _as_dvc(stage: Any, options: dict[str, Any]) -> Any:
    """Reproduce one stage as ``dvc repro`` does: the lock is written after each stage."""
    result = stage.reproduce(**options)
    if result is not None:
        stage.dump(update_pipeline=False)
    return result


def _made(cache: Cache, stage: Any) -> set[str]:
    """Return the digests of all that a stage has just written."""
    records = [Recorded("", out.hash_info.value) for out in stage.outs if out.hash_info]
    digests = {record.digest for record in records}
    for record in records:
        if record.is_folder:
            with suppress(FileNotFoundError):
                digests.update(cache.entries(record).values())
    return digests


class _Growth:
    """What has come into the cache since the last look."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.known = cache, set(self._objects(cache))

    def since(self, made: set[str]) -> int:
        """Return the bytes of new objects that were not ``made`` here: what was pulled."""
        found = self._objects(self.cache)
        new, self.known = found.keys() - self.known, set(found)
        return sum(found[digest].stat().st_size for digest in new - made)

    @staticmethod
    def _objects(cache: Cache) -> dict[str, os.DirEntry[str]]:
        found = {}
        for folder in [*cache.folder.glob("files/md5/??"), *cache.folder.glob("[0-9a-f][0-9a-f]")]:
            found.update({folder.name + entry.name: entry for entry in os.scandir(folder)})
        return found
