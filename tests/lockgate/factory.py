"""Small throw-away DVC projects: real git, real DVC, stages that only copy a few bytes.

A stage's command is ``sh stage.sh NAME``: it looks up in ``spec/NAME`` what to read and what to write, so that a test
can change what a stage does, or what it declares, without changing its command.
"""

import json
import logging
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

SCRIPT = """\
set -e
name=$1
read_all() { find $(cat spec/$name.deps) -type f | sort | xargs cat 2>/dev/null; }
for out in $(cat spec/$name.outs); do
  case $out in
    *.json) mkdir -p $(dirname $out); echo "{\\"n\\": $(read_all | wc -c)}" > $out;;
    */) rm -rf $out; mkdir -p $out; read_all | head -c 6 > ${out}one; echo $name > ${out}two;;
    *) mkdir -p $(dirname $out); (echo '{}'; read_all) | head -c 9 > $out;;
  esac
done
"""


@dataclass
class Project:
    """A DVC project in ``root`` with its remote beside it."""

    root: Path
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def remote(self) -> Path:
        """The folder that is the remote."""
        return self.root.parent / "remote"

    @classmethod
    def create(cls, root: Path, repository: Path | None = None) -> "Project":
        """Make an empty project: git (in ``repository``, if it is not the project itself), DVC, a remote."""
        from dvc.repo import Repo

        root.mkdir(parents=True)
        project = cls(root)
        project.git("init", "-q", "-b", "main", str(repository or root))
        quiet()
        Repo.init(str(root), subdir=repository is not None).close()
        project.remote.mkdir(exist_ok=True)
        with (root / ".dvc/config").open("a") as config:
            config.write("[core]\n    remote = local\n['remote \"local\"']\n    url = ../../remote\n")
        project.write("stage.sh", SCRIPT)
        project.write("spec/.gitignore", "")
        return project

    def write(self, path: str, content: str | bytes) -> None:
        """Write a file, and the folders it is in."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    def read(self, path: str) -> str:
        """Return a file's text."""
        return (self.root / path).read_text()

    def git(self, *arguments: str) -> str:
        """Run git in the project."""
        return subprocess.run(["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True).stdout

    def commit(self, message: str = "change") -> str:
        """Commit everything and return the sha."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def stage(
        self,
        name: str,
        *,
        deps: Iterable[str] = (),
        outs: Iterable[Any] = (),
        params: Iterable[Any] = (),
        metrics: Iterable[Any] = (),
        cmd: str | None = None,
        **flags: Any,
    ) -> None:
        """Declare a stage in ``dvc.yaml``; a path that ends in ``/`` is a folder."""
        parts = {"deps": list(deps), "params": list(params), "outs": list(outs), "metrics": list(metrics)}
        self.stages[name] = {
            "cmd": cmd or f"sh stage.sh {name}",
            **{key: value for key, value in parts.items() if value},
            **flags,
        }
        self.save()

    def save(self) -> None:
        """Write ``dvc.yaml``, and what ``stage.sh`` looks up."""
        self.write("dvc.yaml", yaml.safe_dump({"stages": self.stages}, sort_keys=False))
        for name, stage in self.stages.items():
            outs = [path for key in ("outs", "metrics") for item in stage.get(key, []) for path in _paths(item)]
            self.write(f"spec/{name}.outs", "\n".join(outs) + "\n")
            self.write(f"spec/{name}.deps", "\n".join(["/dev/null", *stage.get("deps", [])]) + "\n")

    def add(self, path: str) -> None:
        """Track a file or folder with ``dvc add``."""
        from dvc.repo import Repo

        quiet()
        with Repo(str(self.root)) as repo:
            repo.add(str(self.root / path))

    def repro(self, wrap: Callable[..., Any] | None = None) -> tuple[list[str], Exception | None]:
        """Do ``dvc repro --pull --allow-missing`` in this process; the working directory must be the project.

        Returns the stages that ran, in DVC's sense (restored from the run cache included), the one that failed last,
        and the failure.
        """
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
        from dvc.repo.reproduce import _reproduce_stage

        ran: list[str] = []

        def reproduce(stage: Any, **options: Any) -> Any:
            try:
                result = _reproduce_stage(stage, **options)
            except Exception:
                ran.append(stage.addressing)
                raise
            if result is not None and stage.cmd:
                ran.append(stage.addressing)
            return result

        quiet()
        try:
            with Repo(str(self.root)) as repo:
                repo.reproduce(pull=True, allow_missing=True, repro_fn=wrap or reproduce)
        except DvcException as error:
            return ran, error
        return ran, None

    def push(self, *, runs: bool = True) -> None:
        """Copy the whole cache to the remote, as ``dvc push --run-cache`` would."""
        for part in ("files", "runs") if runs else ("files",):
            if (self.root / ".dvc/cache" / part).exists():
                shutil.copytree(self.root / ".dvc/cache" / part, self.remote / part, dirs_exist_ok=True)

    def forget(self) -> None:
        """Empty the cache and remove every cached output and tracked file, as in a fresh clone."""
        shutil.rmtree(self.root / ".dvc/cache", ignore_errors=True)
        for name in self.git("ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory").split("\0"):
            if name and not name.startswith(".dvc/"):
                target = self.root / name
                shutil.rmtree(target) if target.is_dir() else target.unlink()

    def lock(self) -> dict[str, Any]:
        """Return the stages of ``dvc.lock``."""
        path = self.root / "dvc.lock"
        return (yaml.safe_load(path.read_text()) or {}).get("stages", {}) if path.exists() else {}

    def write_lock(self, stages: dict[str, Any]) -> None:
        """Write ``dvc.lock`` with these stages."""
        self.write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))

    def write_params(self, values: dict[str, Any], path: str = "params.yaml") -> None:
        """Write a params file."""
        self.write(path, json.dumps(values) if path.endswith(".json") else yaml.safe_dump(values, sort_keys=False))


@contextmanager
def working_in_a_copy(template: Path, folder: Path) -> Iterator[Project]:
    """Give a project that is a copy of ``template`` in ``folder``, its remote beside it, and be in it meanwhile."""
    shutil.copytree(template, folder / "project")
    (folder / "remote").mkdir()
    made = Project(folder / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.root)
        yield made


def chain(project: Project) -> None:
    """Declare ingest → prepare → train → evaluate, with code, data, parameters, an environment lock and a metric."""
    project.write("data/raw.csv", "a,b\n1,2\n")
    project.add("data/raw.csv")
    for name in ("ingest", "prepare", "train", "evaluate"):
        project.write(f"src/{name}.py", f"# {name}\n")
    project.write("requirements/pipeline.lock", "numpy==2.0\n")
    project.write_params({"prepare": {"share": 0.2}, "train": {"lr": 0.1, "depth": 3}})
    project.stage("ingest", deps=["data/raw.csv", "src/ingest.py"], outs=["data/table"])
    project.stage("prepare", deps=["data/table", "src/prepare.py"], params=["prepare"], outs=["data/ready/"])
    project.stage(
        "train",
        deps=["data/ready/", "src/train.py", "requirements/pipeline.lock"],
        params=["train.lr", "train.depth"],
        outs=["models/model.bin"],
    )
    project.stage(
        "evaluate",
        deps=["models/model.bin", "data/ready/", "src/evaluate.py"],
        metrics=[{"reports/metrics.json": {"cache": False}}],
    )


def quiet() -> None:
    """Keep DVC's log off the terminal."""
    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _paths(item: Any) -> list[str]:
    return [item] if isinstance(item, str) else list(item)
