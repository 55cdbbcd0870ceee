"""The merge driver of ``dvc.lock``: on locks as text, with real git, and on random pairs of branches."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.length import length
from tests.lockgate import edits
from tests.lockgate.factory import SCRIPT, Project

from lockgate.dvc import merge as merge_lock
from lockgate.dvc.merge import LockUnmergeable, merge

Lockgate = Callable[..., tuple[int, str, str]]
SOURCE = str(Path(merge_lock.__file__).parents[2])


def lock(**stages: dict[str, Any]) -> bytes:
    return yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False).encode()


def entry(cmd: str = "x", deps: dict[str, str] | None = None, outs: dict[str, str] | None = None, **params: Any) -> Any:
    """A stage's entry: digests by path, and the parameters it read."""
    files = {
        key: [
            {"path": path, "hash": "md5", "md5": f"{digest:0>32}", "size": 1} for path, digest in (items or {}).items()
        ]
        for key, items in (("deps", deps), ("outs", outs))
    }
    found = {"cmd": cmd, "deps": files["deps"], "params": {"params.yaml": params}, "outs": files["outs"]}
    return {key: value for key, value in found.items() if value and value != {"params.yaml": {}}}


def stages(merged: merge_lock.Merged) -> dict[str, Any]:
    return dict(yaml.safe_load(merged.text)["stages"])


# --- locks alone

PREPARE = entry(deps={"raw": "r0"}, outs={"ready": "a0"}, share=1)
TRAIN = entry(deps={"ready": "a0", "lib": "l0"}, outs={"model": "m0"}, lr=1)
OTHER = entry(deps={"lib": "l0"}, outs={"other": "o0"}, k=1)
BASE = lock(prepare=PREPARE, train=TRAIN, other=OTHER)


def test_what_one_side_changed_is_taken_and_the_rest_stays() -> None:
    train = entry(deps={"ready": "a0", "lib": "l0"}, outs={"model": "m1"}, lr=2)
    other = entry(deps={"lib": "l0"}, outs={"other": "o1"}, k=2)

    merged = merge(
        BASE, lock(prepare=PREPARE, train=train, other=OTHER), lock(prepare=PREPARE, train=TRAIN, other=other)
    )

    assert stages(merged) == {"prepare": PREPARE, "train": train, "other": other}
    assert merged.dropped == {}


def test_a_stage_that_both_changed_is_dropped_and_so_is_what_reads_its_output() -> None:
    use = entry(deps={"model": "m0"}, outs={"use": "u0"})
    ours = entry(deps={"ready": "a0", "lib": "l0"}, outs={"model": "m0"}, lr=2)
    theirs = entry(cmd="y", deps={"ready": "a0", "lib": "l0"}, outs={"model": "m0"}, lr=1)

    merged = merge(lock(train=TRAIN, use=use), lock(train=ours, use=use), lock(train=theirs, use=use))

    assert stages(merged) == {}
    assert merged.dropped == {"train": "both branches changed it", "use": "'train' runs again"}


def test_the_same_change_on_both_sides_is_kept() -> None:
    train = entry(deps={"ready": "a0", "lib": "l0"}, outs={"model": "m1"}, lr=2)
    both = lock(prepare=PREPARE, train=train)

    assert stages(merge(BASE, both, both)) == {"prepare": PREPARE, "train": train}


@pytest.mark.parametrize(
    ("theirs_reads", "what"),
    [
        ({"deps": {"lib": "l0"}}, "lib changed"),
        ({"deps": {"lib/one.py": "x0"}}, "lib changed"),
        ({"deps": {"../lib": "l0"}}, "lib changed"),
        ({"deps": {"sub/lib/one.py": "x0"}}, "lib changed"),
        ({"share": 1}, "params.yaml:share changed"),
        ({"deps": {"params.yaml": "p0"}}, "params.yaml:share changed"),
        ({"deps": {"ready": "a0"}}, "ready changed"),
        ({"deps": {"ready/part": "b0"}}, "ready changed"),
    ],
)
def test_a_new_stage_that_reads_what_the_other_side_changed_is_dropped(theirs_reads: dict[str, Any], what: str) -> None:
    prepare = entry(deps={"raw": "r0"}, outs={"ready": "a1"}, share=2)
    ours = {
        "prepare": prepare,
        "train": entry(deps={"ready": "a1", "lib": "l1"}, outs={"model": "m1"}, lr=1),
        "other": entry(deps={"lib": "l1"}, outs={"other": "o1"}, k=1),
    }
    new = entry(outs={"new": "n0"}, **theirs_reads)

    merged = merge(BASE, lock(**ours), lock(prepare=PREPARE, train=TRAIN, other=OTHER, new=new))

    assert stages(merged) == ours
    assert merged.dropped == {"new": what}


@pytest.mark.parametrize("mine", [{"nested": {"lr": 2, "deep": 1}}, {"nested.lr": 2}])
@pytest.mark.parametrize("reads", [{"nested": {"lr": 1, "deep": 1}}, {"nested.lr": 1}])
def test_a_parameter_inside_a_section_is_the_sections_too(mine: dict[str, Any], reads: dict[str, Any]) -> None:
    before = {key: 1 if key == "nested.lr" else {"lr": 1, "deep": 1} for key in mine}
    base = lock(a=entry(outs={"a": "a0"}, **before))
    new = entry(outs={"new": "n0"}, **reads)

    merged = merge(base, lock(a=entry(outs={"a": "a1"}, **mine)), lock(a=entry(outs={"a": "a0"}, **before), new=new))

    assert list(stages(merged)) == ["a"]


def test_parameters_with_names_that_only_begin_alike_are_not_the_same() -> None:
    base = lock(a=entry(outs={"a": "a0"}, lr=1))
    new = entry(outs={"new": "n0"}, lr2=1)

    merged = merge(base, lock(a=entry(outs={"a": "a1"}, lr=2)), lock(a=entry(outs={"a": "a0"}, lr=1), new=new))

    assert list(stages(merged)) == ["a", "new"]


def test_a_file_that_both_sides_changed_leaves_no_stage_that_reads_it() -> None:
    ours, theirs = (entry(deps={"lib": digest}, outs={"n": "n"}) for digest in ("l1", "l2"))

    merged = merge(BASE, lock(prepare=PREPARE, mine=ours), lock(prepare=PREPARE, yours=theirs))

    assert list(stages(merged)) == ["prepare"]


def test_a_stage_removed_by_one_side_is_gone_and_one_removed_and_changed_is_dropped() -> None:
    changed = entry(deps={"lib": "l0"}, outs={"other": "o1"}, k=2)

    merged = merge(BASE, lock(prepare=PREPARE), lock(prepare=PREPARE, train=TRAIN, other=changed))

    assert list(stages(merged)) == ["prepare"]
    assert list(merged.dropped) == ["other"]


def test_what_a_frozen_stage_read_long_ago_does_not_cost_it_its_entry() -> None:
    frozen = entry(deps={"ready": "older"}, outs={"frozen": "f0"})
    train = entry(deps={"ready": "a0", "lib": "l0"}, outs={"model": "m1"}, lr=2)
    prepare = entry(deps={"raw": "r1"}, outs={"ready": "a0"}, share=1)

    merged = merge(
        lock(prepare=PREPARE, frozen=frozen, train=TRAIN),
        lock(prepare=prepare, frozen=frozen, train=TRAIN),
        lock(prepare=PREPARE, frozen=frozen, train=train),
    )

    assert stages(merged) == {"prepare": prepare, "frozen": frozen, "train": train}


def test_two_locks_without_a_common_ancestor_are_merged() -> None:
    merged = merge(b"", lock(prepare=PREPARE), lock(prepare=PREPARE, other=OTHER))

    assert stages(merged) == {"prepare": PREPARE, "other": OTHER}


def test_other_top_level_keys_are_merged_and_a_dispute_over_one_is_left_to_a_person() -> None:
    def with_datasets(version: int) -> bytes:
        return BASE + f"datasets:\n- name: d\n  version: {version}\n".encode()

    assert "version: 2" in merge(BASE, BASE, with_datasets(2)).text
    assert "datasets" not in merge(with_datasets(1), with_datasets(1), BASE).text
    with pytest.raises(LockUnmergeable, match="both branches changed 'datasets'"):
        merge(with_datasets(1), with_datasets(2), with_datasets(3))


BROKEN = {
    "conflict": b"schema: '2.0'\n<<<<<<< ours\nstages: {}\n=======\nstages: {}\n>>>>>>> theirs\n",
    "cut short": BASE[:90],
    "cut in an entry": BASE[: BASE.index(b"train:") + 18],
    "no lock": b"- 1\n",
    "newer": b"schema: '3.0'\nstages: {}\n",
    "not text": b"\xff\xfe\n",
    "empty": b"",
}


@pytest.mark.parametrize("broken", list(BROKEN))
@pytest.mark.parametrize("side", ["base", "ours", "theirs"])
def test_a_version_that_cannot_be_read_is_an_error_that_names_it(side: str, broken: str) -> None:
    if (side, broken) == ("base", "empty"):
        return
    versions = {"base": BASE, "ours": BASE, "theirs": BASE, side: BROKEN[broken]}

    with pytest.raises(LockUnmergeable, match=f"sub/dvc.lock is left in conflict: the version of {side} "):
        merge(**versions, path="sub/dvc.lock")


values = st.sampled_from(["0", "1", "2"])
graph_entries = st.builds(
    lambda source, up, out, x: {"source": source, "up": up, "out": out, "x": x}, values, values, values, values
)


def as_lock(graph: dict[str, dict[str, str]]) -> bytes:
    return lock(
        **{
            name: entry(
                deps={"src": e["source"], **({f"out/{int(name[1]) - 1}": e["up"]} if name != "s0" else {})},
                outs={f"out/{name[1]}": e["out"]},
                x=e["x"],
            )
            for name, e in graph.items()
        }
    )


few = settings(max_examples=length(20, 300))
graphs = st.dictionaries(st.sampled_from(["s0", "s1", "s2", "s3"]), graph_entries)


@few
@given(st.tuples(graphs, graphs, graphs))
def test_every_entry_left_is_one_sides_and_which_side_is_whose_makes_no_difference(
    versions: tuple[dict[str, Any], ...],
) -> None:
    base, ours, theirs = map(as_lock, versions)

    merged = merge(base, ours, theirs)

    found = stages(merged)
    sides = [yaml.safe_load(text)["stages"] for text in (ours, theirs)]
    assert all(any(side.get(name) == item for side in sides) for name, item in found.items())
    assert merge(base, ours, theirs) == merged
    assert stages(merge(base, theirs, ours)) == found


@few
@given(graphs)
def test_merging_with_a_side_that_changed_nothing_gives_the_other_side(graph: dict[str, Any]) -> None:
    side = as_lock(graph)

    assert stages(merge(BASE, side, BASE)) == stages(merge(BASE, BASE, side)) == yaml.safe_load(side)["stages"]


# --- with git


def setup(project: Project) -> None:
    """Have git merge with the driver of this source tree."""
    from lockgate.adoption.clone import settings as wanted
    from lockgate.commands.setup_git import ATTRIBUTE

    for key, value in wanted().items():
        project.git("config", key, value)
    project.write(".gitattributes", f"{ATTRIBUTE}\n")
    project.commit("attributes")


def with_outputs_from_params(project: Project) -> None:
    """Let the outputs of train and evaluate depend on their parameters."""
    project.stages["train"]["cmd"] = "sh stage.sh train; grep lr: params.yaml >> models/model.bin"
    project.stages["evaluate"]["params"] = ["evaluate.at"]
    project.stage("summary", deps=["data/ready/"], outs=["summary"])
    project.write("params.yaml", "prepare:\n  share: 0.2\n\n\ntrain:\n  lr: 0.1\n  depth: 3\n\n\nevaluate:\n  at: 1\n")
    project.save()
    assert project.repro()[1] is None


def merge_branches(project: Project, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["git", "merge", "--no-edit", "-q", *options, "theirs"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )


def branch(project: Project, name: str, start: str, change: Callable[[], object]) -> list[str]:
    """Make a branch with a change, run and committed. Returns what ran."""
    project.git("checkout", "-q", "-B", name, start)
    change()
    done, failure = project.repro()
    assert failure is None
    project.commit(name)
    return done


def test_a_lock_that_dvc_wrote_comes_back_byte_for_byte(ran: Project) -> None:
    long = " ".join(["word"] * 40)
    ran.stages["train"]["cmd"] = ["sh stage.sh train", f"true {long}"]
    ran.write_params(
        {"prepare": {"share": 1e-05, "on": True, "text": f"'{long}: #'"}, "train": {"lr": 0.1, "depth": 3}}
    )
    ran.save()
    assert ran.repro()[1] is None
    text = ran.read("dvc.lock")

    assert merge(text.encode(), text.encode(), text.encode()).text == text


def two_branches(project: Project) -> None:
    text = project.read("params.yaml")
    branch(project, "theirs", "main", lambda: project.write("params.yaml", text.replace("at: 1", "at: 2")))
    branch(project, "ours", "main", lambda: project.write("params.yaml", text.replace("lr: 0.1", "lr: 0.2")))


def test_two_branches_that_change_different_parameters_merge_and_only_what_is_needed_runs(ran: Project) -> None:
    with_outputs_from_params(ran)
    setup(ran)
    two_branches(ran)

    merged = merge_branches(ran)

    assert merged.returncode == 0, merged.stderr
    assert ran.git("status", "--porcelain") == ""
    params = yaml.safe_load(ran.read("params.yaml"))
    assert (params["train"]["lr"], params["evaluate"]["at"]) == (0.2, 2)
    assert "dvc.lock: stage 'evaluate' will run again: both branches changed it" in merged.stderr
    assert set(ran.lock()) == {"ingest", "prepare", "train", "summary"}
    assert ran.repro() == (["evaluate"], None)
    assert ran.lock()["evaluate"]["params"] == {"params.yaml": {"evaluate.at": 2}}
    assert ran.repro() == ([], None)


def test_without_the_driver_git_writes_a_lock_that_claims_what_nobody_ran(ran: Project) -> None:
    with_outputs_from_params(ran)
    ran.commit()
    two_branches(ran)

    assert merge_branches(ran).returncode == 0
    claimed = ran.lock()["evaluate"]
    sides = [yaml.safe_load(ran.git("show", f"{side}:dvc.lock"))["stages"]["evaluate"] for side in ("HEAD^1", "HEAD^2")]
    assert claimed not in sides


def test_a_broken_side_leaves_a_conflict_with_both_sides_in_it(ran: Project, lockgate: Lockgate) -> None:
    setup(ran)
    ran.git("checkout", "-q", "-b", "theirs")
    ran.write("dvc.lock", ran.read("dvc.lock")[:-40])
    ran.commit("cut short")
    ran.git("checkout", "-q", "-b", "ours", "main")
    ran.write("dvc.lock", ran.read("dvc.lock").replace("size: 9", "size: 8"))
    ran.commit("other")

    merged = merge_branches(ran)

    assert merged.returncode == 1
    assert "lockgate: dvc.lock is left in conflict: the version of theirs cannot be read" in merged.stderr
    assert ran.git("diff", "--name-only", "--diff-filter=U") == "dvc.lock\n"
    assert all(ran.git("show", f"{side}:dvc.lock") in ran.read("dvc.lock") for side in ("ours", "theirs"))
    code, _, err = lockgate("plan")
    assert (code, "conflict markers" in err) == (1, True)


def test_a_dry_run_prints_the_lock_and_changes_nothing(tmp_path: Path, lockgate: Lockgate) -> None:
    files = [tmp_path / name for name in ("base", "ours", "theirs")]
    for file, text in zip(files, (BASE, BASE, lock(prepare=PREPARE)), strict=True):
        file.write_bytes(text)

    code, out, _ = lockgate("merge-lock", *map(str, files), "--dry-run")

    assert code == 0
    assert list(yaml.safe_load(out)["stages"]) == ["prepare"]
    assert files[1].read_bytes() == BASE


# --- random pairs of branches

EDITS = [
    *4 * [edits.edit_param],
    *4 * [edits.edit_code],
    *2 * [edits.add_data],
    *2 * [edits.new_stage],
    edits.delete_code,
    edits.edit_command,
    edits.add_dep,
    edits.remove_dep,
    edits.add_param,
    edits.add_out,
    edits.rename_stage,
    edits.remove_stage,
    edits.drop_lock_entry,
]
WATCH = {
    "deps": ["code/a.py", "code/b.py", "code/c.py", "lib/", "env.lock", "raw/file.csv", "raw/folder"],
    "params": ["x", "nested", "unused", {"other.json": ["j"]}],
    "outs": ["out/watch"],
}


def get_data(project: Project) -> None:
    """Pull the tracked data that is not here, all of it.

    For one stage DVC would pull a part of a folder, and run the next one on that.
    """
    from dvc.repo import Repo

    absent = [file for file in project.git("ls-files", "*.dvc").split() if not (project.root / file[:-4]).exists()]
    if absent:
        with Repo(str(project.root)) as repo:
            repo.pull(absent)


def check_out(project: Project, *arguments: str) -> None:
    """Do a command of git that changes the working tree, and bring the data that belongs to it."""
    project.git(*arguments)
    for file in project.git("ls-files", "*.dvc").split():
        edits.remove(project, file[:-4])
    get_data(project)


def random_branch(project: Project, rng: Random, name: str) -> None:
    """Make a branch of two to four random edits, run and committed. Edits that cannot be run are taken back."""
    check_out(project, "checkout", "-q", "-f", "-B", name, "main")
    while True:
        project.stages = yaml.safe_load(project.read("dvc.yaml"))["stages"]
        for edit in rng.sample(EDITS, rng.randint(2, 4)):
            edit(project, rng)
        get_data(project)
        if project.stages.get("watch") and project.repro()[1] is None:
            break
        project.git("clean", "-qfd")
        check_out(project, "reset", "-q", "--hard")
    project.commit(name)
    project.push(runs=False)


def from_nothing(project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any] | None:
    """Return the lock that a run of the same code from nothing gives, ``None`` if it cannot be run."""
    shutil.copytree(project.root, folder / "project", symlinks=True)
    shutil.copytree(project.remote, folder / "remote", dirs_exist_ok=True)
    clean = Project(folder / "project")
    clean.push(runs=False)
    clean.forget()
    shutil.rmtree(clean.remote / "runs", ignore_errors=True)
    (clean.root / "dvc.lock").unlink(missing_ok=True)
    with monkeypatch.context() as patch:
        patch.chdir(clean.root)
        get_data(clean)
        _, failure = clean.repro()
    return None if failure else clean.lock()


def check_random_pair(project: Project, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Merge two random branches with git and hold the lock against a run from nothing. Says how the pair was."""
    rng = Random(seed)
    edits.random_project(project, rng)
    project.write("stage.sh", SCRIPT.replace("head -c 6", "cksum").replace("head -c 9", "cksum"))
    project.stage("watch", **WATCH)
    setup(project)
    if project.repro()[1] is not None:
        return "base does not run"
    project.commit("base")
    project.push()
    for name in ("theirs", "ours"):
        random_branch(project, rng, name)
    sides = [yaml.safe_load(project.git("show", f"{name}:dvc.lock"))["stages"] for name in ("ours", "theirs")]

    done = merge_branches(project, "-X", "ours")
    assert "dvc.lock" not in project.git("diff", "--name-only", "--diff-filter=U"), done.stderr
    if done.returncode != 0:
        project.commit("merged by hand")
    project.stages = yaml.safe_load(project.read("dvc.yaml"))["stages"]
    merged = project.lock()
    check_out(project, "status")

    clean = from_nothing(project, tmp_path / "clean", monkeypatch)
    if clean is None:
        return "merged code does not run"
    for name, item in merged.items():
        assert item in [side.get(name) for side in sides], "an entry that neither side has"
        if name in clean:
            assert item == clean[name], f"seed {seed}: the entry of {name} is not true of the merged code"
    ran, failure = project.repro()
    assert failure is None
    after = project.lock()
    assert {name: after.get(name) for name in clean} == clean, f"seed {seed}"
    return f"{len(merged)} kept, {len(clean) - len(merged.keys() & clean.keys())} dropped, {len(ran)} ran"


@pytest.mark.parametrize("seed", range(length(4, 60)))
def test_after_merging_random_branches_the_lock_is_true_and_repro_gives_what_a_run_from_nothing_gives(
    project: Project, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_random_pair(project, seed, tmp_path, monkeypatch)
