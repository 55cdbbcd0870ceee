"""README says what is true: each of its commands is run as it stands, on real flights, only fewer of them.

The project is this repository as it is checked out, with every 150th flight and five trees, and a policy whose limits
fit so small a model. Its ``.venv`` is the one that runs the tests: ``make run`` and ``make service``, which would make
one, are held by ``tests/test_setup.py``.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.flight_delay.small_pipeline import ONE_FLIGHT_OF, SMALLER, TABLES, SmallPipeline, expect_few, package_data

from lockgate import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SET_UP = re.compile(r"make (run|test|service)\b")
# What so small a model and so few flights need: the limits are other ones, the gates are the same.
LIMITS = {"value: 0.72": "value: 0.3", "value: 0.03": "value: 0.9", "value: 0.04": "value: 0.9",
          "margin: 0.00": "margin: 0.5",
          "margin: 0.025": "margin: 0.5", "by: 0.05": "by: 0.5", "rows: 1000": "rows: 20",
          "rows: 5000": "rows: 20"}  # fmt: skip


def blocks(heading: str) -> list[list[str]]:
    """Return the commands of each console block below a heading of README, as they stand."""
    section = re.split(r"^#{2,3} ", README.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] for block in found]


@dataclass
class Shell:
    """A terminal in the project: one bash that runs what is pasted into it."""

    folder: Path
    environment: dict[str, str]
    errors: list[str] = field(default_factory=list)

    def paste(self, commands: list[str]) -> dict[str, str]:
        """Run the commands one after the other; each must succeed. Return what each printed, by its first words."""
        script = "".join(
            f'{{ {one.rstrip()}\n}} 2>&1; echo "::ended $?"\n' for one in commands if not SET_UP.match(one)
        )
        script += 'pids=$(jobs -p); [ -z "$pids" ] || { kill $pids; wait; } >/dev/null 2>&1\n'
        done = subprocess.run(
            ["bash"], input=script, cwd=self.folder, env=self.environment, text=True, capture_output=True, check=False,
            timeout=300,
        )  # fmt: skip
        parts = re.split(r"::ended (\d+)\n", done.stdout)
        ran = [one for one in commands if not SET_UP.match(one)]
        assert [code for code in parts[1::2] if code != "0"] == [], done.stdout + done.stderr
        assert len(parts) // 2 == len(ran), done.stdout + done.stderr
        return dict(zip(ran, parts[::2], strict=False))

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, env=self.environment, check=True, capture_output=True, text=True
        ).stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """This repository with a small pipeline that has run, committed."""
    home = tmp_path_factory.mktemp("readme")
    root = home / "project"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "reports/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    make_small(root)
    (root / ".venv").symlink_to(sys.prefix)
    for file, text in {"gitconfig": "[user]\n\tname = Ada\n\temail = ada@example.org\n"}.items():
        (home / file).write_text(text)
    kept = ("LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "TMPDIR", "UV_CACHE_DIR")
    shell = Shell(
        root,
        {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(home / "site"),
        },
    )
    shell.git("init", "-q", "-b", "main")
    shell.git("add", "-A")
    shell.git("commit", "-qm", "the project")
    shell.paste(["dvc repro -q"])
    shell.git("add", "-A")
    shell.git("commit", "-qm", "what came out")
    return shell


def make_small(root: Path) -> None:
    small = SmallPipeline(root)
    small.change(*SMALLER.items())
    (root / "source").mkdir()
    for table in TABLES[1:]:
        shutil.copyfile(package_data() / f"{table}.csv", root / "source" / f"{table}.csv")
    with zipfile.ZipFile(package_data() / "flights.csv.zip") as archive:
        head, *flights = archive.read("flights.csv").splitlines(keepends=True)
    small.put_source("flights", b"".join([head, *flights[::ONE_FLIGHT_OF]]), "flights.csv")
    expect_few(root / "expectations")
    policy = root / "lockgate.yaml"
    text = policy.read_text()
    for limit, smaller in LIMITS.items():
        assert limit in text
        text = text.replace(limit, smaller)
    # the packages are those that run the tests: installing the lock's would ask an index for 46 of them
    text, removed = re.subn(r"^dependencies:.*\n(?:[ ].*\n)+", "", text, flags=re.MULTILINE)
    assert removed == 1
    policy.write_text(text)


def printed(outcome: dict[str, str], command: str) -> str:
    """Return what the one command that begins so printed."""
    (only,) = [text for ran, text in outcome.items() if ran.startswith(command)]
    return only


@pytest.mark.slow
def test_a_change_goes_from_the_first_edit_to_the_report_and_leaves_nothing_behind(shell: Shell) -> None:
    change, experiment = blocks("A change, from the first edit to the report")

    outcome = shell.paste(change)
    assert "train" in printed(outcome, "lockgate plan")
    ran = re.findall(r"^Running stage '(\w+)'", printed(outcome, "dvc repro"), re.MULTILINE)
    assert ran == ["train", "evaluate"]
    assert "roc_auc.model" in printed(outcome, "dvc metrics diff")
    assert "learning_rate" in printed(outcome, "lockgate report")
    assert "FAILS" not in printed(outcome, "lockgate check")
    assert shell.git("status", "--porcelain") == ""

    outcome = shell.paste(experiment)
    assert "bolder" in printed(outcome, "lockgate report --head bolder")
    assert "0.1 → 0.3" in printed(outcome, "lockgate report --head bolder")
    assert "roc_auc" in printed(outcome, "lockgate check --head bolder")
    assert shell.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_a_report_is_a_page_or_shows_the_luck_of_the_seed(shell: Shell) -> None:
    ((page, seeds),) = blocks("The report")

    shell.paste([page])
    assert "<html" in (shell.folder / "report.html").read_text()
    assert shell.git("status", "--porcelain") == ""
    assert "2 seeds" in " ".join(shell.paste([seeds])[seeds].split())
    assert shell.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_from_a_tag_to_a_scored_request(shell: Shell) -> None:
    release, look, bucket = blocks("A release")

    shell.paste(release)
    outcome = shell.paste(look)
    assert re.search(r"flight-delay@v1\.0\.0 .* staging$", printed(outcome, "lockgate releases"), re.MULTILINE)
    assert "to see how" in printed(outcome, "lockgate history")
    assert "roc_auc" in printed(outcome, "lockgate show")
    assert (shell.folder.parent / "model" / "model.skops").is_file()
    assert all("lockgate release" in one or "export" in one for one in bucket), "run by tests/e2e/test_releases.py"

    (serving,) = blocks("Scoring")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    outcome = shell.paste([one.replace("8080", port) for one in serving])
    assert '"probabilities"' in printed(outcome, "curl")
    assert "rows scored with flight-delay@v1.0.0" in printed(outcome, "lockgate score")
    assert shell.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_a_run_with_nothing_to_do_ends_in_a_page(shell: Shell) -> None:
    recipe = re.search(r"^run: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe

    outcome = shell.paste([line.strip().removeprefix("@") for line in recipe[1].splitlines()])

    page = "".join(outcome.values())
    assert "roc auc" in page
    assert len(page.splitlines()) <= 25
    assert shell.git("status", "--porcelain") == ""


def test_every_command_of_readme_and_docs_is_one_that_lockgate_has() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for block in re.findall(r"^```(?:console|bash)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            for command, name in re.findall(r"(?:^|\$ |&& |\| )lockgate (ci )?([a-z][a-z-]+)", block, re.MULTILINE):
                assert name in (cli.CI if command else cli.COMMANDS), f"{page.name}: lockgate {command}{name}"


def test_set_up_is_by_targets_that_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", README, re.MULTILINE)) <= targets


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
