"""The walls of the house: who may import whom, who may touch the world, and that importing anything does nothing."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
MODULES = {str(path.relative_to(SRC)): path for path in sorted(SRC.rglob("*.py"))}

# Each driver of the outside world, and the only modules (or folders) that may use it.
DRIVERS: dict[str, set[str]] = {
    "subprocess": {
        "lockgate/releasing/build.py",  # the build backend, for the wheel of the model
        "lockgate/git.py",
        "lockgate/dependencies/",  # uv, and the interpreters of what it installs
        "lockgate/releasing/prepare.py",  # the model's own code, in a process without rights
        "lockgate/forge/cml.py",
        "lockgate/dvc/confined.py",  # Lockgate's own commands on others' files, in the sandbox of stages
        "lockgate/dvc/stages.py",  # dvc repro, watched
        "lockgate/serving/process.py",  # the model's worker
    },
    "obstore": {"lockgate/store.py"},
    "fsspec": {"flight_delay/ingest.py"},
    "sqlalchemy": {
        *(f"lockgate/commands/{name}.py" for name in ("outcomes", "record", "score")),  # what it raises
        *(f"lockgate/monitoring/{name}.py" for name in ("forgetting", "outcome_input", "outcome_store", "scores")),
        "lockgate/serving/",  # the tables of a batch; the record of scores
    },
    "http": {"lockgate/forge/github.py", "lockgate/forge/webhook.py"},
    "urllib.request": {
        "lockgate/forge/webhook.py",
        "lockgate/dependencies/advisories.py",
        "lockgate/dependencies/collect.py",
        "lockgate/forge/github.py",
    },
    "requests": set(),
    "httpx": set(),
    "multiprocessing": set(),
}
# These take values and return values: what they say can be tested, and trusted, without a world around them.
PURE = (
    *("errors", "dependencies/lock", "formatting", "result", "strict_yaml"),
    *(f"evaluation/{name}" for name in ("compare", "gates", "metric_files", "statistics", "verdict")),
    *(
        name.removeprefix("lockgate/").removesuffix(".py")
        for name in MODULES
        if name.startswith("lockgate/rendering/") and name != "lockgate/rendering/render.py"
    ),
)
PICKLING = {"pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal", "_pickle", "jsonpickle"}
WRITING = {
    "write_text",
    "write_bytes",
    "unlink",
    "mkdir",
    "touch",
    "rmdir",
    "symlink_to",
    "hardlink_to",
    "chmod",
    "rmtree",
}
WORLD = {"subprocess", "socket", "shutil", "tempfile", "fcntl", "signal", *DRIVERS}


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> Iterator[str]:
    """Yield each module that a file imports, at its top or inside a function, with the names taken from it."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def uses(path: Path, package: str) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for name in imports(path))


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in nodes(path) if isinstance(node, ast.Call))


def test_the_contracts_of_pyproject_hold_through_every_chain_of_imports() -> None:
    """Neither package imports the other, wings import downwards only, judgement and rendering have no effects."""
    done = lint_imports(SRC)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_an_import_upwards_breaks_a_contract(tmp_path: Path) -> None:
    shutil.copytree(SRC, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SRC.parent / "pyproject.toml", tmp_path)
    policy, gates = tmp_path / "src/lockgate/policy/document.py", tmp_path / "src/lockgate/evaluation/gates.py"
    policy.write_text(policy.read_text() + "\n\ndef late() -> None:\n    import lockgate.serving.service\n")
    gates.write_text(gates.read_text() + "\n\ndef late() -> None:\n    import flight_delay.files\n")
    done = lint_imports(tmp_path / "src")
    assert done.returncode == 1
    assert "3 broken" in done.stdout


def lint_imports(source: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=source.parent, capture_output=True,
        text=True, check=False, env=os.environ | {"PYTHONPATH": str(source)},
    )  # fmt: skip


def test_lockgate_knows_the_pipeline_by_its_files_and_not_by_the_names_of_its_code() -> None:
    named = [
        name
        for name, path in MODULES.items()
        if name.startswith("lockgate/")
        for node in nodes(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "flight_delay." in node.value
    ]
    assert named == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_of_the_outside_world_is_used_where_it_is_at_home_and_nowhere_else(driver: str) -> None:
    users = {name for name, path in MODULES.items() if uses(path, driver)}
    homes = tuple(DRIVERS[driver])
    assert [name for name in sorted(users) if not name.startswith(homes)] == []


def test_the_pipeline_writes_files_in_one_place_and_starts_no_program() -> None:
    writers = set()
    for name, path in MODULES.items():
        if name.startswith("flight_delay/"):
            methods = {call.func.attr for call in calls(path) if isinstance(call.func, ast.Attribute)}
            assert not uses(path, "subprocess"), name
            if methods & WRITING or any(to_write(call) for call in calls(path)):
                writers.add(name)
    assert writers == {"flight_delay/files.py"}


def to_write(call: ast.Call) -> bool:
    """Whether a call opens a file to write."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    modes = [a.value for a in [*call.args, *(k.value for k in call.keywords)] if isinstance(a, ast.Constant)]
    return name in ("open", "fdopen") and any(isinstance(m, str) and set(m) & set("wax+") and len(m) < 4 for m in modes)


@pytest.mark.parametrize("name", PURE)
def test_a_module_of_values_touches_nothing(name: str) -> None:
    path = MODULES[f"lockgate/{name}.py"]
    assert [package for package in WORLD if uses(path, package)] == []
    assert [m for m in ("git", "dvc.objects", "store", "dvc.stages") if uses(path, f"lockgate.{m}")] == []
    methods = {call.func.attr for call in calls(path) if isinstance(call.func, ast.Attribute)}
    assert methods & WRITING == set()
    assert not any(to_write(call) for call in calls(path))


def test_nothing_that_unpickles_is_imported_or_switched_on_anywhere() -> None:
    for name, path in MODULES.items():
        assert [package for package in PICKLING if uses(path, package)] == [], name
        for call in calls(path):
            method = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            assert method not in ("read_pickle", "get_untrusted_types", "eval", "exec"), name
            switched = {k.arg for k in call.keywords if isinstance(k.value, ast.Constant) and k.value.value is True}
            assert not switched & {"allow_pickle", "trusted", "weights_only"}, name


QUIET_IMPORT = """
import importlib, sys
done = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        done.append(f"open {arguments[0]}")
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.fork", "socket.connect", "socket.bind", "os.mkdir",
                   "os.remove", "os.rename", "shutil.rmtree", "os.chdir"):
        done.append(f"{event} {arguments}")
sys.addaudithook(watch)
for name in sys.argv[1:]:
    importlib.import_module(name)
sys.stdout.write("\\n".join(done))
"""


def test_importing_any_module_writes_starts_connects_and_prints_nothing(tmp_path: Path) -> None:
    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in MODULES]
    chosen = [name for name in names if not name.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-c", QUIET_IMPORT, *chosen], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(SRC), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["lockgate", "flight_delay"])
def test_a_test_stands_where_its_module_stands(package: str) -> None:
    """``src/lockgate/dvc/plan.py`` is tested in ``tests/lockgate/dvc/test_plan.py``, a part in ``test_plan_*.py``."""
    strays = []
    for path in sorted((SRC.parent / "tests" / package).rglob("test_*.py")):
        folder = SRC / package / path.parent.relative_to(SRC.parent / "tests" / package)
        about = path.stem.removeprefix("test_")
        if not any(
            about == name or about.startswith(f"{name}_") for name in (each.stem for each in folder.glob("*.py"))
        ):
            strays.append(path.relative_to(SRC.parent).as_posix())
    assert strays == []
