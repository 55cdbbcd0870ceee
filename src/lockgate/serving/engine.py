"""Concurrent requests to one model process: what waits while the process works is asked together.

A single request is sent at once. Those that come while the process is busy wait for it and make up the next batch, so
that batches grow with the load and no request ever waits for others to come. A long request is asked in pieces, in turn
with the others. A process that dies is started again, whether it was asked something or not; what it was asked is asked
once more, each request by itself.
"""

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lockgate.serving.process import ModelFailed, ModelProcess, start

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LOG = logging.getLogger("lockgate.serve")
BATCH_ROWS = 1024  # rows asked at once: some tens of milliseconds
WATCHING, LONGEST = 0.5, 30.0  # seconds between two looks at an idle process, and between two starts that failed
ANSWERING = 30.0  # seconds after which a silent process counts as dead


@dataclass(eq=False)
class _Waiting:
    rows: Sequence[Mapping[str, Any]]
    future: "asyncio.Future[npt.NDArray[np.float64]]"
    asked: int = 0  # rows of it that were answered
    answers: list["npt.NDArray[np.float64]"] = field(default_factory=list)
    failures: int = 0


class Engine:
    """Asks one model, for as many tasks of the running event loop as there are. Made by :meth:`over`."""

    def __init__(self, process: ModelProcess) -> None:
        """Use :meth:`over`."""
        self.process = process
        self.restarts = 0
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._guard = asyncio.create_task(self._watch())

    @classmethod
    async def over(cls, process: ModelProcess) -> "Engine":
        """Return an engine over a started process, which is the engine's from now on."""
        engine = cls(process)
        await engine._connect()
        return engine

    @property
    def alive(self) -> bool:
        """Whether there is a process to ask; where not, it is being started again."""
        return self._line is not None and self.process.process.poll() is None

    async def predict(self, rows: Sequence[Mapping[str, Any]]) -> "npt.NDArray[np.float64]":
        """Return the answer to each parsed request, a number or a row of them. Raises :class:`ModelFailed`."""
        waiting = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake.set()
        return await waiting.future

    async def close(self) -> None:
        """End the process. Nobody may be waiting."""
        self._guard.cancel()
        self._task.cancel()
        if self._line is not None:
            self._line[1].close()
        await asyncio.to_thread(self.process.close)

    async def _connect(self) -> None:
        self.process.line.setblocking(False)
        self._line = await asyncio.open_connection(sock=self.process.line)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self.alive:
                LOG.error("%s", self.process.failed("its process ended; it is started again"))
                await self._restart()
            while self._waiting:
                taken = self._take()
                try:
                    answers = await self._ask([row for one, start_, end in taken for row in one.rows[start_:end]])
                except ModelFailed as error:
                    self._again([one for one, _, _ in taken], error, most=1 if len(taken) == 1 else 2)
                except (OSError, EOFError, TimeoutError):
                    await self._restart()
                    died = self.process.failed("its process ended while it answered")
                    self._again([one for one, _, _ in taken], died, most=2)
                except Exception as error:  # if this task ended, every request would wait for ever
                    LOG.exception("an error of the service itself")
                    self._again([one for one, _, _ in taken], self.process.failed(type(error).__name__), most=1)
                else:
                    self._give(taken, answers)

    async def _watch(self) -> None:
        """Notice that the process died although nobody asks it anything; try again ever less often."""
        pause = WATCHING
        while True:
            await asyncio.sleep(pause)
            pause = WATCHING if self.alive else min(2 * pause, LONGEST)
            if not self.alive:
                self._wake.set()

    def _take(self) -> list[tuple[_Waiting, int, int]]:
        """Take from the front of the queue as much as makes one batch; what failed before goes alone."""
        taken: list[tuple[_Waiting, int, int]] = []
        room = BATCH_ROWS
        while self._waiting and room and not (taken and self._waiting[0].failures):
            one = self._waiting.popleft()
            end = min(len(one.rows), one.asked + room)
            taken.append((one, one.asked, end))
            room -= end - one.asked
            if one.failures:
                break
        return taken

    def _give(self, taken: Sequence[tuple[_Waiting, int, int]], answers: "npt.NDArray[np.float64]") -> None:
        import numpy as np

        place = 0
        for one, begin, end in taken:
            one.answers.append(answers[place : place + end - begin])
            one.asked = end
            place += end - begin
            if end < len(one.rows):
                self._waiting.append(one)
            elif not one.future.done():
                one.future.set_result(one.answers[0] if len(one.answers) == 1 else np.concatenate(one.answers))

    def _again(self, taken: Sequence[_Waiting], error: ModelFailed, most: int) -> None:
        for one in reversed(taken):
            one.failures += 1
            if one.failures < most:
                self._waiting.appendleft(one)
            elif not one.future.done():
                one.future.set_exception(error)

    async def _ask(self, rows: Sequence[Mapping[str, Any]]) -> "npt.NDArray[np.float64]":
        import numpy as np

        if self._line is None:
            raise ConnectionResetError
        reader, writer = self._line
        frame = self.process.loadable.contract.request.batch(rows).serialize()
        async with asyncio.timeout(ANSWERING):
            writer.write(struct.pack("<Q", frame.size))
            writer.write(memoryview(frame))
            await writer.drain()
            size = struct.unpack("<Q", await reader.readexactly(8))[0]
            answer = await reader.readexactly(size)
        numbers = np.frombuffer(self.process.unwrap(answer, brief=True), dtype=np.float64)
        return self.process.loadable.contract.request.answer.shaped(numbers)

    async def _restart(self) -> None:
        """Start the model again from the same verified files; without success the next batch tries again."""
        if self._line is not None:
            self._line[1].close()
        self._line = None
        self.restarts += 1
        try:
            await asyncio.to_thread(self.process.close)
            self.process = await asyncio.to_thread(start, self.process.loadable)
            await self._connect()
        except ModelFailed:
            return
