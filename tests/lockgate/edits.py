"""Random edits of a small pipeline, of the sort that people, merges and machines make."""

import shutil
from collections.abc import Callable
from random import Random
from typing import Any

from tests.lockgate.factory import Project


def random_project(project: Project, rng: Random) -> None:
    """Fill an empty project with a pipeline of three to five stages that uses every sort of input and output."""
    for name in ("a", "b", "c"):
        project.write(f"code/{name}.py", f"# {name}\n")
    project.write("lib/one.py", "# one\n")
    project.write("lib/two.py", "# two\n")
    project.write("env.lock", "pin==1\n")
    project.write_params({"x": 1, "nested": {"lr": 0.1, "deep": {"k": [1, 2]}}, "unused": 0})
    project.write_params({"j": 1}, "other.json")
    project.write("raw/file.csv", "1\n")
    project.write("raw/folder/f", "2\n")
    project.write("raw/folder/g", "3\n")
    project.add("raw/file.csv")
    project.add("raw/folder")
    for number in range(rng.randint(3, 5)):
        add_stage(project, rng, f"s{number}")


def add_stage(project: Project, rng: Random, name: str) -> None:
    """Declare a stage that reads what is there."""
    outs: list[Any] = [f"out/{name}" + rng.choice(["", "", "/"])]
    if rng.random() < 0.2:
        outs.append(f"out/{name}.more")
    metrics = [{f"metrics/{name}.json": {"cache": False}}] if rng.random() < 0.3 else []
    deps = rng.sample(inputs(project), rng.randint(1, 3)) if rng.random() < 0.95 else []
    params = rng.sample(PARAMS, rng.randint(0, 2))
    project.stage(name, deps=without_overlap(deps), outs=outs, metrics=metrics, params=params)


PARAMS: list[Any] = ["x", "nested", "nested.lr", "nested.deep.k", {"other.json": ["j"]}, {"other.json": []}]


def inputs(project: Project) -> list[str]:
    """Return every path that a stage could read; the outputs of stages more than once."""
    sources = ["code/a.py", "code/b.py", "code/c.py", "lib/", "env.lock", "raw/file.csv", "raw/folder", "raw/folder/f"]
    return sources + 3 * [out for stage in project.stages.values() for out in outputs(stage)]


def outputs(stage: dict[str, Any]) -> list[str]:
    """Return what a stage writes; of a folder, also a file in it."""
    found = [p for key in ("outs", "metrics") for i in stage.get(key, []) for p in ([i] if isinstance(i, str) else i)]
    return found + [f"{path}one" for path in found if path.endswith("/")]


def without_overlap(paths: list[str]) -> list[str]:
    """Drop paths that are twice there."""
    return list(dict.fromkeys(paths))


def edit_param(project: Project, rng: Random) -> None:
    path = rng.choice(["x", "lr", "k", "unused", "json", "gone"])
    values = {"x": 1, "nested": {"lr": 0.1, "deep": {"k": [1, 2]}}, "unused": 0}
    if path == "json":
        project.write_params({"j": rng.choice([1, 2]), "more": rng.random()}, "other.json")
    elif path == "x":
        values["x"] = rng.choice([1, 1.0, True, 2, "1", None])
    elif path == "lr":
        values["nested"]["lr"] = rng.choice([0.1, 0.2, 1e-5])  # type: ignore[index]
    elif path == "k":
        values["nested"]["deep"] = rng.choice([{"k": [1]}, {"k": [1, 2]}, {"k": [1, 2], "z": 0}])  # type: ignore[index]
    elif path == "unused":
        values["unused"] = rng.random()
    elif rng.random() < 0.2:
        values.pop("x")
    project.write_params(values)


def edit_code(project: Project, rng: Random) -> None:
    path = rng.choice(["code/a.py", "code/b.py", "code/c.py", "lib/one.py", "lib/new.py", "env.lock"])
    project.write(path, f"# {rng.choice([path, 'x', 'y'])}\n")


def delete_code(project: Project, rng: Random) -> None:
    if rng.random() < 0.3:
        (project.root / rng.choice(["code/a.py", "code/b.py", "lib/two.py"])).unlink(missing_ok=True)


def edit_data_here(project: Project, rng: Random) -> None:
    project.write(rng.choice(["raw/file.csv", "raw/folder/f", "raw/folder/h"]), f"{rng.randint(0, 9)}\n")


def add_data(project: Project, rng: Random) -> None:
    path = rng.choice(["raw/file.csv", "raw/folder"])
    if (project.root / path).exists():
        project.write("raw/file.csv" if path == "raw/file.csv" else "raw/folder/f", f"{rng.randint(0, 9)}\n")
        project.add(path)


def new_data_elsewhere(project: Project, rng: Random) -> None:
    """New data was added on another machine: the ``.dvc`` file is here, the data is not."""
    add_data(project, rng)
    fresh_clone(project, rng)


def edit_command(project: Project, rng: Random) -> None:
    name = rng.choice(list(project.stages))
    project.stages[name]["cmd"] = rng.choice(
        [f"sh stage.sh {name}", f"sh stage.sh {name} ", ["true", f"sh stage.sh {name}"]]
    )


def new_stage(project: Project, rng: Random) -> None:
    if len(project.stages) < 6:
        add_stage(project, rng, f"n{rng.randint(0, 3)}")


def remove_stage(project: Project, rng: Random) -> None:
    if len(project.stages) > 2:
        del project.stages[rng.choice(list(project.stages))]


def rename_stage(project: Project, rng: Random) -> None:
    name = rng.choice(list(project.stages))
    stage = project.stages.pop(name)
    project.stages[f"r{rng.randint(0, 99)}"] = stage


def add_dep(project: Project, rng: Random) -> None:
    """A later stage reads one thing more, of what earlier stages write or of the sources."""
    names = list(project.stages)
    at = rng.randrange(len(names))
    earlier = Project(project.root, {name: project.stages[name] for name in names[:at]})
    stage = project.stages[names[at]]
    stage["deps"] = without_overlap([*stage.get("deps", []), rng.choice(inputs(earlier))])


def remove_dep(project: Project, rng: Random) -> None:
    stage = project.stages[rng.choice(list(project.stages))]
    if len(stage.get("deps", [])) > 1:
        stage["deps"].pop(rng.randrange(len(stage["deps"])))


def add_param(project: Project, rng: Random) -> None:
    stage = project.stages[rng.choice(list(project.stages))]
    stage["params"] = [*stage.get("params", []), rng.choice(PARAMS)]


def add_out(project: Project, rng: Random) -> None:
    name = rng.choice(list(project.stages))
    project.stages[name]["outs"] = [*project.stages[name]["outs"], f"out/{name}.extra{rng.randint(0, 9)}"]


def delete_out(project: Project, rng: Random) -> None:
    remove(project, rng.choice([out for stage in project.stages.values() for out in outputs(stage)]))


def tamper_with_out(project: Project, rng: Random) -> None:
    path = rng.choice([out for stage in project.stages.values() for out in outputs(stage)])
    if (project.root / path).is_file():
        remove(project, path)
        project.write(path, rng.choice(["{}", "tampered", "{}\n1"]))


def empty_cache(project: Project, rng: Random) -> None:
    project.push(runs=rng.random() < 0.5)
    shutil.rmtree(project.root / ".dvc/cache", ignore_errors=True)


def fresh_clone(project: Project, rng: Random) -> None:
    project.push(runs=rng.random() < 0.5)
    project.forget()


def drop_lock_entry(project: Project, rng: Random) -> None:
    stages = project.lock()
    if stages:
        del stages[rng.choice(list(stages))]
        project.write_lock(stages)


def drop_lock(project: Project, rng: Random) -> None:
    if rng.random() < 0.3:
        (project.root / "dvc.lock").unlink(missing_ok=True)


def toggle(project: Project, rng: Random) -> None:
    stage = project.stages[rng.choice(list(project.stages))]
    flag = rng.choice(["frozen", "always_changed"])
    stage[flag] = rng.random() < 0.3


def nothing(project: Project, rng: Random) -> None:
    project.write("README.md", f"{rng.random()}\n")


def remove(project: Project, path: str) -> None:
    target = project.root / path
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


EDITS: list[Callable[[Project, Random], None]] = [
    *3 * [edit_param],
    *2 * [edit_code],
    delete_code,
    edit_data_here,
    add_data,
    new_data_elsewhere,
    edit_command,
    new_stage,
    remove_stage,
    rename_stage,
    add_dep,
    remove_dep,
    add_param,
    add_out,
    delete_out,
    tamper_with_out,
    empty_cache,
    fresh_clone,
    drop_lock_entry,
    drop_lock,
    toggle,
    nothing,
]
