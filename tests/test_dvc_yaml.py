"""``dvc.yaml`` declares what each stage really reads, so that no change goes unnoticed, and nothing else."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.flight_delay.small_pipeline import SmallPipeline, expect_few, make_small_pipeline

from flight_delay.params import Params

ROOT = Path(__file__).parents[1]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, Any] = PIPELINE["stages"]
LOCK = "requirements/pipeline.lock"
PREDICTIONS = "reports/predictions.parquet"

# Runs a stage as DVC does and writes down which of our modules it imports (loading a model imports some too) and which
# fields of the params it reads once they are checked.
WATCHED = """
import json, runpy, sys
from flight_delay import params
read = set()
load = params.load_params
def watched(*arguments):
    loaded = load(*arguments)
    names = {id(loaded): ""}
    def note(section, name):
        value = object.__getattribute__(section, name)
        if name in type(section).model_fields and id(section) in names:
            path = f"{names[id(section)]}.{name.rstrip('_')}".lstrip(".")
            if isinstance(value, params.Section):
                names[id(value)] = path
            else:
                read.add(path)
        return value
    params.Section.__getattribute__ = note
    for name, model in vars(params).items():
        if isinstance(model, type) and issubclass(model, params.Section):
            model.__getattribute__ = note
    return loaded
params.load_params = watched
try:
    runpy.run_module(f"flight_delay.{sys.argv[1]}", run_name="__main__")
except SystemExit as end:
    modules = [m.__file__ for name, m in sys.modules.items() if name.partition(".")[0] == "flight_delay"]
    print(json.dumps({"code": end.code, "read": sorted(read), "modules": modules}))
"""


def paths(entries: list[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def options(entries: list[Any]) -> list[dict[str, bool]]:
    return [{} if isinstance(entry, str) else next(iter(entry.values())) for entry in entries]


def outputs(stage: str) -> list[str]:
    return paths(STAGES[stage]["outs"]) + paths(STAGES[stage].get("metrics", []))


def declared_modules(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallPipeline:
    """The small pipeline, ready for every stage: its suites expect as few flights a month as it has."""
    pipeline = make_small_pipeline(tmp_path_factory.mktemp("pipeline") / "made")
    shutil.copytree(ROOT / "expectations", pipeline.root / "expectations")
    expect_few(pipeline.root / "expectations")
    (pipeline.root / "requirements").mkdir()
    shutil.copy(ROOT / LOCK, pipeline.root / LOCK)
    return pipeline


@dataclass(frozen=True)
class Run:
    """What a stage imported, read and wrote."""

    modules: set[str]
    params: set[str]
    written: dict[str, bytes]


@pytest.fixture(scope="module")
def runs(small: SmallPipeline, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Each stage run where nothing is but what it declares (and, for ``ingest``, the source that a param names)."""
    found = {}
    for stage in STAGES:
        alone = SmallPipeline(tmp_path_factory.mktemp(stage))
        inputs = [dep for dep in STAGES[stage]["deps"] if not dep.startswith("src/")]
        for path in ["params.yaml", *inputs, *(["source"] if stage == "ingest" else [])]:
            (alone.root / path).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (small.root / path).is_dir() else shutil.copyfile
            copy(small.root / path, alone.root / path)
        before = set(alone.files())
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, stage], cwd=alone.root, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        seen = json.loads(done.stdout.splitlines()[-1])
        assert seen["code"] == 0
        modules = {str(Path(file).relative_to(ROOT)) for file in seen["modules"]}
        written = {name: content for name, content in alone.files().items() if name not in before}
        found[stage] = Run(modules, set(seen["read"]), written)
        if stage == "validate":  # the small pipeline is made without it
            (small.root / "reports/validation.json").write_bytes(written["reports/validation.json"])
    return found


# Names and commands


def test_a_stage_has_one_name_in_dvc_yaml_params_yaml_and_src_and_a_test() -> None:
    assert list(STAGES) == list(yaml.safe_load((ROOT / "params.yaml").read_text()))
    assert list(STAGES) == [name.rstrip("_") for name in Params.model_fields]
    runnable = {p.stem for p in (ROOT / "src/flight_delay").glob("*.py") if "run_stage(main)" in p.read_text()}
    assert runnable - {"summary"} == set(STAGES)
    for stage in STAGES:
        assert (ROOT / f"tests/flight_delay/test_{stage}.py").is_file()


def test_a_stage_runs_its_module_and_its_description_says_what_for() -> None:
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"PYTHONPATH=src python -m flight_delay.{name}"
        assert stage["desc"]


# Code


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_modules_that_it_imports(stage: str, runs: dict[str, Run]) -> None:
    assert declared_modules(stage) == sorted(runs[stage].modules | {f"src/flight_delay/{stage}.py"})


def test_every_stage_declares_the_environment_lock_once_and_its_deps_in_order() -> None:
    for name, stage in STAGES.items():
        assert stage["deps"].count(LOCK) == 1, name
        assert stage["deps"] == sorted(stage["deps"]), name


# Params


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_params_that_it_reads(stage: str, runs: dict[str, Run]) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert runs[stage].params == {leaf for key in STAGES[stage]["params"] for leaf in leaves_of(params, key)}


def leaves_of(params: dict[str, Any], key: str) -> list[str]:
    value: Any = params
    for part in key.split("."):
        value = value[part]
    if not isinstance(value, dict):
        return [key]
    return [leaf for inner in value for leaf in leaves_of(params, f"{key}.{inner}")]


# Data


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_needs_nothing_but_what_it_declares_and_writes_nothing_but_its_outputs(
    stage: str, small: SmallPipeline, runs: dict[str, Run]
) -> None:
    assert set(runs[stage].written) == set(outputs(stage))
    assert runs[stage].written == {name: small.files()[name] for name in outputs(stage)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_s_inputs_are_the_outputs_of_stages_before_it(stage: str) -> None:
    before = list(STAGES)[: list(STAGES).index(stage)]
    made = {output for earlier in before for output in outputs(earlier)}
    data = {dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in ("data", "models", "reports")}
    assert data <= made


def test_validation_stands_before_everything_that_uses_the_raw_data() -> None:
    users = [name for name, stage in STAGES.items() if any(d.startswith("data/raw/") for d in stage["deps"])]
    assert users == ["validate", "prepare", "train", "evaluate"]
    assert "reports/validation.json" in STAGES["prepare"]["deps"]
    for later in ("train", "evaluate"):  # they wait for `prepare`, whose output they read beside the weather
        assert {"data/prepared/flights.parquet", "data/raw/weather.parquet"} <= set(STAGES[later]["deps"])


def test_big_outputs_are_tracked_by_dvc_and_small_reports_by_git_and_all_outlive_a_failed_run() -> None:
    for stage in STAGES.values():
        entries = stage["outs"] + stage.get("metrics", [])
        for path, option in zip(paths(entries), options(entries), strict=True):
            assert option.get("persist") is True, path
            tracked = subprocess.run(
                ["git", "ls-files", "--error-unmatch", path], cwd=ROOT, capture_output=True, check=False
            )
            assert (tracked.returncode == 0) == (option.get("cache") is False), path
            report = path.startswith("reports/") and path.endswith(".json")  # what a reviewer reads
            assert report == (option.get("cache") is False), path


def test_a_new_train_or_evaluate_parameter_needs_less_than_20_percent_of_what_dvc_keeps() -> None:
    """What its stages read and do not make, and the base's predictions to compare with.

    And less than 30 percent of what any stage reads, or compares: the requests are kept for people and releases.
    """
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    kept = {out["path"]: out["size"] for stage in lock.values() for out in stage["outs"]}
    kept = {path: size for path, size in kept.items() if not path.startswith("reports/") or path.endswith(".parquet")}
    of_use = {dep["path"] for stage in lock.values() for dep in stage["deps"]} & set(kept) | {PREDICTIONS}
    for ran in (["train", "evaluate"], ["evaluate"]):
        read = {dep["path"] for name in ran for dep in lock[name]["deps"]} & set(kept)
        made = {out["path"] for name in ran for out in lock[name]["outs"]}
        pulled = sum(kept[path] for path in read - made | {PREDICTIONS})
        assert pulled < 0.2 * sum(kept.values()), ran
        if "train" in ran:
            assert pulled < 0.3 * sum(kept[path] for path in of_use)


# What DVC makes of it


def dvc(cwd: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=cwd, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_new_learning_rate_runs_train_and_evaluate_alone_and_a_page_of_documentation_nothing(
    small: SmallPipeline, runs: dict[str, Run], tmp_path: Path
) -> None:
    root = tmp_path / "clone"
    shutil.copytree(small.root, root)
    shutil.copytree(ROOT / "src" / "flight_delay", root / "src" / "flight_delay")
    shutil.copy(ROOT / "dvc.yaml", root)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    dvc(root, "init", "-q")
    dvc(root, "commit", "-q", "-f")  # what the stages left; each of them ran for `runs`
    assert dvc(root, "repro").count("didn't change, skipping") == len(STAGES)

    (root / "README.md").write_text("A new page.\n")
    (root / "docs").mkdir()
    (root / "docs" / "data.md").write_text("Another.\n")
    assert "Data and pipelines are up to date." in dvc(root, "repro")

    SmallPipeline(root).change(("learning_rate: 0.1", "learning_rate: 0.2"))
    ran = [line for line in dvc(root, "repro").splitlines() if line.startswith("Running stage")]
    assert ran == ["Running stage 'train':", "Running stage 'evaluate':"]

    SmallPipeline(root).change(("calibration_bins: 10", "calibration_bins: 11"))
    ran = [line for line in dvc(root, "repro").splitlines() if line.startswith("Running stage")]
    assert ran == ["Running stage 'evaluate':"]


def test_the_committed_lock_is_of_these_files() -> None:
    """Every file that git holds and the lock names has the hash that the lock says: what ran is what is here."""
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    assert set(lock) == set(STAGES)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, stage in lock.items():
        assert stage["cmd"] == STAGES[name]["cmd"]
        files = {entry["path"]: entry["md5"] for entry in stage["deps"] + stage["outs"]}
        assert set(files) == {*STAGES[name]["deps"], *outputs(name)}
        for path, digest in files.items():
            if (ROOT / path).is_file() and not path.startswith(("data/", "models/")):
                found = hashlib.md5((ROOT / path).read_bytes(), usedforsecurity=False).hexdigest()
                assert found == digest, f"{path}: run `dvc repro` and commit dvc.lock"
        for key, value in stage["params"]["params.yaml"].items():
            now: Any = params
            for part in key.split("."):
                now = now[part]
            assert now == value, f"{key}: run `dvc repro` and commit dvc.lock"


# What others read off it


def test_the_model_is_an_artifact_of_the_pipeline_by_its_name() -> None:
    artifact = PIPELINE["artifacts"]["flight-delay"]
    assert artifact["type"] == "model"
    assert artifact["path"] in outputs("train")


def test_every_plot_is_drawn_of_columns_that_its_file_has() -> None:
    assert {title for plot in PIPELINE["plots"] for title in plot} == {
        "ROC", "Precision-recall", "Calibration", "Calibration by month", "Scores", "Importance", "Costs"
    }  # fmt: skip
    for plot in PIPELINE["plots"]:
        [drawn] = plot.values()
        for axis in ("x", "y"):
            [(file, columns)] = drawn[axis].items()
            assert file in outputs("evaluate")
            points = json.loads((ROOT / file).read_text())
            for column in [columns] if isinstance(columns, str) else columns:
                assert all(column in point for point in points), (file, column)
