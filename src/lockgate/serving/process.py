"""One loaded release: its files, and a process that runs the model's own code (:mod:`lockgate.serving.worker`).

A process of its own for each release is what lets two of them run side by side, each with its own version of the same
package, and what keeps a model's crash from being the service's. It is given no credential of this process.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.dependencies.lock import normalised, read_lock, requirement_name
from lockgate.errors import LockgateError
from lockgate.serving import worker
from lockgate.serving.contract import TOLERANCE, Contract, read_contract

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

LOADING = 120.0  # seconds a model may take to load, and to answer one batch
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES")


class ModelFailed(LockgateError):  # noqa: N818 - named for what the user reads
    """The model's own code could not be loaded, died, or did not answer as it did when it was released."""

    def __init__(self, what: str, finding: str) -> None:
        """Name the release and what happened."""
        super().__init__(f"{what}: {finding}", "What runs now is not touched. Release a version that can be loaded.")


@dataclass(frozen=True)
class Loadable:
    """The verified files of a build in ``folder``, its wheel unpacked in ``code``, and the interpreter that runs it."""

    name: str
    folder: Path
    code: Path
    contract: Contract
    python: Path

    @property
    def own_dependencies(self) -> bool:
        """Whether it runs with the dependencies of its release, not with those of this process."""
        return self.python != Path(sys.executable)

    def discard(self) -> None:
        """Remove the unpacked wheel."""
        shutil.rmtree(self.code, ignore_errors=True)


def unpack(name: str, folder: Path, python: Path | None = None) -> Loadable:
    """Read the contract of the build in ``folder``, which was verified, and unpack its wheel to a folder of its own.

    ``python`` is the interpreter of the environment that holds its dependencies, by default the one that runs this.
    Raises :class:`~lockgate.serving.contract.ContractError`, :class:`ModelFailed`.
    """
    contract = read_contract(folder)
    code = Path(tempfile.mkdtemp(prefix="lockgate-"))
    try:
        with zipfile.ZipFile(folder / contract.wheel) as wheel:
            wheel.extractall(code)  # the file is signed, and zipfile drops ".."
    except (zipfile.BadZipFile, OSError) as error:
        shutil.rmtree(code)
        raise ModelFailed(name, f"{contract.wheel} cannot be unpacked ({error})") from None
    return Loadable(name, folder, code, contract, python or Path(sys.executable))


class ModelProcess:
    """A running model. Not to be used by several threads at once."""

    def __init__(self, loadable: Loadable) -> None:
        """Start the process and wait until the model is loaded. Raises :class:`ModelFailed`."""
        self.loadable = loadable
        self.schema = loadable.contract.request.arrow
        self.line, theirs = socket.socketpair()
        self.line.settimeout(LOADING)
        with theirs:
            self.process = subprocess.Popen(
                [loadable.python, "-P", "-s", "-u", worker.__file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=_environment(os.environ, loadable.code),
                stdin=subprocess.DEVNULL,
                stdout=2,  # what the model's code prints is no answer of ours
                start_new_session=True,  # an interrupt of ours lets it finish what it has
            )
        told = {
            "code": str(loadable.code),
            "entry": loadable.contract.entry,
            "model": str(loadable.folder / loadable.contract.model),
            "answer": loadable.contract.request.answer.for_worker(),
        }
        try:
            self.ask(json.dumps(told).encode(), self.schema.serialize())
        except BaseException:
            self.close()
            raise

    def predict(self, batch: "pa.RecordBatch") -> "npt.NDArray[np.float64]":
        """Return the answers, one number a request or a row of them (:class:`~lockgate.serving.answers.Answer`).
        Raises :class:`ModelFailed`."""
        import numpy as np

        numbers = np.frombuffer(self.ask(batch.serialize()), dtype=np.float64)
        return self.loadable.contract.request.answer.shaped(numbers)

    def try_samples(self) -> None:
        """Have the model answer the build's own samples. Raises :class:`ModelFailed` unless it answers as it did."""
        import numpy as np

        samples = self.loadable.contract.samples
        answers = self.predict(self.loadable.contract.request.batch(samples.requests)).reshape(
            len(samples.requests), -1
        )
        expected = np.array(samples.answers)
        off = np.abs(answers - expected) / np.maximum(1.0, np.abs(expected))
        if off.max() > TOLERANCE:
            worst, place = np.unravel_index(int(off.argmax()), off.shape)
            raise self.failed(
                f"sample request {worst} gave {answers[worst, place]} where {expected[worst, place]} is expected"
            )

    def ask(self, *frames: Any) -> bytes:
        """Send frames and return the answer to the last. Raises :class:`ModelFailed`."""
        try:
            for content in frames:
                view = memoryview(content).cast("B")
                self.line.sendall(struct.pack("<Q", len(view)))
                self.line.sendall(view)
            answer = worker.receive(self.line)
        except OSError as error:
            raise self.failed(f"its process does not answer ({error})") from None
        if not answer:
            raise self.failed("its process ended before it answered")
        return self.unwrap(answer)

    def unwrap(self, answer: bytes, *, brief: bool = False) -> bytes:
        """Return what a frame from the worker carries. Raises :class:`ModelFailed` if it tells a failure: ``brief``
        without the model's own words, which may repeat what was in a request."""
        if answer[:1] != b"+":
            where, _, words = answer[1:].decode(errors="replace").partition("\n")
            raise self.failed(where if brief else f"{where}: {words}")
        return answer[1:]

    def failed(self, finding: str) -> ModelFailed:
        """Return the error that says ``finding`` of this release."""
        return ModelFailed(self.loadable.name, finding)

    def close(self) -> None:
        """End the process."""
        self.line.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        self.process.kill()
        self.process.wait()


def start(loadable: Loadable) -> ModelProcess:
    """Return the model of a build, loaded and tried on the build's samples. Raises :class:`ModelFailed`."""
    process = ModelProcess(loadable)
    try:
        process.try_samples()
    except BaseException:
        process.close()
        raise
    return process


def differences(loadable: Loadable, installed: Mapping[str, str]) -> Sequence[str]:
    """Return the packages that the wheel needs and that are not installed as the build's lock pins them."""
    if loadable.contract.lock is None:
        return []
    text = (loadable.folder / loadable.contract.lock).read_text(encoding="utf-8")
    needed = set(_requirements(loadable.code))
    return [
        f"{pin.name} {installed.get(pin.name, 'is absent')}, the lock says {pin.version}"
        for pin in sorted(read_lock(text, loadable.contract.lock).pins, key=lambda pin: pin.name)
        if pin.name in needed and pin.applies() and installed.get(pin.name) != pin.version
    ]


def installed() -> dict[str, str]:
    """Return the packages of this interpreter's environment, by normalised name."""
    from importlib.metadata import distributions

    return {normalised(found.metadata["Name"]): found.version for found in distributions()}


def _requirements(code: Path) -> list[str]:
    from importlib.metadata import distributions

    lines = [line for found in distributions(path=[str(code)]) for line in found.requires or ()]
    return [requirement_name(line) for line in lines if "extra ==" not in line]


def _environment(own: Mapping[str, str], code: Path) -> dict[str, str]:
    kept = {key: own[key] for key in _KEPT if key in own}
    # one thread: starting a team of them costs more than a small batch, and large ones have several processes
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return kept | limits | {"PYTHONPATH": str(code), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
