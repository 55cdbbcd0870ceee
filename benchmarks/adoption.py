"""From `pip install` of the wheel to a first comment, in public DVC repositories of other people.

    python benchmarks/adoption.py SNAPSHOTS [SHAPE …] [--wheel FILE] [--keep FOLDER] [--json FILE]

SNAPSHOTS is a folder with a git repository (a clone, or a bare one) for each of the shapes in SHAPES, under that name.
None of them is kept here. What is measured is what a stranger does: a new virtual environment, `pip install` of the
wheel, `lockgate init`, the merge, a change of one parameter, the check of the pull request as `pull-request.yml` runs
it, and the comment. Their data is out of reach, so each shape makes small stand-in data with the same columns, and the
pipeline is run once with the packages that the repository asks for, as its team would have: that is not counted, nor
are the seconds in which the check runs stages. A package index has to answer.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lockgate.publishing.comment import Told, Written, text
from lockgate.result import read_result

ROOT = Path(__file__).resolve().parent.parent
PERSON = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
          for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))}  # fmt: skip


def adult(folder: Path) -> None:
    """Make a table of people with an income, 4,000 rows."""
    _python(
        folder,
        """
import numpy as np, pandas as pd
rng = np.random.default_rng(7)
n = 4000
age, hours = rng.integers(17, 80, n), rng.integers(10, 70, n)
pick = lambda *names: rng.choice(names, n)
years = rng.integers(1, 17, n)
odds = (age - 40) / 20 + (hours - 40) / 15 + (years - 9) / 3 + rng.normal(0, 1.5, n)
pd.DataFrame({"age": age, "workclass": pick("Private", "State-gov", "?"), "fnlwgt": rng.integers(1e4, 1e6, n),
  "education": pick("HS-grad", "Bachelors", "Masters"), "education-num": years,
  "marital-status": pick("Married", "Never"),
  "occupation": pick("Sales", "Tech", "Craft"), "relationship": pick("Husband", "Wife", "Own-child"),
  "race": pick("A", "B"), "sex": pick("Male", "Female"), "capital-gain": rng.integers(0, 9, n) * 1000,
  "capital-loss": rng.integers(0, 3, n) * 100, "hours-per-week": hours, "native-country": pick("X", "Y", "Z"),
  "income": np.where(odds > 0.8, ">50K", "<=50K")}).to_csv("data/adult.csv", index=False)
""",
    )


def wine(folder: Path) -> None:
    """Make a table of wines with a quality, 1,600 rows."""
    _python(
        folder,
        """
import numpy as np, pandas as pd
rng = np.random.default_rng(7)
names = ["fixed acidity", "volatile acidity", "citric acid", "residual sugar", "chlorides", "free sulfur dioxide",
         "total sulfur dioxide", "density", "pH", "sulphates", "alcohol"]
rows = pd.DataFrame(rng.normal(10, 2, (1600, 11)).round(3), columns=names)
told = (rows["alcohol"] - 10) * 0.5 - (rows["volatile acidity"] - 10) * 0.2
rows["TARGET"] = (5.6 + told + rng.normal(0, .5, 1600)).round()
rows.to_csv("data_given/winequality.csv", index=False)
""",
    )


def iris(folder: Path) -> None:
    """Make the irises that scikit-learn brings."""
    _python(
        folder,
        "from sklearn.datasets import load_iris\nload_iris(as_frame=True).frame.to_csv('data/iris.csv', index=False)",
    )


def questions(folder: Path) -> None:
    """Make 3,000 questions, a fifth of them about R."""
    _python(
        folder,
        """
import random
random.seed(7)
common = [f"word{n}" for n in range(300)]
with open("data/data.xml", "w") as file:
    for n in range(3000):
        r = random.random() < .2
        words = [random.choice(common) for _ in range(30)]
        words += [random.choice(["ggplot", "dplyr", "vector"]) for _ in range(3 * r)]
        tag = "r" if r != (random.random() < .1) else "python"
        file.write(f'<row Id="{n + 1}" Tags="&lt;{tag}&gt;" Title="{words[0]}" Body="{" ".join(words)}" />\\n')
""",
    )


@dataclass(frozen=True)
class Shape:
    """A repository by its shape: where its project is, the data it lacks, what its team installs, and one change."""

    says: str
    edit: tuple[str, str, str]
    """File, regular expression and replacement: the change of the pull request."""
    data: str = ""
    stand_in: Callable[[Path], None] | None = None
    packages: tuple[str, ...] = ()
    """What the stand-in's team has installed where its own list of packages cannot be installed any more."""
    folders: tuple[str, ...] = ()
    """Empty folders that git does not keep and that its stages expect."""
    project: str = ""
    requirements: str = "requirements.txt"


SHAPES = {
    "binary-table": Shape(
        "binary, a table; four stages, metrics in git, no plots; DVC remote is a folder; packages by ranges",
        ("params.yaml", r"max_depth: \d+", "max_depth: 6"),
        "data/adult.csv",
        adult,
    ),
    "regression": Shape(
        "regression; a lock of DVC 2; no remote; a requirement that the index has withdrawn (sklearn)",
        ("params.yaml", r"alpha: [\d.]+", "alpha: 0.05"),
        "data_given/winequality.csv",
        wine,
        packages=("scikit-learn", "pandas", "pyyaml", "joblib"),
        folders=("data/raw", "data/processed", "saved_models"),
    ),
    "classes-plain-outputs": Shape(
        "three classes; metrics are plain outputs that DVC keeps; exact versions; params.yaml is a dependency",
        ("params.yaml", r"max_depth: \d+", "max_depth: 2"),
        "data/iris.csv",
        iris,
    ),
    "two-projects": Shape(
        "three classes; two DVC projects in folders of a repository that is a course; no remote",
        ("params.yaml", r"max_depth: \d+", "max_depth: 1"),
        project="11_dvc",
        packages=("scikit-learn", "pandas", "pyyaml"),
    ),
    "text-dvclive": Shape(
        "binary, text; DVCLive writes metrics and plots into a folder that DVC keeps; an artifact is declared; "
        "data is an import; packages in src/",
        ("params.yaml", r"n_est: \d+", "n_est: 5"),
        "data/data.xml",
        questions,
        requirements="src/requirements.txt",
    ),
}


@dataclass
class Measured:
    """What it took."""

    shape: str
    says: str
    commands: list[str] = field(default_factory=list)
    lines_by_hand: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    outcome: str = ""
    gates: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    @property
    def minutes(self) -> float:
        """Minutes beside the pipeline's own time."""
        return sum(value for name, value in self.seconds.items() if name != "stages") / 60


def _python(folder: Path, text: str) -> None:
    subprocess.run([folder.parent / "team/bin/python", "-c", text], cwd=folder, check=True)


class Stranger:
    """One repository, in a folder of its own, and somebody who adopts Lockgate there."""

    def __init__(self, name: str, source: Path, folder: Path, wheel: Path) -> None:
        """``folder`` is where all of it happens; ``source`` is only read."""
        self.shape, self.folder, self.wheel = SHAPES[name], folder, wheel
        self.top = folder / "clone"
        self.project = self.top / self.shape.project
        self.measured = Measured(name, self.shape.says)
        self.origin = folder / "origin.git"
        git = folder / "gitconfig"
        address = f"https://github.com/team/{name}"
        git.write_text(
            f'[init]\n defaultBranch = main\n[url "{self.origin}"]\n insteadOf = {address}\n[safe]\n directory = *\n'
        )
        self.environment = {
            "PATH": f"{folder / 'venv/bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder / "home"),
            "GIT_CONFIG_GLOBAL": str(git),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "UV_CACHE_DIR": str(folder / "uv"),
            **PERSON,
            **{
                name: value
                for name, value in os.environ.items()
                if re.match(r"(?i)(https?|no)_proxy|SSL_|PIP_|UV_(?!CACHE)|REQUESTS_CA", name)
            },
        }
        (folder / "home").mkdir(exist_ok=True)
        self.run(["git", "clone", "-q", str(source), str(self.top)], folder)
        self.run(["git", "init", "-q", "--bare", str(self.origin)], folder)
        self.run(["git", "remote", "set-url", "origin", address], self.top)
        self.run(["git", "checkout", "-q", "-B", "main"], self.top)

    def run(self, command: list[str], folder: Path | None = None, **more: str) -> str:
        """Run a command to its end and return what it says; print what it says where it fails."""
        done = subprocess.run(
            command,
            cwd=folder or self.project,
            env=self.environment | more,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.stderr.write(f"$ {' '.join(command)}\n{done.stdout[-6000:]}{done.stderr[-6000:]}\n")
            raise subprocess.CalledProcessError(done.returncode, command)
        return done.stdout

    def typed(self, line: str, phase: str) -> str:
        """Do what a person types, and count it."""
        self.measured.commands.append(line.replace(str(self.wheel), self.wheel.name))
        started = time.monotonic()
        try:
            return self.run(["bash", "-c", line])
        finally:
            spent = time.monotonic() - started
            self.measured.seconds[phase] = round(self.measured.seconds.get(phase, 0) + spent, 1)

    def have_run_it_once(self) -> None:
        """Do what the repository's own team has done before: data, packages, a run, a commit, a push."""
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "uv"
        self.run([uv, "venv", "-q", "--python", sys.executable, str(self.folder / "team")])
        wanted = self.shape.packages or ("-r", str(self.top / self.shape.requirements))
        self.run([uv, "pip", "install", "-q", "--python", str(self.folder / "team"), *wanted])
        (self.folder / "dvc").mkdir()  # DVC of this environment, python of theirs
        (self.folder / "dvc/dvc").symlink_to(Path(sys.executable).with_name("dvc"))
        team = {"PATH": f"{self.folder / 'dvc'}:{self.folder / 'team/bin'}:/usr/bin:/bin"}
        for folder in self.shape.folders:
            (self.project / folder).mkdir(parents=True, exist_ok=True)
        self.run(["dvc", "remote", "add", "-q", "-f", "--default", "team", str(self.folder / "remote")], **team)
        if self.shape.stand_in:
            tracked = self.project / f"{self.shape.data}.dvc"
            tracked.unlink(missing_ok=True)
            (self.project / self.shape.data).parent.mkdir(parents=True, exist_ok=True)
            self.shape.stand_in(self.project)
            self.run(["dvc", "add", "-q", self.shape.data], **team)
        self.run(["dvc", "repro", "-q"], **team)
        self.run(["git", "add", "-A"])
        self.run(["git", "commit", "-q", "-m", "Run it with the data that there is"])
        self.run(["dvc", "push", "-q"], **team)
        self.run(["git", "push", "-q", "origin", "main"])

    def adopt(self) -> None:
        """Do what a stranger types, from `pip install` to the merge of what `lockgate init` proposes."""
        up = "../../venv" if self.shape.project else "../venv"
        self.typed(f"python3 -m venv {up} && {up}/bin/pip install -q {self.wheel}", "pip install")
        said = self.typed("lockgate init", "lockgate init")
        self.measured.open = [line.removeprefix("open: ") for line in said.splitlines() if line.startswith("open: ")]
        self.typed("git merge -q lockgate-init && git push -q origin main", "merge")

    def change(self) -> str:
        """Make the branch of the pull request; return its head."""
        path, before, after = self.shape.edit
        before_it = (self.project / path).read_text()
        changed, times = re.subn(before, after, before_it, count=1)
        assert times
        assert changed != before_it, "the change changes nothing"
        self.run(["git", "checkout", "-q", "-b", "change"])
        (self.project / path).write_text(changed)
        self.run(["git", "commit", "-q", "-a", "-m", "Change one parameter"])
        self.run(["git", "push", "-q", "origin", "change"])
        return self.run(["git", "rev-parse", "HEAD"]).strip()

    def check(self) -> Path:
        """Run the check of the pull request, as `pull-request.yml` does, in a clone of its own."""
        clone = self.folder / "runner"
        self.run(["git", "clone", "-q", "-b", "change", str(self.origin), str(clone)], self.folder)
        folder = clone / self.shape.project
        started = time.monotonic()
        command = [
            "lockgate",
            "ci",
            "pull-request",
            "--base",
            "origin/main",
            "--into",
            "handover",
            "--dependencies",
            "locked",
        ]
        done = subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True, check=False)
        self.measured.seconds["check"] = round(time.monotonic() - started, 1)
        (self.folder / "check.log").write_text(done.stdout + done.stderr)
        sys.stderr.write(done.stdout[-3000:] + done.stderr[-3000:])
        return folder / "handover"

    def comment(self, handover: Path, head: str) -> None:
        """Write the comment, as publish.yml would, and read the verdict."""
        result = read_result((handover / "result.json").read_bytes())
        told = Told(head, "https://github.com/OWNER/NAME/actions/runs/1").with_result(
            result, result.base or result.head, result.head
        )
        (self.folder / "comment.md").write_text(text(told, Written(head)))
        spent = sum(run.seconds for run in result.execution.stages) if result.execution else 0.0
        self.measured.seconds["check"] = round(self.measured.seconds["check"] - spent, 1)
        self.measured.seconds["stages"] = round(spent, 1)
        self.measured.outcome = f"{result.verdict.outcome}: {result.verdict.reason}"
        self.measured.gates = [f"{gate.rule}: {gate.measured}" for gate in result.gates]


def main() -> None:
    """Measure each shape and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshots", type=Path)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=", ".join(SHAPES))
    parser.add_argument("--wheel", type=Path, help="the wheel to install (default: one is built)")
    parser.add_argument("--keep", type=Path, help="a folder where everything is left to look at")
    parser.add_argument("--json", type=Path, help="where the figures go")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        wheel = given.wheel
        if wheel is None:
            subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"], cwd=ROOT, check=True
            )
            wheel = next((folder / "dist").glob("*.whl"))
        for name in given.shapes or SHAPES:
            here = folder / name
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir(parents=True)
            stranger = Stranger(name, given.snapshots / name, here, wheel.resolve())
            stranger.have_run_it_once()
            stranger.adopt()
            head = stranger.change()
            stranger.comment(stranger.check(), head)
            rows.append(stranger.measured)
            sys.stdout.write(json.dumps(asdict(stranger.measured), indent=1) + "\n")
    for one in rows:
        by_hand = f"{len(one.commands)} commands  {one.lines_by_hand} lines by hand"
        sys.stdout.write(f"{one.shape:24}{by_hand}  {one.minutes:.1f} minutes  {one.outcome}\n")
    if given.json:
        given.json.write_text(
            json.dumps([asdict(one) | {"minutes": round(one.minutes, 1)} for one in rows], indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
