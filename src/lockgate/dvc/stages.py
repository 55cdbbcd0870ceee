"""``dvc repro --pull --allow-missing``, watched: what each stage did, how long it took and what was pulled for it.

DVC runs in a process group of its own that ends with us, however we end. It tells us of its stages through a pipe that
the commands of the stages do not have, so that nothing they print can pass for DVC's word.
"""

import gc
import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any, Literal, Self

from lockgate.dvc.confined import HowRun, contains, git_folders, homes, launch, python_folders
from lockgate.dvc.inputs import Inputs
from lockgate.dvc.objects import Cache, words
from lockgate.dvc.pipeline import Recorded
from lockgate.dvc.reach import OutOfReach, out_of_reach, reaching
from lockgate.errors import LockgateError, NotAskedError
from lockgate.policy import Stages
from lockgate.result import Isolation
from lockgate.temporary import temporary_folder

NAME = "lockgate run"
"""What DVC notes down, in place of a command line, for the files that a run of ours has in use."""

GRACE = 5.0
"""Seconds an interrupted stage has to end by itself before it is killed."""

PASSED = (
    *("LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_NUMERIC", "LC_TIME", "TZ"),
    *("LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("CUDA_HOME", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "SOURCE_DATE_EPOCH"),
)
"""The variables that every stage gets if they are set. None of them holds a secret."""

PROXIES = tuple(name for word in ("http", "https", "all", "no") for name in (f"{word}_proxy", f"{word}_proxy".upper()))
"""The variables that a stage gets besides if it may use the network."""

Event = Literal["began", "ended", "failed", "isolated"]
Status = Literal["ran", "restored", "untouched"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a reproduction. ``status`` and ``seconds`` are of an ended stage, ``pulled`` in bytes; ``error`` is
    what DVC said of a failed one, ``cure`` what helps if a remote cannot be reached. ``stage`` is empty for what
    belongs to no stage.

    ``isolated`` says how a stage's command was run; ``error`` why it was not isolated, ``contacts`` which addresses
    outside of this machine it tried to reach. Callers of :func:`run_stages` do not hear of it: they get a sum.
    """

    event: Event
    stage: str
    status: Status | None = None
    seconds: float = 0.0
    pulled: int = 0
    error: str = ""
    cure: str = ""
    isolation: Isolation | None = None
    contacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What the commands of stages get from outside.

    ``dependencies`` is the folder of the Python environment whose ``bin`` goes first on PATH, by default the one that
    lockgate runs in. ``passed`` names environment variables, beside :data:`PASSED`; a folder that one of these names
    can be read and written. ``network`` says whether the network can be reached. With ``required`` no command runs that
    cannot be isolated.
    """

    dependencies: Path | None = None
    passed: tuple[str, ...] = ()
    network: bool = True
    required: bool = False

    @classmethod
    def by_policy(cls, stages: Stages, *, proving: bool, required: bool = False) -> Self:
        """Return what the policy's section ``stages`` allows.

        With ``proving``, for what shows that the bytes come from their inputs, there is a network only if the policy
        says so. With ``required``, commands have to be isolated unless the policy says otherwise.
        """
        network = stages.network is True if proving else stages.network is not False
        return cls(passed=stages.passed, network=network, required=required and stages.isolation == "required")

    def variables(self) -> dict[str, str]:
        """Return the variables that a stage's command gets, out of those of this process."""
        names = [*PASSED, *(PROXIES if self.network else ()), *self.passed]
        first = self.dependencies / "bin" if self.dependencies else Path(sys.executable).parent
        after = os.environ.get("PATH", os.defpath).split(os.pathsep)
        if self.dependencies:  # a program that is installed with lockgate is none of the locked ones
            own = {Path(sys.executable).parent, Path(os.environ.get("VIRTUAL_ENV") or sys.prefix, "bin")}
            after = [folder for folder in after if Path(folder) not in own]
        return {
            **{name: os.environ[name] for name in names if name in os.environ},
            "PATH": os.pathsep.join([str(first), *after]),
            "PYTHONUNBUFFERED": "1",
            **({"VIRTUAL_ENV": str(self.dependencies)} if self.dependencies else {}),
        }

    def options(self, checkout: Path, variables: Mapping[str, str]) -> list[str]:
        """Return what :mod:`lockgate.dvc.sandbox` is told of the places that a command sees, all but its scratch."""
        hide = {os.path.realpath(path) for path in homes()}
        write = [os.path.realpath(checkout)]
        for name in self.passed:
            folder = variables.get(name, "")
            if Path(folder).is_absolute() and Path(folder).is_dir() and not contains(folder, [*hide, *write]):
                write.append(os.path.realpath(folder))
        named = [part for value in variables.values() for part in value.split(os.pathsep) if Path(part).is_absolute()]
        read = [
            *git_folders(checkout),
            *python_folders(self.dependencies),
            *(part for part in named if Path(part).exists()),
        ]
        read += [str(checkout / name) for name in (".dvc", ".lockgate", ".venv") if (checkout / name).exists()]
        kept = {os.path.realpath(path) for path in read}
        kept = {path for path in kept if path not in write and not contains(path, [*hide])}
        words = [("write", path) for path in write] + [("read", path) for path in sorted(kept)]
        words += [("hide", path) for path in sorted(hide)]
        words += [("network", "yes" if self.network else "no"), ("required", "yes" if self.required else "no")]
        return [f"{key}={value}" for key, value in words]


DEFAULT = Sandbox()


@dataclass(frozen=True, slots=True)
class StagesRun:
    """What came of running stages: DVC's exit code (0 is success), and what it said of the stage that failed.

    ``isolation`` says how the commands were run, ``None`` if none was; ``reason`` why not isolated. ``contacts`` are
    the addresses outside of this machine, by stage, that a command tried to reach (not known without isolation).
    """

    code: int
    failed: Progress | None = None
    isolation: Isolation | None = None
    reason: str = ""
    contacts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every stage is done."""
        return self.code == 0 and self.failed is None


def run_stages(  # noqa: PLR0913 - the one way in, for all that callers want of it
    checkout: Path,
    stages: Sequence[str] | None = None,
    *,
    sandbox: Sandbox = DEFAULT,
    only: Sequence[str] | None = None,
    everywhere: bool = False,
    complete: bool = False,
    beside: Sequence[str] = (),
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_output: Callable[[str], None] = lambda _: None,
    process: "DvcProcess | None" = None,
) -> StagesRun:
    """Run stages of the project in the folder ``checkout``. Whoever has a stage run comes through here.

    Without ``stages`` DVC decides, as ``dvc repro --pull --allow-missing`` does (``everywhere``: with the ``dvc.yaml``
    files of subfolders; ``only``: these stages and what they need; ``complete``: every output is there at the end,
    pulled if the remote has it, made again if not). The ``stages`` that are named run in this order and whatever is
    known of them, as with ``dvc repro --single-item --force``: nothing is pulled or restored.

    A stage's command sees an empty HOME and what the ``sandbox`` gives it. What DVC pulls and restores, it does outside
    of that, with the caller's environment.

    The objects with the digests ``beside`` are brought by somebody else meanwhile, for no stage. ``on_progress`` is
    told of each stage, ``on_output`` gets each line that DVC or a stage prints; both are called in the caller's thread.
    ``process`` is a :class:`DvcProcess` for this checkout that was started early; it is left to the caller to end.
    """
    failed: list[Progress] = []
    isolated: list[Progress] = []

    def follow(step: Progress) -> None:
        if step.event == "isolated":
            isolated.append(step)
            return
        if step.event == "failed":
            failed.append(step)
        on_progress(step)

    options: dict[str, Any] = {"all_pipelines": everywhere, "allow_missing": not complete, "pull": True}
    if only is not None:
        options |= {"targets": list(only), "all_pipelines": False}
    if stages is not None:
        options = {"targets": list(stages), "single_item": True, "force": True}
    with temporary_folder("stages") as scratch, ExitStack() as stack:
        variables = sandbox.variables()
        places = sandbox.options(checkout, variables)
        started = process or stack.enter_context(DvcProcess(checkout))
        code = started.reproduce(options, [variables, places, str(scratch)], beside, follow, on_output)
    openly = [step for step in isolated if step.isolation == "none"]
    if openly and sandbox.required:
        raise NotIsolated(openly[0].stage, openly[0].error)
    contacts = {step.stage: step.contacts for step in isolated if step.contacts}
    isolation: Isolation | None = "none" if openly else "namespaces" if isolated else None
    return StagesRun(code, failed[0] if failed else None, isolation, openly[0].error if openly else "", contacts)


class NotIsolated(NotAskedError):  # noqa: N818 - named for what the user reads
    """A stage was not run, because this machine cannot isolate it and the caller requires that."""

    def __init__(self, stage: str, reason: str) -> None:
        """Name the stage and what the machine refused."""
        super().__init__(
            f"stage '{stage}' was not run, because it cannot be isolated here: {reason}",
            "Use a machine that allows namespaces (docs/isolation.md), or allow it to run all the same: "
            "`stages: {isolation: best-effort}` in lockgate.yaml.",
        )


class DvcProcess:
    """A process that imports DVC, which takes longer than planning does, and then reproduces once, if asked.

    It leads a group of its own, which dies with this process, even if that is killed. Leaving the context ends the
    group: it is interrupted, and if that does not help, killed.
    """

    def __init__(self, root: Path) -> None:
        """Start it in ``root``."""
        self._events, said = os.pipe()
        wanted, self._wanted = os.pipe()
        program = (
            "import sys; sys.path.insert(0, sys.argv[1])\nfrom lockgate.dvc.stages import child; child(*sys.argv[2:])"
        )
        source = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program, source, str(said), str(wanted)],
            cwd=root,
            env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(said, wanted),
            start_new_session=True,
        )
        os.close(said)
        os.close(wanted)
        self._asked = False

    def reproduce(
        self,
        options: dict[str, Any],
        commands: list[Any],
        beside: Sequence[str],
        on_progress: Callable[[Progress], None],
        on_output: Callable[[str], None],
    ) -> int:
        """Call DVC's ``Repo.reproduce`` with ``options`` and return an exit code. See :func:`run_stages`, which asks.

        ``commands`` are the arguments of :class:`_Commands`.

        One thing is done better than DVC does it: a stage that declares an output or dependency which its lock entry
        does not know runs (bare DVC passes over it while the file does not exist).
        """
        self._asked = True
        with suppress(BrokenPipeError):  # it ended: why, it says
            os.write(self._wanted, json.dumps([options, commands, list(beside)]).encode() + b"\n")
        with os.fdopen(os.dup(self._events), "rb", buffering=0) as stream:
            _listen(self._process, stream, on_progress, on_output)
        return self._process.wait()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever is still there."""
        _end_group(self._process, ask=self._asked)
        os.close(self._wanted)
        os.close(self._events)
        if self._process.stdout:
            self._process.stdout.close()


@contextmanager
def stoppable(interrupted: LockgateError) -> Iterator[None]:
    """Take SIGTERM as Ctrl-C is taken, and both as the expected end that ``interrupted`` tells of."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise interrupted from stopped
    finally:
        signal.signal(signal.SIGTERM, before)


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
                on_progress(_progress(line))
            for line in printed.read() if process.stdout in ready else ():
                on_output(line)
            if printed.ended and process.stdout in selector.get_map():
                selector.unregister(process.stdout)
    process.wait()
    _end_group(process)  # what a stage left behind may hold the output open
    while not printed.ended:
        for line in printed.read():
            on_output(line)


def _progress(line: str) -> Progress:
    content = json.loads(line)
    return Progress(**{**content, "contacts": tuple(content["contacts"])})


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


def _end_group(process: "subprocess.Popen[bytes]", *, ask: bool = True) -> None:
    """End every process of the child's group: ask first, and after :data:`GRACE` seconds do not ask."""
    with suppress(ProcessLookupError, PermissionError):
        if ask and process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def child(events: str, wanted: str) -> None:
    """Import DVC, and reproduce with its Python API in this process, the leader of its group, once we are asked to.

    ``events`` and ``wanted`` are file descriptors. What is wanted comes as a line of JSON: the options of
    ``Repo.reproduce``, how commands are run (see :class:`_Commands`), and digests (see :func:`run_stages`).
    """
    for descriptor in (int(events), int(wanted)):
        os.set_inheritable(descriptor, False)  # a stage's command must not be able to speak for us
    sys.argv = [NAME]
    gc.disable()  # while what stays for good is loaded
    import dvc.repo  # noqa: F401

    gc.enable()
    _parse_once()
    asked = os.fdopen(int(wanted), "rb", buffering=0)
    line = asked.readline()
    if not line:
        return
    options, commands, beside = json.loads(line)
    threading.Thread(target=_die_with_parent, args=(asked,), daemon=True).start()
    with os.fdopen(int(events), "w", buffering=1) as stream:

        def tell(step: Progress) -> None:
            stream.write(json.dumps(asdict(step)) + "\n")

        variables, places, scratch = commands
        code = _reproduce(options, tell, _Commands(variables, places, scratch, tell), frozenset(beside))
    gc.freeze()  # or Python would look through all that DVC imported before it ends: half a second
    sys.exit(code)


class _Commands:
    """Runs the commands of stages, in DVC's place: with an environment of their own, in a sandbox each."""

    def __init__(
        self, variables: Mapping[str, str], places: Sequence[str], scratch: str, tell: Callable[[Progress], None]
    ) -> None:
        """Take the environment, the options of :mod:`lockgate.dvc.sandbox` and a folder for what is temporary."""
        self.variables, self.places, self.scratch, self.tell = variables, list(places), Path(scratch), tell

    def install(self, repo: Any) -> None:
        """Have DVC run them so, and nothing of what ``repo`` keeps in folders be written by them."""
        from dvc.stage import run

        inside = [str(folder) for folder in _local_folders(repo) if _is_in_a_writable_place(folder, self.places)]
        self.places += [f"read={folder}" for folder in inside]
        self.places += [f"own={folder}" for folder in _temporary_folders(repo)]
        self.as_dvc, run._run = run._run, self.run  # noqa: SLF001 - DVC has no other way; a test notices a change

    def run(self, executable: str, cmd: str, **options: Any) -> None:
        """Run one command of a stage. Raises as DVC's own does if it fails."""
        from dvc.stage import run
        from dvc.stage.exceptions import StageCmdFailedError

        stage = options["env"]["DVC_STAGE"]
        added = {name: options["env"][name] for name in ("DVC_ROOT", "DVC_STAGE")}
        hidden = [place.partition("=")[2] for place in self.places if place.startswith("hide=")]
        if not _is_seen(executable, hidden, self.places):
            executable = "/bin/sh"
        command = run._make_cmd(executable, cmd)  # noqa: SLF001
        scratch = self.scratch / hashlib.sha256(stage.encode()).hexdigest()[:16]
        (scratch / "tmp" / "home").mkdir(parents=True, exist_ok=True)
        heard, report = os.pipe()
        inside = launch(self.places, scratch, report, command)
        try:
            self.as_dvc(None, inside, **{**options, "env": {**self.variables, **added}, "pass_fds": (report,)})
        except StageCmdFailedError as failure:
            raise StageCmdFailedError(cmd, failure.args[0].rsplit(" ", 1)[-1]) from None
        finally:
            os.close(report)
            with os.fdopen(heard) as stream:
                how = HowRun.heard(stream)
            self.tell(Progress("isolated", stage, error=how.reason, isolation=how.isolation, contacts=how.contacts))


def _is_seen(shell: str, hidden: Sequence[str], places: Sequence[str]) -> bool:
    """Say whether the user's shell, with which DVC runs commands, is there for a command too."""
    kept = [place.partition("=")[2] for place in places if place.startswith(("read=", "write="))]
    covered = any(contains(folder, [os.path.realpath(shell)]) for folder in (*hidden, "/run", "/tmp", "/var/tmp"))  # noqa: S108
    return not covered or any(contains(folder, [os.path.realpath(shell)]) for folder in kept)


def _local_folders(repo: Any) -> list[Path]:
    """Return the folders in which DVC keeps objects: its cache, and remotes that are folders."""
    urls = [remote.get("url", "") for remote in repo.config["remote"].values()]
    folders = [Path(repo.cache.local_cache_dir), *(Path(url) for url in urls if "://" not in url and url)]
    return [folder.resolve() for folder in folders if folder.exists()]


def _temporary_folders(repo: Any) -> list[Path]:
    """Return where DVC keeps what is temporary. A stage may use DVC itself (``dvc.api``), and DVCLive notes there, at
    every step of a training, how far it is: both fail where they cannot write. The folder is made, so that there is
    something to put another in the place of."""
    folder = Path(repo.tmp_dir) if repo.tmp_dir else None
    if folder is None or folder.is_symlink():
        return []
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
    return [folder.resolve()] if folder.is_dir() else []


def _is_in_a_writable_place(folder: Path, places: Sequence[str]) -> bool:
    return any(contains(place.removeprefix("write="), [str(folder)]) for place in places if place.startswith("write="))


def _parse_once() -> None:
    """Have each YAML text parsed once: DVC reads ``dvc.yaml`` and ``dvc.lock`` anew for every stage and every pull,
    which is most of what it costs beside the stages."""
    from copy import deepcopy

    from ruamel.yaml import YAML

    parse, known = YAML.load, {}

    def load(self: YAML, stream: Any) -> Any:
        if not isinstance(stream, str) or self.typ != ["safe"]:
            return parse(self, stream)
        if stream not in known:
            known[stream] = parse(self, stream)
        return deepcopy(known[stream])

    YAML.load = load  # type: ignore[method-assign]


def _die_with_parent(lifeline: IO[bytes]) -> None:
    lifeline.read(1)  # returns when the other end is closed, by a killed process too
    os.killpg(0, signal.SIGKILL)


def _reproduce(
    wanted: dict[str, Any], tell: Callable[[Progress], object], commands: _Commands, beside: Set[str]
) -> int:
    import logging

    from dvc.exceptions import DvcException

    from lockgate.dvc.repo import open_repo

    for handler in logging.getLogger("dvc").handlers:  # warnings, and the commands that are run
        handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name == "dvc.stage.run")
        if not wanted.get("allow_missing"):  # what the remote lacks is made again: no news
            handler.addFilter(lambda record: not record.getMessage().startswith("Some of the cache files"))
    watched = None
    try:
        with open_repo() as repo:
            _release(repo)
            commands.install(repo)
            watched = _Watched(repo, tell, beside)
            # With no remote there is nothing to pull from, and DVC would call that a failure of the stage.
            wanted["pull"] = wanted.get("pull", False) and bool(repo.config["core"].get("remote"))
            with reaching(repo.config):
                repo.reproduce(**wanted, repro_fn=watched.reproduce)
    except DvcException as error:
        if watched is None or not watched.failed:
            tell(Progress("failed", "", error=words(error)))
        return 1
    except OutOfReach as error:
        if watched is None or not watched.failed:
            tell(Progress("failed", "", error=str(error), cure=error.advice))
        return 1
    except Exception as error:  # noqa: BLE001 - whatever a library raises reaches us through DVC as it is
        traceback.print_exc()
        tell(Progress("failed", "", error=words(error)))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _release(repo: Any) -> None:
    """Forget what earlier runs of ours had in use when they were killed.

    DVC does so itself when the process is gone, but takes one that nobody has waited for as alive, for ever. Only one
    run of ours is at work in a project, and this is it.
    """
    from dvc.lock import make_lock

    notes = Path(repo.tmp_dir, "rwlock")
    guard = make_lock(
        f"{notes}.lock", tmp_dir=repo.tmp_dir, hardlink_lock=repo.config["core"].get("hardlink_lock", False)
    )
    with guard, suppress(FileNotFoundError):
        try:
            held = json.loads(notes.read_text())
        except ValueError:  # cut short by a kill: it tells nothing, and DVC would refuse to go on
            notes.unlink()
            return
        read = {path: [one for one in users if one["cmd"] != NAME] for path, users in held.get("read", {}).items()}
        write = {path: user for path, user in held.get("write", {}).items() if user["cmd"] != NAME}
        partial = notes.with_name(f"rwlock.{os.getpid()}")
        partial.write_text(json.dumps({"write": write, "read": {path: users for path, users in read.items() if users}}))
        partial.replace(notes)


class _Watched:
    """Reproduces stages as ``dvc repro`` does, and tells of each."""

    def __init__(self, repo: Any, tell: Callable[[Progress], object], beside: Set[str]) -> None:
        self.tell, self.cache, self.failed = tell, Cache(Path(repo.cache.local_cache_dir)), False
        self.config = repo.config
        self.growth, self.inputs = _Growth(self.cache, beside), Inputs(repo)
        self.restored: set[str] = set()
        self._restore, repo.stage_cache.restore = repo.stage_cache.restore, self.restore
        self._pull, repo.stage_cache.pull = repo.stage_cache.pull, self.pull_run_cache

    def reproduce(self, stage: Any, **options: Any) -> Any:
        """Reproduce one stage; DVC calls this for each, in order."""
        if not stage.cmd:
            return _as_dvc(stage, options)
        self.tell(Progress("began", stage.addressing))
        started = time.monotonic()
        try:
            pull, forced = bool(options.get("pull")), bool(options.get("force"))
            if not forced:
                self.inputs.settle(stage, pull=pull)
            if _is_changed(stage, options.get("upstream")):
                if not forced:
                    self.inputs.complete(stage, pull=pull)
                options["allow_missing"] = False  # or outputs that were not written were recorded without a hash
            result = _as_dvc(stage, options)
        except Exception as error:
            self.failed = True
            seconds, unreached = time.monotonic() - started, self._unreached(error)
            said = f"{error}. {error.advice}" if isinstance(error, LockgateError) else words(error)
            if unreached:
                self.tell(Progress("failed", "", error=str(unreached), cure=unreached.advice))
            else:
                self.tell(Progress("failed", stage.addressing, seconds=seconds, error=said))
            raise
        status: Status = "untouched" if result is None else "restored" if stage.addressing in self.restored else "ran"
        made = _made(self.cache, stage) if status == "ran" else set()
        pulled = self.growth.since(made)
        self.tell(Progress("ended", stage.addressing, status, time.monotonic() - started, pulled))
        return result

    def _unreached(self, error: Exception) -> OutOfReach | None:
        name = str(self.config["core"].get("remote") or "")
        return out_of_reach(name, str(self.config["remote"].get(name, {}).get("url")), error) if name else None

    def pull_run_cache(self, *arguments: Any, **options: Any) -> Any:
        """Stand in for DVC's, and tell how much it was."""
        copied = self._pull(*arguments, **options)
        files = (self.cache.folder / "runs" / key[:2] / key / value for key, value in copied)
        self.tell(Progress("ended", "", pulled=sum(file.stat().st_size for file in files)))
        return copied

    def restore(self, stage: Any, **options: Any) -> None:
        """Stand in for DVC's, and remember which stages need not run for it."""
        self._restore(stage, **options)
        self.restored.add(stage.addressing)


def _is_changed(stage: Any, upstream: Any) -> bool:
    """Say whether DVC will run a stage. One whose lock entry does not know all that it declares is made to run."""
    from dvc.dependency import Dependency

    declared = [item for item in (*stage.outs, *stage.deps) if not item.IS_DEPENDENCY or type(item) is Dependency]
    if not stage.frozen and any(not item.hash_info for item in declared):
        stage.cmd_changed = True
    return bool(stage.changed(True, upstream))


def _as_dvc(stage: Any, options: dict[str, Any]) -> Any:
    """Do what ``dvc repro`` does with a stage: the lock is written after each."""
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

    def __init__(self, cache: Cache, beside: Set[str]) -> None:
        self.cache, self.known = cache, {*self._objects(cache), *beside}

    def since(self, made: set[str]) -> int:
        """Return the bytes of new objects that were not ``made`` here: what was pulled."""
        found = self._objects(self.cache)
        new = found.keys() - self.known
        self.known |= new
        return sum(found[digest].stat().st_size for digest in new - made)

    @staticmethod
    def _objects(cache: Cache) -> dict[str, os.DirEntry[str]]:
        found = {}
        for folder in [*cache.folder.glob("files/md5/??"), *cache.folder.glob("[0-9a-f][0-9a-f]")]:
            found.update({folder.name + entry.name: entry for entry in os.scandir(folder)})
        return found
