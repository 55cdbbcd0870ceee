"""A stranger's project: a pipeline with metrics and predictions, two merged changes, no word of Lockgate in it."""

import shutil
from pathlib import Path

import pytest
from tests.lockgate.factory import Project, working_in_a_copy

TRAIN = """\
import json, sys
shift = float(open("params.yaml").read().split("shift:")[1].split()[0])
rows = []
for n in range(400):
    late = (n * 7919) % 10 < 4
    noise = ((n * 104729) % 100 - 50) / 120 + shift * ((n * 31) % 7 - 3)
    score = min(0.99, max(0.01, (0.7 if late else 0.3) + noise))
    rows.append((n, ["AA", "UA", "B6"][n % 3], f"2024-01-{n % 28 + 1:02}", int(late), score))
with open("predictions.csv", "w") as file:
    file.write("id,carrier,date,late,probability\\n")
    file.writelines(f"{n},{c},{d},{late},{score}\\n" for n, c, d, late, score in rows)
good = sum((score >= 0.5) == bool(late) for *_, late, score in rows) / len(rows)
json.dump({"test": {"accuracy": round(good, 4)}, "train": {"accuracy": 0.99}, "churniness": 3.5, "rows": len(rows)},
          open("metrics.json", "w"))
open("model.pkl", "w").write(str(shift))
"""


@pytest.fixture(scope="session")
def stranger_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    with working_in_a_copy(template, folder) as made:
        made.write("train.py", TRAIN)
        made.write("params.yaml", "train:\n  seed: 7\n  shift: 0.0\n")
        made.stage(
            "train",
            cmd="python train.py",
            deps=["train.py"],
            params=["train.shift", "train.seed"],
            outs=["model.pkl", "predictions.csv"],
            metrics=[{"metrics.json": {"cache": False}}],
        )
        for shift, title in (("0.0", "First"), ("0.02", "Shift a little (#3)"), ("0.021", "Shift more (#4)")):
            made.write("params.yaml", f"train:\n  seed: 7\n  shift: {shift}\n")
            _, failure = made.repro()
            assert failure is None
            made.commit(title)
    made.push()
    return folder


@pytest.fixture
def stranger(stranger_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    shutil.copytree(stranger_template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "project")
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    project = Project(tmp_path / "project")
    project.git("remote", "add", "origin", "https://github.com/lab/stranger.git")
    return project
