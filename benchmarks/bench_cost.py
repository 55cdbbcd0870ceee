"""What a parameter-only pull request costs, beside the usual workflow, on one machine and one store in one run.

Both start from a fresh clone and a warm S3 remote (SeaweedFS on the loopback interface) that has all that the commit
names, and take turns. Usual: ``dvc pull``, ``dvc repro``, ``dvc push``, ``dvc metrics diff``, three ``dvc plots diff``.
Ours: ``lockgate pull-request``, which runs, judges and pushes, and ``lockgate render`` for the comment.

Seconds are those outside the commands of the stages, which are the same on both sides; bytes are those that the store
sent, counted between the two. A change of the last stage's parameter alone is shown too.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
sys.path.insert(0, str(ROOT))

from tests import seaweed  # noqa: E402 - the server of the tests

BUCKET = "cost"
CHANGES = {
    "train.learning_rate": ("params.yaml", "learning_rate: ", "learning_rate: 0.071  # was "),
    "evaluate.importance_rows": ("params.yaml", "importance_rows: ", "importance_rows: 5000  # was "),
}
AIMS = {"seconds": 0.5, "bytes": 0.3}
SHELL = """#!/bin/sh
began=$(date +%s.%N)
/bin/sh "$@"
code=$?
echo "$began $(date +%s.%N)" >> "$DVC_ROOT/.stage-times"
exit $code
"""


@dataclass
class Counter:
    """A relay in front of a server; ``sent`` are the bytes that came from it."""

    address: str
    sent: int = 0


@contextmanager
def counted(port: int) -> Iterator[Counter]:
    """Relay to a local port and count."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    counter = Counter(f"http://127.0.0.1:{listener.getsockname()[1]}")

    def pump(source: socket.socket, target: socket.socket, *, count: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(1 << 18):
                target.sendall(chunk)
                counter.sent += len(chunk) if count else 0
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=pump, args=(client, server), kwargs={"count": False}, daemon=True).start()
                threading.Thread(target=pump, args=(server, client), kwargs={"count": True}, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield counter
    listener.close()


class Bench:
    """One store, one commit, fresh clones of it."""

    def __init__(self, folder: Path, counter: Counter, store: seaweed.Seaweed) -> None:
        self.folder, self.counter = folder, counter
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GITHUB_"))},
            **store.environment("admin"),
            "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)]),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            **{
                f"GIT_{who}_{what}": f"bench@{what.lower()}"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.seed()

    def run(self, clone: Path, *command: str) -> None:
        """Run a command that has to succeed, or to end as a check does."""
        shell = clone / ".shell"  # in the clone, for a stage sees no other place that we could write to
        environment = self.environment | ({"SHELL": str(shell)} if shell.exists() else {})
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        if done.returncode > 1 or (done.returncode and command[0] != "lockgate"):
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def clone(self) -> Path:
        """Return a fresh clone whose remotes are the store, seen through the counter."""
        target = Path(tempfile.mkdtemp(dir=self.folder)) / "clone"
        self.run(self.folder, "git", "clone", "-q", str(self.folder / "origin"), str(target))
        return target

    def seed(self) -> None:
        """Make the origin: the commit checked out here, its remotes in the store, everything pushed as main would."""
        origin = self.folder / "origin"
        self.run(self.folder, "git", "clone", "-q", str(ROOT), str(origin))
        self.run(origin, "git", "checkout", "-q", "-B", "main")
        remotes = "".join(
            f"['remote \"{name}\"']\n    url = s3://{BUCKET}/{name}\n    verify = true\n"
            f"    endpointurl = {self.counter.address}\n"
            for name in ("trusted", "quarantine")
        )
        (origin / ".dvc/config").write_text(f"[core]\n    remote = trusted\n    analytics = false\n{remotes}")
        shutil.copytree(ROOT / ".dvc/cache", origin / ".dvc/cache")
        self.run(origin, "dvc", "checkout", "-q")
        self.run(origin, "dvc", "push", "-q", "--run-cache")
        self.run(origin, "git", "commit", "-q", "-a", "-m", "remotes")

    def measure(self, edit: tuple[str, str, str], workflow: list[list[str]]) -> tuple[float, int]:
        """Return the seconds outside stages and the bytes received of a workflow in a fresh clone with one edit."""
        clone = self.clone()
        file, before, after = edit
        text = (clone / file).read_text()
        assert before in text, f"{before!r} is not in {file}"
        (clone / file).write_text(text.replace(before, after, 1))
        self.run(clone, "git", "commit", "-q", "-a", "-m", "one parameter")
        (clone / ".shell").write_text(SHELL)
        (clone / ".shell").chmod(0o755)
        (clone / ".git/info/exclude").write_text(".shell\n.stage-times\n")
        times = clone / ".stage-times"
        times.write_text("")
        sent, started = self.counter.sent, time.monotonic()
        for command in workflow:
            self.run(clone, *command)
        spent = time.monotonic() - started
        stages = [line.split() for line in times.read_text().splitlines()]
        inside = sum(float(end) - float(began) for began, end in stages)
        shutil.rmtree(clone.parent)
        return spent - inside, self.counter.sent - sent


USUAL = [
    ["dvc", "pull", "-q"],
    ["dvc", "repro", "-q"],
    ["dvc", "push", "-q"],
    ["dvc", "metrics", "diff", "--md", "origin/main"],
    *(["dvc", "plots", "diff", "--targets", f"reports/plots/{name}.json", "-o", f"plots-{name}", "origin/main"]
      for name in ("roc", "precision_recall", "calibration")),
]  # fmt: skip
OURS = [
    ["lockgate", "pull-request", "--base", "origin/main", "--into", "handover"],
    ["lockgate", "render", "handover/result.json", "--format", "md", "--output", "comment.md"],
]


def main() -> int:
    """Print the tables. Exit code 0: the figures are aims, shown beside what was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="fresh clones of each side that count (default: 3)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="lockgate-cost-") as name, seaweed.running(Path(name), BUCKET) as store:
        port = int(store.endpoint.rpartition(":")[2])
        with counted(port) as counter:
            bench = Bench(Path(name), counter, store)
            for change, edit in CHANGES.items():
                found: dict[str, list[tuple[float, int]]] = {"usual": [], "ours": []}
                for _ in range(rounds):
                    found["usual"].append(bench.measure(edit, USUAL))
                    found["ours"].append(bench.measure(edit, OURS))
                usual, ours = ([median(side) for side in zip(*found[name], strict=True)] for name in found)
                print(f"{change}: median of {rounds}")
                for what, (a, b) in zip(AIMS, zip(usual, ours, strict=True), strict=True):
                    shown = (
                        (f"{a:.1f} s", f"{b:.1f} s")
                        if what == "seconds"
                        else (f"{a / 1e6:.2f} MB", f"{b / 1e6:.2f} MB")
                    )
                    print(f"  {what:8} usual {shown[0]:>9}  ours {shown[1]:>9}  ratio {b / a:.2f} (aim {AIMS[what]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
