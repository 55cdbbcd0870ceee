"""A small package index on 127.0.0.1, with distributions made on the spot, and locks that name some of them."""

import base64
import hashlib
import importlib.metadata
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Distribution:
    """A file of the index: a wheel or a source archive of one version of a package."""

    name: str
    version: str
    filename: str
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def wheel(
    name: str,
    version: str,
    requires: Sequence[str] = (),
    extras: Mapping[str, Sequence[str]] | None = None,
    files: Mapping[str, str] | None = None,
) -> Distribution:
    """Make a wheel with one module, whose ``VERSION`` is that of the package, or with these files."""
    module = name.replace("-", "_")
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {one}" for one in requires]
    for extra, more in (extras or {}).items():
        metadata += [f"Provides-Extra: {extra}", *(f'Requires-Dist: {one}; extra == "{extra}"' for one in more)]
    told = {f"{module}.py": f"VERSION = {version!r}\n"} if files is None else files
    contents = {path: (text.encode(), 0o644) for path, text in told.items()}
    contents[f"{module}-{version}.dist-info/METADATA"] = ("\n".join(metadata).encode() + b"\n", 0o644)
    return _packed(name, version, "py3-none-any", contents)


def installed_wheel(name: str) -> Distribution:
    """Make a wheel out of a package that is installed here (for one whose real program is wanted)."""
    found = importlib.metadata.distribution(name)
    (tag, *_) = [
        line.removeprefix("Tag: ") for line in (found.read_text("WHEEL") or "").splitlines() if "Tag: " in line
    ]
    contents = {}
    for path in found.files or ():
        if path.name in ("RECORD", "INSTALLER", "REQUESTED", "WHEEL") or "__pycache__" in path.parts:
            continue
        script = path.parts[:-1] == ("..", "..", "..", "bin")
        inside = f"{name}-{found.version}.data/scripts/{path.name}" if script else str(path)
        contents[inside] = (found.locate_file(path).read_bytes(), 0o755 if script else 0o644)  # type: ignore[attr-defined]
    return _packed(name, found.version, tag, contents)


def _packed(name: str, version: str, tag: str, contents: Mapping[str, tuple[bytes, int]]) -> Distribution:
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    about = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    everything = {**contents, f"{info}/WHEEL": (about, 0o644)}
    record = "".join(f"{path},{_digest(data)},{len(data)}\n" for path, (data, _) in everything.items())
    everything[f"{info}/RECORD"] = (f"{record}{info}/RECORD,,\n".encode(), 0o644)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, (data, mode) in everything.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)
    return Distribution(name, version, f"{stem}-{tag}.whl", target.getvalue())


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def source(name: str, version: str, files: Mapping[str, str]) -> Distribution:
    """Make a source archive with these files."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    return Distribution(
        name, version, f"{stem}.tar.gz", tarball({f"{stem}/{p}": t for p, t in {**files, "PKG-INFO": metadata}.items()})
    )


def tarball(files: Mapping[str, str], mode: int = 0o644) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
    return target.getvalue()


def lock(*distributions: Distribution) -> str:
    """Return a requirements lock that pins these files by their hashes."""
    return "".join(f"{one.name}=={one.version} \\\n    --hash=sha256:{one.sha256}\n" for one in distributions)


@dataclass
class Index:
    """What a running index serves, and what it was asked for."""

    url: str
    host: str
    files: list[Distribution]
    others: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def downloads(self) -> set[str]:
        """Return the names of the distributions that were downloaded."""
        return {path.removeprefix("/files/") for path in self.asked if path.startswith("/files/")}

    def answer(self, path: str) -> tuple[bytes, str] | None:
        self.asked.append(path)
        if path in self.others:
            return self.others[path], "application/octet-stream"
        if path.startswith("/files/"):
            wanted = path.removeprefix("/files/")
            return next(((one.content, "application/zip") for one in self.files if one.filename == wanted), None)
        name = path.removeprefix("/simple/").strip("/")
        found = [one for one in self.files if one.name == name]
        links = [f'<a href="/files/{one.filename}#sha256={one.sha256}">{one.filename}</a>' for one in found]
        return ("<!DOCTYPE html><html><body>" + "\n".join(links)).encode(), "text/html" if found else ""


@contextmanager
def serving(*files: Distribution) -> Iterator[Index]:
    """Serve these distributions, as a package index does (PEP 503), until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.wfile.write(self.head())

        def do_HEAD(self) -> None:
            self.head()

        def head(self) -> bytes:
            found = index.answer(self.path.partition("?")[0].replace("%2B", "+"))
            body, kind = found if found is not None and found[1] else (b"", "text/plain")
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = f"http://127.0.0.1:{server.server_port}"
    index = Index(f"{host}/simple", host, list(files))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
