"""What a pull request's run hands over to the half that publishes it: a few flat files in one zip archive.

The run executes the author's code, so whatever arrives may have been made by the author. :func:`unpack` takes the
archive apart in memory, writes nothing, and refuses whatever is not exactly what :func:`write` leaves behind.
"""

import io
import json
import math
import re
import stat
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lockgate.errors import LockgateError
from lockgate.evaluation.training import Repeat, Repeats
from lockgate.names import is_text
from lockgate.result import AnyResult, read_results

NAME = "lockgate"
OBJECTS_LIMIT = 64 << 20
"""Bytes of all recorded files that travel along."""
OBJECTS_MOST = 256
"""Recorded files that travel along."""
LIMIT = OBJECTS_LIMIT + (16 << 20)
"""Bytes of the archive."""
OBJECT = re.compile(r"[0-9a-f]{32}(?:\.dir)?")
"""What a recorded file is called in the archive: its digest."""
RESULT, LOCK, OUTPUTS, BINARIES, ERROR = "result.json", "dvc.lock", "outputs.json", "binaries.json", "error.json"
REPEATS = "repeats.json"
FILES = {RESULT: 4 << 20, LOCK: 2 << 20, OUTPUTS: 8 << 20, BINARIES: 8 << 20, ERROR: 64 << 10, REPEATS: 1 << 20}
"""File → bytes it may have unpacked."""


class Unfit(LockgateError):  # noqa: N818 - named for what the reviewer reads
    """An artifact that is not what a run leaves behind."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a run left: its result, or why there is none.

    ``lock`` is the ``dvc.lock`` that came out, ``outputs`` the text of each output that git keeps, by path, and
    ``binaries`` the bytes of those that are no text; they are there only if every stage went well. ``objects`` are,
    by digest, the recorded files of base and head that a report reads: predictions, and what DVC keeps of metrics.
    ``repeats`` are trainings of both under other seeds, whose predictions are among the ``objects``: by the name of the
    model, which is empty where the repository has one.
    """

    result: AnyResult | None = None
    lock: bytes | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    binaries: Mapping[str, bytes] = field(default_factory=dict)
    objects: Mapping[str, bytes] = field(default_factory=dict)
    repeats: Mapping[str, Repeats] = field(default_factory=dict)


def write(folder: Path, artifact: Artifact) -> None:
    """Leave ``artifact`` in ``folder``, and nothing of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        RESULT: None if artifact.result is None else artifact.result.to_json().encode(),
        LOCK: artifact.lock,
        OUTPUTS: json.dumps(artifact.outputs, sort_keys=True, indent=1).encode() if artifact.outputs else None,
        BINARIES: json.dumps(
            {path: b64encode(content).decode() for path, content in artifact.binaries.items()}, sort_keys=True, indent=1
        ).encode()
        if artifact.binaries
        else None,
        ERROR: json.dumps({"error": artifact.error}).encode() if artifact.error else None,
        REPEATS: _of_repeats(artifact.repeats) if artifact.repeats else None,
    }
    for old in folder.iterdir():
        if OBJECT.fullmatch(old.name):
            old.unlink()
    for name, content in {**contents, **artifact.objects}.items():
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            (folder / name).write_bytes(content)


def unpack(archive: bytes) -> Artifact:
    """Return what is in a zip archive. Raises :class:`Unfit` saying the first thing that does not fit."""
    return read(_files(archive))


def read(files: Mapping[str, bytes]) -> Artifact:
    """Return what the files of an artifact say, by name. Raises :class:`Unfit`."""
    if RESULT not in files and ERROR not in files:
        raise Unfit(f"it has neither {RESULT} nor {ERROR}")
    try:
        result = read_results(files[RESULT]) if RESULT in files else None
    except LockgateError as error:
        raise Unfit(f"{RESULT}: {error}") from error
    if result is not None and not is_text(result.to_json()):
        raise Unfit(f"{RESULT}: a text cannot be written as UTF-8")
    outputs = _strings(OUTPUTS, files.get(OUTPUTS, b"{}"))
    binaries = {path: _decoded(path, text) for path, text in _strings(BINARIES, files.get(BINARIES, b"{}")).items()}
    said = _strings(ERROR, files.get(ERROR, b"{}")).get("error", "")
    objects = {name: content for name, content in files.items() if name not in FILES}
    repeats = _read_repeats(files[REPEATS]) if REPEATS in files else {}
    return Artifact(result, files.get(LOCK), outputs, said, binaries, objects, repeats)


def _of_repeats(repeats: Mapping[str, Repeats]) -> bytes:
    if "" in repeats:
        return json.dumps(asdict(repeats[""]), sort_keys=True).encode()
    return json.dumps({"models": {name: asdict(one) for name, one in repeats.items()}}, sort_keys=True).encode()


def _read_repeats(content: bytes) -> dict[str, Repeats]:
    try:
        told: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"{REPEATS}: this is not JSON: {error}") from error
    if not isinstance(told, dict) or set(told) != {"models"}:
        return {"": _repeats(told)}
    if not isinstance(told["models"], dict) or not all(name and is_text(name) for name in told["models"]):
        raise Unfit(f"{REPEATS}: repeats by the name of their model were expected")
    return {name: _repeats(one) for name, one in told["models"].items()}


def _repeats(told: Any) -> Repeats:
    try:
        sides = [tuple(_repeat(one) for one in told[side]) for side in ("base", "head")]
        failure = told["failure"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Unfit(f"{REPEATS}: this is not what repeats of a training are: {type(error).__name__}") from error
    if set(told) != {"base", "head", "failure"} or not isinstance(failure, str) or not is_text(failure):
        raise Unfit(f"{REPEATS}: base, head and failure were expected")
    return Repeats(sides[0], sides[1], failure)


def _repeat(told: Any) -> Repeat:
    if set(told) != {"seed", "values", "predictions"} or type(told["seed"]) is not int:
        raise Unfit(f"{REPEATS}: a repeat has a seed, values and predictions")
    if told["predictions"] is not None and not OBJECT.fullmatch(told["predictions"]):
        raise Unfit(f"{REPEATS}: the predictions of a repeat are named by their digest")
    values = {str(name): float(value) for name, value in told["values"].items()}
    if not all(map(math.isfinite, values.values())) or not all(map(is_text, values)):
        raise Unfit(f"{REPEATS}: the values of a repeat are finite numbers")
    return Repeat(told["seed"], values, told["predictions"])


def _decoded(path: str, text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise Unfit(f"{BINARIES}: '{path[:200]}' is not Base64") from error


def _files(archive: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
            names = [entry.filename for entry in entries]
            most = len(FILES) + OBJECTS_MOST
            if len(entries) > most:
                raise Unfit(f"it has {len(entries):,} files where {most} are the most")
            if strange := next((name for name in names if name not in FILES and not OBJECT.fullmatch(name)), None):
                raise Unfit(f"it has a file named '{strange[:200]}'; a run leaves {', '.join(FILES)} and objects")
            if len(set(names)) < len(names):
                raise Unfit("it has one file twice")
            contents: dict[str, bytes] = {}
            room = OBJECTS_LIMIT
            for entry in entries:
                content = _content(opened, entry, FILES.get(entry.filename, room))
                room -= len(content) if entry.filename not in FILES else 0
                contents[entry.filename] = content
            return contents
    except Unfit:
        raise
    except Exception as error:  # zipfile raises whatever its decoders and parsers do
        said = str(error) or type(error).__name__
        raise Unfit(f"it is not a whole zip archive: {said}") from error


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    mode = entry.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise Unfit(f"'{entry.filename}' is not a file but a link or something else")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unfit(f"'{entry.filename}' is packed in a way that no runner packs")
    with archive.open(entry) as stream:  # what the entry claims of its size is not believed
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise Unfit(f"'{entry.filename}' has more than {limit:,} bytes")
    return content


def _strings(name: str, content: bytes) -> dict[str, str]:
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"{name}: this is not JSON: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise Unfit(f"{name}: texts by name were expected")
    if not all(is_text(text) for pair in value.items() for text in pair):
        raise Unfit(f"{name}: a text cannot be written as UTF-8")
    return value
