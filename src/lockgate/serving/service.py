"""What runs now, and how it is replaced: a release is loaded beside the running one, tried, then takes its place.

One reference, :attr:`Service.current`, is all that a request looks at, once: the schema that reads it, the process that
answers it and the release that the answer names belong together. Whatever goes wrong on the way to another release
leaves that reference as it was, and shows in ``/readyz``, the metrics and the log.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lockgate.errors import LockgateError
from lockgate.releasing.environments import Retired
from lockgate.releasing.heartbeats import Stale
from lockgate.releasing.withdrawal import ReleaseWithdrawn
from lockgate.serving.contract import ContractError
from lockgate.serving.described import described
from lockgate.serving.engine import Engine
from lockgate.serving.locked import Interpreters
from lockgate.serving.metrics import Metrics
from lockgate.serving.process import Loadable, ModelFailed, ModelProcess, differences, installed, start, unpack
from lockgate.serving.record import Recorder
from lockgate.serving.source import Found, OpaqueModel, Source
from lockgate.store import StoreError

LOG = logging.getLogger("lockgate.serve")
FINAL = (ReleaseWithdrawn, Retired, Stale, OpaqueModel)  # what was verified before must not answer instead
DRAINING = 30.0  # seconds that requests may still take which began before a swap
LONGEST_PAUSE = 300.0  # seconds between two tries of a release that could not be loaded

Problem = Literal["store", "release", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller may ask for. Bytes, rows, seconds."""

    body: int = 4 * 2**20
    rows: int = 5_000
    body_seconds: float = 10.0
    held: int = 64 * 2**20  # bytes of bodies that are being read or answered, of all callers together
    unknown_fields: Literal["refuse", "ignore"] = "refuse"


@dataclass(eq=False)
class Serving:
    """One loaded release at work."""

    found: Found
    loadable: Loadable
    engine: Engine
    differences: tuple[str, ...]
    since: str
    app: Any = None
    requests: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        """Count a request that this release answers."""
        self.requests += 1
        self.idle.clear()

    def end(self) -> None:
        """Count one less."""
        self.requests -= 1
        if not self.requests:
            self.idle.set()

    async def retire(self) -> None:
        """End the process once nobody waits for it any more."""
        if self.requests:
            try:
                async with asyncio.timeout(DRAINING):
                    await self.idle.wait()
            except TimeoutError:
                LOG.warning("%s: %d requests were cut off", self.found.release, self.requests)
        await self.engine.close()
        self.loadable.discard()


class Service:
    """The release that ``source`` names, kept up to date."""

    def __init__(
        self,
        source: Source,
        limits: Limits,
        recorder: Recorder | None,
        make_app: Callable[["Service", Serving], Any],
        interpreters: Interpreters | None = None,
    ) -> None:
        """Prepare; :meth:`begin` loads. ``make_app`` returns the ASGI application of one release; ``interpreters``
        gives a release the environment of its dependencies (``None``: each runs with the packages of this process)."""
        self.source = source
        self.limits = limits
        self.recorder = recorder
        self.metrics = Metrics(self)
        self.held = 0
        self.problems: dict[Problem, Mapping[str, Any]] = {}
        self.closed = ""  # why nothing may be answered, although a release is loaded
        self._make_app = make_app
        self._interpreters = interpreters
        self._current: Serving | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._restarts = 0
        self._failed: tuple[str, int, float] = ("", 0, 0.0)  # digest, failures in a row, when to try again

    @property
    def current(self) -> Serving:
        """What runs now. There is something from :meth:`begin` on, always."""
        if self._current is None:
            raise LockgateError("nothing is served yet")
        return self._current

    @property
    def restarts(self) -> int:
        """How often a model's process was started again, in all releases since the service began."""
        return self._restarts + self.current.engine.restarts

    async def begin(self) -> None:
        """Load what the store names; if that fails for any reason, what was verified last and is still here.

        Raises the first failure where there is nothing to fall back on.
        """
        try:
            found = await asyncio.to_thread(self.source.newest)
            await self._swap(found, await asyncio.to_thread(self.source.bring, found))
            self._note_withdrawal(found)
        except FINAL:
            raise
        except LockgateError as error:
            self._tell("store" if isinstance(error, StoreError) else "release", error)
            try:
                remembered = await asyncio.to_thread(self.source.remembered)
                await self._swap(remembered, self.source.folder(remembered), remember=False)
            except LockgateError:
                raise error from None
            LOG.warning("started with %s, verified before", remembered.release)

    async def watch(self, every: float) -> None:
        """Look for something newer every so many seconds, for ever."""
        while True:
            await asyncio.sleep(every)
            await self.look()

    async def look(self) -> None:
        """Compare with the store once, and swap if it names something else."""
        try:
            found = await asyncio.to_thread(self.source.newest, self.current.found)
            self._note_withdrawal(found)
        except (ReleaseWithdrawn, Retired) as error:
            self.closed = str(error)
            self._tell("withdrawn", error)
            return
        except LockgateError as error:
            self._tell("store", error)
            return
        self._untell("store")
        if found.digest == self.current.found.digest:
            self.closed = ""
        if found == self.current.found:
            self._untell("release")  # what could not be loaded was rolled back, or is what runs
            return
        digest, failures, again = self._failed
        if found.digest == digest and time.monotonic() < again:
            return
        try:
            folder = await asyncio.to_thread(self.source.bring, found)
            await self._swap(found, folder)
            self._untell("release")
            self.closed = ""
        except StoreError as error:
            self._tell("store", error)
        except LockgateError as error:
            failures = failures + 1 if found.digest == digest else 1
            self._failed = (found.digest, failures, time.monotonic() + min(LONGEST_PAUSE, 2.0**failures))
            self._tell("release", error, release=found.release, entry=found.number)
            self.metrics.swaps.labels("failed").inc()

    async def close(self) -> None:
        """End what runs, after what is being answered."""
        if self._current is not None:
            await self._current.retire()
        await asyncio.gather(*self._retiring)

    async def _swap(self, found: Found, folder: Path, *, remember: bool = True) -> None:
        """Load a release beside what runs, try it, and have it answer from the next request on."""
        before = self._current
        if before is not None and before.found.digest == found.digest:  # the log went on, the build is the same
            await asyncio.to_thread(self.source.remember, found)
            before.found = found
            return
        begin = time.monotonic()
        loadable, process = await asyncio.to_thread(_load, found, folder, self._interpreters)
        try:
            if remember:
                await asyncio.to_thread(self.source.remember, found)
            self._current = await self._serving(found, loadable, process)
        except BaseException:
            process.close()
            loadable.discard()
            raise
        self.metrics.swaps.labels("done").inc()
        LOG.info("%s answers (entry %d, loaded in %.1f s)", found.release, found.number, time.monotonic() - begin)
        if before is not None:
            self._restarts += before.engine.restarts
            task = asyncio.create_task(before.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _serving(self, found: Found, loadable: Loadable, process: ModelProcess) -> Serving:
        if self.recorder is not None:
            self.recorder.know(found.digest, described(loadable.folder, loadable.contract.request, loadable.name))
        differs = () if loadable.own_dependencies else tuple(differences(loadable, installed()))
        for difference in differs:
            LOG.warning("%s: %s", found.release, difference)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        serving = Serving(found, loadable, await Engine.over(process), differs, now)
        serving.app = self._make_app(self, serving)
        return serving

    def _note_withdrawal(self, found: Found) -> None:
        if found.withdrawal is not None:
            self._tell("withdrawn", ReleaseWithdrawn(found.withdrawal))
        else:
            self._untell("withdrawn")

    def _tell(self, what: Problem, error: LockgateError, **more: Any) -> None:
        said = {"what": str(error), **more}
        known = self.problems.get(what, {})
        if {key: value for key, value in known.items() if key != "since"} != said:
            LOG.error("%s", error)
            self.problems[what] = {**said, "since": datetime.now(UTC).isoformat(timespec="seconds")}

    def _untell(self, what: Problem) -> None:
        if self.problems.pop(what, None):
            LOG.info("%s: all is well again", what)


def _load(found: Found, folder: Path, interpreters: Interpreters | None) -> tuple[Loadable, ModelProcess]:
    """Return a release, loaded and tried. Raises :class:`ContractError`, :class:`ModelFailed`, and what the
    installation of its dependencies raises."""
    own = interpreters.of(found.build, folder) if interpreters is not None else None
    loadable = unpack(found.release, folder, own.executable if own is not None else None)
    try:
        return loadable, start(loadable)
    except (ContractError, ModelFailed):
        loadable.discard()
        raise
