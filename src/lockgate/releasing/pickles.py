"""No build holds a pickle, under whatever name: unpickling runs what the file says.

A file is known as a pickle by its name or by how it begins; also inside a zip archive, or compressed. Nothing is ever
unpickled to find out.
"""

import bz2
import gzip
import io
import itertools
import lzma
import pickletools
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any

from lockgate.errors import LockgateError

_NAMES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill", ".cloudpickle")


class PickleFound(LockgateError):  # noqa: N818 - named for what the user reads
    """A file is, or holds, a pickle."""

    def __init__(self, path: str, why: str) -> None:
        """Name the file and what gave it away."""
        super().__init__(
            f"{path} is a pickle ({why}): a build must be readable without running it",
            "Save the model in a format without code, such as skops, ONNX or safetensors.",
        )


def named_as_pickle(path: str) -> bool:
    """Say whether the file's name has an ending that stands for a pickle."""
    return path.lower().endswith(_NAMES)


def refuse_pickle(path: str, content: IO[bytes]) -> None:
    """Raise :class:`PickleFound` if the name or the content is a pickle's, also inside a zip or a compressed file.

    An array file of Python objects (``.npy`` with an ``O`` type) holds one too.
    """
    if named_as_pickle(path):
        raise PickleFound(path, "by its name")
    start = content.read(8)
    content.seek(0)
    if start.startswith(b"PK\x03\x04"):
        _refuse_in_zip(path, content)
    elif opener := _COMPRESSED.get(start[:2]):
        with opener(content) as inside:
            if _unpickles(_head(inside)):
                raise PickleFound(path, "compressed")
    elif _unpickles(_head(content)):
        raise PickleFound(path, "by its content")


def _refuse_in_zip(path: str, content: IO[bytes]) -> None:

    try:
        archive = zipfile.ZipFile(content)
    except zipfile.BadZipFile as error:
        raise LockgateError(f"{path} begins as a zip file and is none: {error}", "Make the file anew.") from None
    with archive:
        for name in archive.namelist():
            if named_as_pickle(name):
                raise PickleFound(path, f"its member {name}")
            try:
                with archive.open(name) as member:
                    pickled = _unpickles(_head(member))
            except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:  # encrypted, or of unknown method
                raise LockgateError(f"{path}: its member {name} cannot be looked into: {error}") from None
            if pickled:
                raise PickleFound(path, f"its member {name}")


def _open_zlib(content: IO[bytes]) -> Any:

    return io.BytesIO(zlib.decompressobj().decompress(content.read(_HEAD), _HEAD))


_COMPRESSED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda content: gzip.GzipFile(fileobj=content),
    b"BZ": bz2.BZ2File,
    b"\xfd7": lzma.LZMAFile,
    b"]\x00": lzma.LZMAFile,
    **{b"\x78" + level: _open_zlib for level in (b"\x01", b"\x5e", b"\x9c", b"\xda")},
}
_HEAD = 2**16
_ENOUGH = 200  # this many opcodes in a row that find what they need on the stack are no accident


def _head(content: IO[bytes]) -> bytes:
    """Return the first bytes, fewer where decompression fails: what cannot be read cannot be unpickled either."""

    try:
        return content.read(_HEAD)
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError):
        return b""


def _unpickles(head: bytes) -> bool:
    """Say whether ``head`` is how a pickle, of any protocol, begins."""

    if re.match(rb"\x80[\x00-\x05]", head):
        return True
    if head.startswith(b"\x93NUMPY"):
        return re.search(rb"'descr':[^}]*O", head[:1024]) is not None
    stack: list[Any] = []
    try:
        for read, (opcode, _, _) in enumerate(itertools.islice(pickletools.genops(head), _ENOUGH), 1):
            if not _apply(opcode, stack):
                return False
            if opcode.name == "STOP" or read == _ENOUGH:
                return True
    except (ValueError, IndexError, KeyError):
        pass
    return False


def _apply(opcode: pickletools.OpcodeInfo, stack: list[Any]) -> bool:
    """Do to ``stack`` what the opcode would, with kinds for values; return whether it could. Text soon cannot."""
    mark, taken = pickletools.markobject, list(opcode.stack_before)
    if mark in taken or (opcode.name == "POP" and stack and stack[-1] is mark):
        if mark not in stack:
            return False
        del stack[len(stack) - 1 - stack[::-1].index(mark) :]
        taken = taken[: taken.index(mark)] if mark in taken else []
    if len(taken) > len(stack):
        return False
    del stack[len(stack) - len(taken) :]
    stack += opcode.stack_after
    return True
