"""What is imported is declared, with bounds; what is declared is imported; private parts of DVC are known by name."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ALWAYS = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
SERVING = ("src/lockgate/serving/", "src/lockgate/commands/serve.py", "src/lockgate/commands/score.py")
NOT_IMPORTED = {
    "hatchling",  # run as a build backend
    "pyopenssl",  # imported by model-signing, which does not declare it
    "dask",  # brings distributed's dataframes
    "psycopg",  # chosen by the address of a database
    "uv",  # run as a program
    "dvc",  # of the extra s3
}


def third_party(folder: Path) -> dict[str, set[str]]:
    """Return distribution → the files that import one of its modules, at their top or inside a function."""
    found: dict[str, set[str]] = {}
    known = packages_distributions()
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in (name.partition(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name not in ("lockgate", "flight_delay"):
                    (distribution,) = set(known[name])
                    found.setdefault(canonicalize_name(distribution), set()).add(path.relative_to(ROOT).as_posix())
    return found


def declared(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


OF_THE_PROJECT = {"great-expectations", "pandas"}
"""What a monitored project may have installed: its suites are asked of recorded requests with it."""


def test_every_import_of_lockgate_is_declared() -> None:
    everything = declared(ALWAYS + [one for lines in EXTRAS.values() for one in lines])
    everything |= OF_THE_PROJECT
    missing = {name: files for name, files in third_party(ROOT / "src/lockgate").items() if name not in everything}
    assert missing == {}


def test_what_only_an_extra_brings_is_imported_by_serving_and_monitoring_alone() -> None:
    always = declared(ALWAYS)
    strays = {
        file
        for name, files in third_party(ROOT / "src/lockgate").items()
        if name not in always
        for file in files
        if not file.startswith(
            (
                "src/lockgate/serving/",
                "src/lockgate/monitoring/",
                *(f"src/lockgate/commands/{name}.py" for name in ("serve", "score", "outcomes", "record", "monitor")),
            )
        )
    }
    assert strays == set()


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    requirements = ALWAYS + [one for lines in EXTRAS.values() for one in lines]
    unbounded = [str(one) for one in requirements if {spec.operator for spec in one.specifier} != {">=", "<"}]
    assert unbounded == []


def test_nothing_is_declared_that_nobody_imports() -> None:
    imported = set(third_party(ROOT / "src/lockgate"))
    assert declared(ALWAYS + EXTRAS["service"]) - imported - NOT_IMPORTED == set()


def test_the_locked_versions_are_within_the_declared_bounds() -> None:
    text = "".join((ROOT / "requirements" / name).read_text() for name in ("lockgate.lock", "service.lock"))
    locked = {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)
    }
    outside = {
        one.name: locked[canonicalize_name(one.name)]
        for one in ALWAYS + EXTRAS["service"]
        if not one.specifier.contains(locked[canonicalize_name(one.name)])
    }
    assert outside == {}
