"""What a build may hold: files of kinds that are known, and no pickle under whatever name, because unpickling runs what
the file says.

A file is known as a pickle by its name or by how it begins. Archives and compressed files are looked into at every
depth, within bounds; those that cannot be (encrypted, damaged, too deep, too large, of a kind that nothing here reads)
are refused. Nothing is ever unpickled to find out.
"""

import ast
import bz2
import gzip
import lzma
import pickletools
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
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


class NotLookedInto(LockgateError):  # noqa: N818
    """A file is, or holds, something that cannot be looked into."""

    def __init__(self, path: str, why: str) -> None:
        """Name the file and what is in the way."""
        super().__init__(f"{path} {why}", "Leave it out of the build, or save it in another way.")


def refuse_pickle(path: str, content: IO[bytes]) -> None:
    """Raise :class:`PickleFound` if the file is or holds a pickle, :class:`NotLookedInto` if that cannot be said, or if
    it is of no known kind.

    An array file of Python objects (``.npy`` with an ``O`` type) holds one too.
    """
    if named_as_pickle(path):
        raise PickleFound(path, "by its name")
    kind = _Inspection(path).look(content, "", 0)
    if kind == "data" and PurePosixPath(path).suffix.lower() not in _KINDS:
        raise NotLookedInto(path, "is of no known kind: it is neither text nor named as one")


class _Inspection:
    """One file of a build, and all that is in it."""

    def __init__(self, path: str) -> None:
        self.path, self.left, self.members = path, _MOST_BYTES, _MOST_MEMBERS

    def look(self, content: IO[bytes], inside: str, depth: int) -> str:
        """Look at what may be sought in, and return ``archive``, ``array``, ``text`` or ``data``."""
        if depth > _DEEPEST:
            raise NotLookedInto(self.path, f"holds archives more than {_DEEPEST} deep")
        start = content.read(512)
        content.seek(0)
        where = f"its member {inside}" if inside else "by its content"
        for magic, name in _SEALED.items():
            if start.startswith(magic):
                raise NotLookedInto(self.path, f"is or holds ({where}) a {name} file, which is not looked into")
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")) or zipfile.is_zipfile(content):
            self._zip(content, start, inside, depth)
        elif _is_tar(start):
            self._tar(content, inside, depth)
        elif start.startswith(b"\x93NUMPY"):
            self._array(content, where)
            return "array"
        elif (opener := _opener(start)) is not None:
            with self._unpacked(opener, content, inside) as unpacked:
                self.look(unpacked, f"{inside}, compressed".lstrip(", "), depth + 1)
        else:
            content.seek(0)
            head = content.read(_HEAD)
            if _unpickles(head):
                raise PickleFound(self.path, where)
            return "text" if _is_text(head) else "data"
        return "archive"

    def _zip(self, content: IO[bytes], start: bytes, inside: str, depth: int) -> None:
        content.seek(0)
        if not start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            raise NotLookedInto(self.path, f"has a zip archive behind something else ({inside or 'at its end'})")
        try:
            archive = zipfile.ZipFile(content)
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise NotLookedInto(self.path, f"begins as a zip file and is none: {error}") from None
        with archive:
            members = archive.infolist()
            if members and min(member.header_offset for member in members) != 0:
                raise NotLookedInto(self.path, "has a zip archive behind something else")
            for member in members:
                name = f"{inside}/{member.filename}".lstrip("/")
                self._named(member.filename, name)
                if member.is_dir():
                    continue
                with self._unpacked(lambda _, one=member: archive.open(one), content, name) as unpacked:
                    self.look(unpacked, name, depth + 1)

    def _tar(self, content: IO[bytes], inside: str, depth: int) -> None:
        content.seek(0)
        try:
            with tarfile.open(fileobj=content, mode="r:") as archive:
                for member in archive:
                    name = f"{inside}/{member.name}".lstrip("/")
                    self._named(member.name, name)
                    if member.isfile():
                        with self._unpacked(lambda _, one=member: archive.extractfile(one), content, name) as unpacked:
                            self.look(unpacked, name, depth + 1)
        except (tarfile.TarError, ValueError, OSError) as error:
            raise NotLookedInto(self.path, f"holds a damaged tar archive: {error}") from None

    def _named(self, name: str, shown: str) -> None:
        self.members -= 1
        if self.members < 0:
            raise NotLookedInto(self.path, f"holds more than {_MOST_MEMBERS:,} files")
        if named_as_pickle(name):
            raise PickleFound(self.path, f"its member {shown}")

    def _array(self, content: IO[bytes], where: str) -> None:
        """Read the header of an array as NumPy does, without NumPy's leniency."""
        content.seek(6)
        version = content.read(2)
        size = 2 if version[:1] == b"\x01" else 4
        length = int.from_bytes(content.read(size), "little")
        if version[:1] not in (b"\x01", b"\x02", b"\x03") or length > _LONGEST_HEADER:
            raise NotLookedInto(self.path, f"holds ({where}) an array whose header is not read")
        try:
            header = ast.literal_eval(content.read(length).decode("utf-8" if version[0] == 3 else "latin-1").strip())
            objects = _holds_objects(header["descr"])
            good = isinstance(header, dict) and header.keys() == {"descr", "fortran_order", "shape"}
        except (ValueError, SyntaxError, KeyError, IndexError, TypeError, MemoryError, RecursionError):
            good, objects = False, False
        if objects:
            raise PickleFound(self.path, f"{where}: an array of Python objects")
        if not good:
            raise NotLookedInto(self.path, f"holds ({where}) an array whose header is not read")

    @contextmanager
    def _unpacked(self, opener: Any, content: IO[bytes], name: str) -> Iterator[IO[bytes]]:
        """Give what an opener unpacks, as a file that can be sought in. Raises :class:`NotLookedInto`."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as unpacked:
            try:
                content.seek(0)
                with opener(content) as source:
                    while chunk := source.read(_CHUNK):
                        self.left -= len(chunk)
                        if self.left < 0:
                            raise NotLookedInto(self.path, f"unpacks to more than {_MOST_BYTES:,} bytes")
                        unpacked.write(chunk)
            except LockgateError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a hostile archive breaks
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise NotLookedInto(self.path, f"cannot be looked into at {name or 'its beginning'}: {said}") from None
            unpacked.seek(0)
            yield unpacked


def _opener(start: bytes) -> Any:
    """Return what opens a compressed file that begins like this, ``None`` if it is not one."""
    for magic, opener in _COMPRESSED.items():
        if re.match(magic, start, re.DOTALL):
            return opener
    if start[:1] == b"\x78" and len(start) > 1 and (start[0] * 256 + start[1]) % 31 == 0:
        unpacker = zlib.decompressobj()
        try:
            if unpacker.decompress(start) or unpacker.eof:
                return _Zlib
        except zlib.error:
            pass  # text that begins with "x^"
    return None


def _arrow_stream(content: IO[bytes], compression: str) -> Any:
    import pyarrow as pa

    return pa.input_stream(pa.PythonFile(_LeftOpen(content), mode="r"), compression=compression)


class _LeftOpen:
    """A file that whoever reads it does not close."""

    closed = False

    def __init__(self, content: IO[bytes]) -> None:
        self.read, self.seek, self.tell = content.read, content.seek, content.tell

    def close(self) -> None:
        """Do nothing."""


class _Zlib:
    """A zlib stream as a file."""

    def __init__(self, content: IO[bytes]) -> None:
        self.content, self.unpacker = content, zlib.decompressobj()

    def __enter__(self) -> "_Zlib":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        while not self.unpacker.eof:
            data = self.unpacker.unconsumed_tail or self.content.read(_CHUNK)
            if not data:
                raise zlib.error("it is cut off")
            if unpacked := self.unpacker.decompress(data, size):
                return unpacked
        return b""


def _is_tar(start: bytes) -> bool:
    if len(start) < 512 or not start.strip(b"\0"):
        return False
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if len(head) < _HEAD or error.start < len(head) - 4:  # not a character that the end of the head cuts
            return False
    return b"\0" not in head


def _holds_objects(descr: Any) -> bool:
    """Say whether a type as array files write it has Python objects in it; it may be nested."""
    if isinstance(descr, str):
        return "O" in descr
    if isinstance(descr, tuple):  # a type and its shape
        return _holds_objects(descr[0])
    if isinstance(descr, list):  # fields: name, type and perhaps shape
        return any(_holds_objects(field[1]) for field in descr)
    raise ValueError("a type of another form")


# what a file may be named, if it is not text; text, arrays and archives are known by their content
_MODELS = "bin model bst ubj ubjson cbm onnx safetensors gguf tflite pb pmml mlmodel weights npy npz h5 hdf5"
_TABLES = "parquet arrow feather avro orc sqlite db"
_PICTURES = "png jpg jpeg gif webp pdf ico woff woff2"
_KINDS = frozenset(f".{ending}" for endings in (_MODELS, _TABLES, _PICTURES) for ending in endings.split())
_SEALED = {
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
    b"MSCF": "CAB",
    b"\x1f\x9d": "compress",
    b"\x1f\xa0": "compress",
    b"\x89LZO": "lzop",
    b"LZIP": "lzip",
    b"!<arch>\n": "ar",
    b"070701": "cpio",
    b"070702": "cpio",
    b"070707": "cpio",
    b"\xff\x06\x00\x00sNaPpY": "snappy",
    **{bytes([0x50 + number]) + b"\x2a\x4d\x18": "skippable frame's" for number in range(16)},
    b"\x02\x21\x4c\x18": "old lz4",
}
_COMPRESSED: dict[bytes, Any] = {
    rb"\x1f\x8b": lambda content: gzip.GzipFile(fileobj=content, mode="rb"),
    rb"BZh[1-9](\x31\x41\x59\x26\x53\x59|\x17\x72\x45\x38\x50\x90)": bz2.BZ2File,
    rb"\xfd7zXZ\x00|\]\x00\x00": lzma.LZMAFile,
    rb"\x28\xb5\x2f\xfd": lambda content: _arrow_stream(content, "zstd"),
    rb"\x04\x22\x4d\x18": lambda content: _arrow_stream(content, "lz4"),
}
_HEAD = 2**16
_CHUNK = 2**18
_IN_MEMORY = 2**24
_DEEPEST = 5  # archives in one another
_MOST_MEMBERS = 200_000
_MOST_BYTES = 64 * 2**30  # of all that one file unpacks to
_LONGEST_HEADER = 10_000  # of an array, as NumPy itself allows
_ENOUGH = 200  # this many opcodes in a row that find what they need on the stack are no accident
_NAMING = frozenset({"GLOBAL", "STACK_GLOBAL", "INST"})  # opcodes that import, and those that then call
_CALLING = frozenset({"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"})


def _head(content: IO[bytes]) -> bytes:
    """Return the first bytes, fewer where decompression fails: what cannot be read cannot be unpickled either."""

    try:
        return content.read(_HEAD)
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError):
        return b""


def _unpickles(head: bytes) -> bool:
    """Say whether a file that begins with ``head`` is a pickle of any protocol, or several one after another.

    Random bytes are, about once in 2,000 times, a tiny pickle with something behind it: ``N.`` is ``None``. So values
    without code that nothing marks as a pickle count only if the file ends with them; code counts wherever it stands.
    """
    start = 0
    while start < len(head):
        found, end = _one_pickle(head, start)
        if found is not None:
            return found
        start = end
    return start > 0  # values alone, up to the last byte


def _one_pickle(head: bytes, start: int) -> tuple[bool | None, int]:
    """Say whether ``head`` has a pickle at ``start``, and where it ends; ``None`` is one of values alone, unmarked."""
    marked = re.compile(rb"\x80[\x00-\x05]").match(head, start) is not None
    named = False  # something of a module was asked for
    stack: list[Any] = []
    try:
        for read, (opcode, _, place) in enumerate(pickletools.genops(head[start:]), 1):
            if not _apply(opcode, stack):
                return False, start
            named |= opcode.name in _NAMING
            if read == _ENOUGH or (named and (marked or opcode.name in _CALLING)):
                return True, start
            if opcode.name == "STOP":
                return marked or named or None, start + (place or 0) + 1
    except (ValueError, IndexError, KeyError) as error:
        return marked and "unknown" not in str(error), start  # it goes on behind the head, or is none
    return False, start


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
