"""Tiny packages with real wheels, and a package index of them on this machine: what tests of dependencies install."""

import base64
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class File:
    """A file of a package, and the line of a lock that pins it."""

    path: Path
    name: str
    version: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n"


def wheel(folder: Path, name: str, version: str, code: str, *, tag: str = "py3-none-any", requires: str = "") -> File:
    """Write a wheel of one module, with a program ``say-NAME`` that prints its version."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{module}.py": f"{code}\n\ndef say():\n    print({version!r})\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\nsay-{name} = {module}:say\n",
    }
    records = [f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items()]
    files[f"{info}/RECORD"] = "".join([*records, f"{info}/RECORD,,\n"])
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content)
    return File(target, name, version)


def source(folder: Path, name: str, version: str, code: str, backend: str) -> File:
    """Write a source distribution of one module, built by the module ``backend`` of a package of the same name."""
    project = f'[build-system]\nrequires = ["{backend}"]\nbuild-backend = "{backend}"\n'
    files = {
        "pyproject.toml": f'{project}[project]\nname = "{name}"\nversion = "{version}"\n',
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{name}.py": code,
    }
    target = folder / f"{name}-{version}.tar.gz"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return File(target, name, version)


BACKEND = """
import pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    project = pathlib.Path("pyproject.toml").read_text()
    name, version = (project.split(f'{key} = "')[1].split('"')[0] for key in ("name", "version"))
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, f"{name}-{version}-py3-none-any.whl"), "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.py"), pathlib.Path(f"{name}.py").read_text())
        archive.writestr(zipfile.ZipInfo(f"{info}/METADATA"), f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/WHEEL"), "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
    return f"{name}-{version}-py3-none-any.whl"
"""  # noqa: E501


@contextmanager
def index(folder: Path) -> Iterator[str]:
    """Serve the packages in ``folder`` on 127.0.0.1 as a package index, and give its address."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/").removeprefix("simple/")
            if self.path.startswith("/simple/"):
                found = [one for one in folder.iterdir() if _project(one.name) == name]
                links = "".join(f'<a href="/{one.name}#sha256={_hex(one)}">{one.name}</a>\n' for one in found)
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(f"<html><body>{links}</body></html>".encode())
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        finally:
            server.shutdown()


def _project(file: str) -> str:
    return file.rsplit("-", 1 if file.endswith(".tar.gz") else 4)[0].replace("_", "-").lower()


def _hex(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(content: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()


def host(folder: Path, shelf: Path, *names: str) -> File:
    """Write a wheel ``pyarrow`` that brings these packages (none named: all) of the environment of this interpreter."""
    import pyarrow as pa

    home = Path(pa.__file__).parents[1]
    shelf.mkdir(parents=True, exist_ok=True)
    for path in home.iterdir():
        if path.name.partition(".")[0] in names:
            (shelf / path.name).symlink_to(path)
    info = f"pyarrow-{pa.__version__}.dist-info"
    target = folder / f"pyarrow-{pa.__version__}-py3-none-any.whl"
    files = {
        "of_this_machine.pth": f"{shelf if names else home}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: pyarrow\nVersion: {pa.__version__}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(target, "w") as archive:
        for path_, content in files.items():
            archive.writestr(zipfile.ZipInfo(path_), content)
    return File(target, "pyarrow", pa.__version__)
