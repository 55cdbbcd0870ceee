import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lockgate import modelled
from tests.lockgate.factory import Project

from lockgate.dvc.documents import load_yaml
from lockgate.dvc.objects import Cache
from lockgate.evaluation.history import past_runs
from lockgate.evaluation.prefetch import bringing
from lockgate.evaluation.seeded import Place
from lockgate.git import Commit, resolve
from lockgate.result import Execution, Result, read_result

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def changed(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A pushed model, and in a working tree without any data a change of a parameter of its first stage."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    modelled.make(project)
    project.push(runs=False)
    project.forget()
    modelled.set_params(project, noise=0.6)
    return project


def judged(out: str) -> tuple[Result, Execution]:
    result = read_result(out)
    assert result.execution is not None
    return result, result.execution


def predictions(project: Project) -> tuple[str, int]:
    (out,) = (out for out in project.lock()["evaluate"]["outs"] if out["path"] == "reports/predictions.parquet")
    return str(out["md5"]), int(out["size"])


def test_what_is_pulled_for_the_report_counts_and_to_no_stage(changed: Project, lockgate: Run) -> None:
    digest, size = predictions(changed)

    code, out, _ = lockgate("run", "--base", "main", "--json")

    result, execution = judged(out)
    assert code == 0
    assert [stage.status for stage in execution.stages] == ["ran", "ran"]
    assert (sum(stage.pulled for stage in execution.stages), execution.pulled) == (0, size)
    assert next(metric for metric in result.metrics if metric.name == "roc_auc").judgement == "better"
    assert predictions(changed)[0] != digest
    assert Cache.of(changed.root).path(digest).is_file()


def test_what_comes_for_the_report_while_a_stage_runs_is_not_counted_to_the_stage(
    changed: Project, lockgate: Run
) -> None:
    digest, size = predictions(changed)
    source = changed.remote / "files/md5" / digest[:2] / digest[2:]
    late = source.rename(changed.root.parent / "late")  # it comes while train is at work, not before
    here = changed.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    running = changed.root / "running"
    wait = "import pathlib, time\npathlib.Path('running').touch()\n"
    wait += f"while not pathlib.Path('{here}').exists(): time.sleep(0.05)\n"
    changed.write("train.py", modelled.TRAIN + wait)

    def arrive() -> None:  # a stage itself cannot write to the cache
        while not running.exists():
            time.sleep(0.05)
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(late, here.with_suffix(".part"))
        here.with_suffix(".part").rename(here)

    arriving = threading.Thread(target=arrive, daemon=True)
    arriving.start()
    _, out, _ = lockgate("run", "--base", "main", "--json")
    arriving.join(10)

    result, execution = judged(out)
    assert (sum(stage.pulled for stage in execution.stages), execution.pulled) == (0, size)
    assert result.comparison.rows_shared == 2000


def test_a_report_whose_base_is_here_already_pulls_nothing(changed: Project, lockgate: Run) -> None:
    digest, _ = predictions(changed)
    kept = changed.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    kept.parent.mkdir(parents=True)
    kept.write_bytes((changed.remote / "files/md5" / digest[:2] / digest[2:]).read_bytes())

    _, out, _ = lockgate("run", "--base", "main", "--json")

    result, execution = judged(out)
    assert execution.pulled == 0
    assert result.comparison.rows_shared == 2000


def test_base_predictions_that_nobody_has_are_told_and_stop_nothing(changed: Project, lockgate: Run) -> None:
    digest, _ = predictions(changed)
    (changed.remote / "files/md5" / digest[:2] / digest[2:]).unlink()

    code, out, _ = lockgate("run", "--base", "main", "--json")

    result, execution = judged(out)
    assert code == 0
    assert [stage.status for stage in execution.stages] == ["ran", "ran"]
    assert execution.pulled == 0
    assert digest in (result.comparison.refused or "")


def test_a_base_without_a_policy_has_nothing_brought(changed: Project, lockgate: Run) -> None:
    changed.git("rm", "-q", "lockgate.yaml")
    changed.git("commit", "-q", "-m", "no policy")

    code, out, _ = lockgate("run", "--base", "main")

    assert code == 0
    assert out.splitlines()[-1].endswith("pulled")
    assert " 0 B of " in out.splitlines()[-1]


def test_the_locks_of_past_runs_are_parsed_while_the_stages_run_and_not_once_more(changed: Project) -> None:
    modelled.run(changed)
    changed.commit("another model")
    base, policy = Commit(changed.root, "main", resolve(changed.root, "main")), modelled.policy()
    load_yaml.cache_clear()

    with bringing(changed.root, base):
        pass

    before = load_yaml.cache_info()
    past_runs(base, Place.of("train.seed"), policy)
    after = load_yaml.cache_info()
    assert (after.misses, after.hits > before.hits) == (before.misses, True)
