"""Making a lock: what a requirements file or a ``pyproject.toml`` asks for, resolved once, with hashes."""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from lockgate.dependencies.uv import run_uv
from lockgate.temporary import temporary_folder

PLATFORM = "x86_64-manylinux_2_28"
"""What hosted runners are."""


WITHDRAWN = re.compile(rb"^[ \t]*sklearn[ \t]*([=<>~!][^#;\r\n]*?)?(?=[ \t]*([#;\r\n]|\Z))", re.MULTILINE)
"""A requirement of ``sklearn``, which the index has withdrawn: it only ever brought scikit-learn."""


def compile_lock(files: Mapping[str, bytes], given: str, python: str) -> str:
    """Return the lock of the file ``given`` for that Python, as ``uv pip compile`` makes it; ``files`` are those that
    it may name, itself included. Where packages come from is a setting of the machine and does not stand in the lock.
    Where a text asks for ``sklearn``, it is taken to mean scikit-learn.

    Raises :class:`~lockgate.dependencies.uv.UvMissing`, :class:`~lockgate.dependencies.uv.InstallFailed`.
    """
    with temporary_folder("lock") as folder:
        for name, content in files.items():
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(WITHDRAWN.sub(b"scikit-learn", content) if name.endswith((".txt", ".in")) else content)
        lock = Path(folder, posixpath.dirname(given), ".lockgate-lock")
        options = ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--quiet"]
        options += ["--python-version", python, "--python-platform", PLATFORM, "--output-file", str(lock)]
        run_uv(["pip", "compile", given, *options], given, folder=Path(folder))
        return lock.read_text(encoding="utf-8")
