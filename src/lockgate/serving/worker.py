"""The process in which a release's own code runs: it loads the model and answers record batches with probabilities.

Started as a script by :mod:`lockgate.serving.process`, with the interpreter that has the release's dependencies. Beside
what the build's wheel needs it takes the standard library and pyarrow. Its import path begins with the
unpacked wheel, so that every release runs its own code, whatever else is installed, and two releases of one package
live side by side. It ends when the other end of its socket closes.

Frames in both directions: eight bytes of length (little-endian), then so many bytes. First it gets a JSON object
(``code``, ``entry``, ``model``) and an Arrow schema, and answers ``+`` when the model is loaded; then record batches,
each answered by ``+`` and its probabilities as float64. ``-`` and a text say what went wrong instead (:func:`failure`).
"""

import importlib
import json
import socket
import struct
import sys
from array import array
from pathlib import Path
from typing import Any


def main(descriptor: int) -> None:
    """Serve the socket ``descriptor`` until its other end closes."""
    with socket.socket(fileno=descriptor) as line:
        try:
            model, schema = load(json.loads(receive(line)), receive(line))
        except Exception as error:  # noqa: BLE001 - whatever the model's code raises is told to the service
            send(line, failure(error))
            return
        send(line, b"+")
        while frame := receive(line):
            try:
                answer = b"+" + predict(model, schema, frame)
            except Exception as error:  # noqa: BLE001
                answer = failure(error)
            send(line, answer)


def load(told: dict[str, str], schema: bytes) -> tuple[Any, Any]:
    """Return the model, and the Arrow schema of its requests.

    Raises ``ImportError`` if the entry's module is not the wheel's, and whatever the model's code raises.
    """
    import pyarrow as pa

    module_name, _, function = told["entry"].partition(":")
    module = importlib.import_module(module_name)
    if not Path(str(module.__file__)).resolve().is_relative_to(Path(told["code"]).resolve()):
        raise ImportError(f"{module_name} is not the wheel's: {module.__file__}")
    return getattr(module, function)(Path(told["model"])), pa.ipc.read_schema(pa.py_buffer(schema))


def predict(model: Any, schema: Any, frame: bytes) -> bytes:
    """Return the probabilities of one record batch. Raises ``ValueError`` if the model gives no such thing."""
    import pyarrow as pa

    batch = pa.ipc.read_record_batch(pa.py_buffer(frame), schema)
    answer = doubles(model.predict(batch))
    if len(answer) != batch.num_rows:
        raise ValueError(f"the model gave {len(answer)} values for {batch.num_rows} requests")
    if not all(0.0 <= value <= 1.0 for value in answer):  # NaN is neither
        raise ValueError("the model gave something that is not a probability")
    return answer.tobytes()


def doubles(answer: Any) -> "array[float]":
    """Return what a model gave (an array of NumPy or Arrow, or a list) as doubles. Raises ``ValueError``,
    ``TypeError`` unless it is one row of numbers."""
    try:
        view = memoryview(answer)
    except (TypeError, ValueError):
        return array("d", answer.to_pylist() if hasattr(answer, "to_pylist") else answer)
    if view.ndim != 1:
        raise ValueError(f"the model gave an array of shape {view.shape}, not one probability a request")
    return array("d", view.tobytes() if view.format == "d" else answer)


def failure(error: Exception) -> bytes:
    """Return the frame that tells of an error: its type and place on one line, then its own words."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return b"-" + f"{type(error).__name__}{place}\n{error}".encode(errors="replace")


def receive(line: socket.socket) -> bytes:
    """Return the next frame, empty when the other end has closed."""
    head = _exactly(line, 8)
    return _exactly(line, struct.unpack("<Q", head)[0]) if head else b""


def send(line: socket.socket, content: bytes) -> None:
    """Send one frame."""
    line.sendall(struct.pack("<Q", len(content)) + content)


def _exactly(line: socket.socket, size: int) -> bytes:
    buffer = bytearray(size)
    view, have = memoryview(buffer), 0
    while have < size:
        count = line.recv_into(view[have:])
        if count == 0:
            return b""
        have += count
    return bytes(buffer)


if __name__ == "__main__":
    main(int(sys.argv[1]))
