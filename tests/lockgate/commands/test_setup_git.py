import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.lockgate.factory import Project

from lockgate.commands import setup_git
from lockgate.commands.setup_git import ATTRIBUTE

Lockgate = Callable[..., tuple[int, str, str]]
SOURCE = str(Path(setup_git.__file__).parents[2])
DRIVER = "merge.lockgate.driver"
METRICS = "/reports/metrics.json merge=lockgate-output"


def test_it_configures_the_driver_and_names_it_in_the_attributes(ran: Project, lockgate: Lockgate) -> None:
    code, out, _ = lockgate("setup-git")

    assert code == 0
    assert f".git/config: {DRIVER} set to: " in out
    assert ran.git("config", "--local", DRIVER).rstrip().endswith(" -P -m lockgate merge-lock %O %A %B %P")
    assert ran.read(".gitattributes") == f"{ATTRIBUTE}\n{METRICS}\n"
    assert ran.git("check-attr", "merge", "--", "any/folder/dvc.lock").endswith(": lockgate\n")


def test_a_second_time_there_is_nothing_to_do(ran: Project, lockgate: Lockgate) -> None:
    lockgate("setup-git")
    before = ran.read(".git/config"), ran.read(".gitattributes")

    assert lockgate("setup-git")[:2] == (0, "nothing to do: git merges dvc.lock stage by stage here\n")
    assert (ran.read(".git/config"), ran.read(".gitattributes")) == before


def test_a_dry_run_tells_the_same_and_changes_nothing(ran: Project, lockgate: Lockgate) -> None:
    before = ran.read(".git/config")

    _, planned, _ = lockgate("setup-git", "--dry-run")

    assert ran.read(".git/config") == before
    assert not (ran.root / ".gitattributes").exists()
    assert planned.replace("would be ", "") == lockgate("setup-git")[1]


def test_other_attributes_and_settings_are_kept_and_an_old_driver_is_replaced(ran: Project, lockgate: Lockgate) -> None:
    ran.write(".gitattributes", "*.png binary")
    ran.git("config", DRIVER, "/gone/python -m lockgate merge-lock %O %A %B %P")
    ran.git("config", "merge.other.driver", "true")

    lockgate("setup-git")

    assert ran.read(".gitattributes") == f"*.png binary\n{ATTRIBUTE}\n{METRICS}\n"
    assert "/gone/" not in ran.git("config", "--get-all", DRIVER)
    assert ran.git("config", "merge.other.driver") == "true\n"


def test_the_driver_takes_no_code_from_the_branches_it_merges(ran: Project, lockgate: Lockgate, tmp_path: Path) -> None:
    lockgate("setup-git")
    planted = "raise SystemExit(open('stolen', 'w').write('x'))\n"
    for name in ("lockgate.py", "yaml.py", "argparse.py", "sitecustomize.py"):
        ran.write(name, planted)
    ran.commit("planted")
    ran.git("checkout", "-q", "-b", "theirs")
    ran.write("dvc.lock", ran.read("dvc.lock").replace("size: 9", "size: 8"))
    ran.commit("theirs")
    ran.git("checkout", "-q", "main")
    ran.write("dvc.lock", ran.read("dvc.lock").replace("size: 11", "size: 12"))
    ran.commit("ours")

    done = subprocess.run(
        ["git", "merge", "-q", "--no-edit", "theirs"],
        cwd=ran.root,
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert b"will run again" in done.stderr
    assert not (ran.root / "stolen").exists()


def test_a_working_copy_linked_to_the_repository_shares_the_driver(
    ran: Project, lockgate: Lockgate, tmp_path: Path
) -> None:
    lockgate("setup-git")
    ran.commit("attributes")
    ran.git("worktree", "add", "-q", str(tmp_path / "linked"))

    linked = Project(tmp_path / "linked")

    assert linked.git("config", DRIVER) == ran.git("config", DRIVER)
    assert linked.git("check-attr", "merge", "--", "dvc.lock") == "dvc.lock: merge: lockgate\n"


def test_figures_that_both_sides_wrote_keep_this_sides_until_their_stage_runs(ran: Project, lockgate: Lockgate) -> None:
    ran.write(".gitattributes", "kept/*.json merge=lockgate-output\n")
    ran.write("kept/metrics.json", "1\n")
    ran.commit("base")
    lockgate("setup-git")
    ran.git("checkout", "-q", "-b", "theirs")
    ran.write("kept/metrics.json", "2\n")
    ran.commit("theirs")
    ran.git("checkout", "-q", "-")
    ran.write("kept/metrics.json", "3\n")
    ran.commit("ours")

    ran.git("merge", "-q", "--no-edit", "theirs")

    assert ran.read("kept/metrics.json") == "3\n"
    assert ran.git("status", "--porcelain", "--", "kept") == ""


def test_an_output_that_has_its_own_way_of_merging_keeps_it_and_any_name_is_written_as_git_reads_it(
    ran: Project, lockgate: Lockgate
) -> None:
    ran.write(".gitattributes", "reports/* merge=union\n")
    names = ["a b.json", "w*.json", "q[1].json", 'x"y.json', "plots/"]
    ran.stages["evaluate"]["metrics"] += [{name: {"cache": False}} for name in names]
    ran.save()
    (ran.root / "plots").mkdir()

    lockgate("setup-git")

    for name in names:
        checked = ran.git("check-attr", "-z", "merge", "--", f"{name}x.json" if name.endswith("/") else name)
        assert checked.split("\0")[2] == "lockgate-output", ran.read(".gitattributes")
    assert ran.git("check-attr", "merge", "--", "wide.json").endswith("unspecified\n")
    assert ran.git("check-attr", "merge", "--", "reports/metrics.json").endswith("union\n")
