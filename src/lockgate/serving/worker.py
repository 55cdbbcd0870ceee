"""The process in which a release's own code runs: it loads the model and answers record batches with numbers.

Started as a script by :mod:`lockgate.serving.process`, with the interpreter that has the release's dependencies. Beside
what the build's wheel needs it takes the standard library and pyarrow. Its import path begins with the
unpacked wheel, so that every release runs its own code, whatever else is installed, and two releases of one package
live side by side. It ends when the other end of its socket closes.

Frames in both directions: eight bytes of length (little-endian), then so many bytes. First it gets a JSON object
(``code``, ``entry``, ``model``, ``answer``) and an Arrow schema, and answers ``+`` when the model is loaded; then
record batches, each answered by ``+`` and its answers as float64, those of one request after the other: a probability,
or as many numbers as ``answer`` says. ``-`` and a text say what went wrong instead (:func:`failure`).
"""

import importlib
import json
import socket
import struct
import sys
from array import array
from itertools import chain
from operator import gt
from pathlib import Path
from typing import Any

SUM = 1e-6  # how far the probabilities of all classes may be from 1 in their sum


def main(descriptor: int) -> None:
    """Serve the socket ``descriptor`` until its other end closes."""
    with socket.socket(fileno=descriptor) as line:
        try:
            told = json.loads(receive(line))
            model, schema = load(told, receive(line))
            answers = told.get("answer") or {"kind": "probability", "width": 1}
        except Exception as error:  # noqa: BLE001 - whatever the model's code raises is told to the service
            send(line, failure(error))
            return
        send(line, b"+")
        while frame := receive(line):
            try:
                answer = b"+" + predict(model, schema, frame, answers)
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


def predict(model: Any, schema: Any, frame: bytes, answers: dict[str, Any]) -> bytes:
    """Return the numbers of one record batch. Raises ``ValueError`` if the model gives no such thing."""
    import pyarrow as pa

    batch = pa.ipc.read_record_batch(pa.py_buffer(frame), schema)
    width = answers["width"]
    answer = doubles(model.predict(batch), width)
    if len(answer) != batch.num_rows * width:
        raise ValueError(f"the model gave {len(answer)} values for {batch.num_rows} requests of {width} each")
    if answers["kind"] == "number":
        if not all(value - value == 0.0 for value in answer):  # infinity and NaN differ from themselves
            raise ValueError("the model gave something that is not a finite number")
        if width == 3 and any(map(gt, answer[1::3], answer[2::3])):
            raise ValueError("the model gave an interval whose low end is above its high end")
    elif not all(0.0 <= value <= 1.0 for value in answer):  # NaN is neither
        raise ValueError("the model gave something that is not a probability")
    elif width > 1:
        for place in range(0, len(answer), width):
            if abs(sum(answer[place : place + width]) - 1.0) > SUM:
                raise ValueError("the model gave probabilities of the classes that do not sum to 1")
    return answer.tobytes()


def doubles(answer: Any, width: int = 1) -> "array[float]":
    """Return what a model gave (an array of NumPy or Arrow, or a list) as doubles. Raises ``ValueError``,
    ``TypeError`` unless it is a row of numbers, or with a ``width`` so many for each request."""
    try:
        view = memoryview(answer)
    except (TypeError, ValueError):
        values = answer.to_pylist() if hasattr(answer, "to_pylist") else answer
        return array("d", values if width == 1 else chain.from_iterable(values))
    shape = view.shape or ()
    if len(shape) != 1 + (width > 1) or (width > 1 and shape[1] != width):
        wanted = "one number" if width == 1 else f"{width} numbers"
        raise ValueError(f"the model gave an array of shape {shape}, not {wanted} a request")
    if view.format == "d":
        return array("d", view.tobytes())  # row by row, whatever the array's own order is
    rows: Any = view.tolist()
    return array("d", rows if width == 1 else chain.from_iterable(rows))


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
