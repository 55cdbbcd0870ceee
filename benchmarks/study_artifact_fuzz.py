"""What comes of broken and forged artifacts: every one is answered by a status and a comment, and none turns it green.

    python benchmarks/study_artifact_fuzz.py [--mutations 100000] [--jobs 2] [--output docs/studies/artifact-fuzz.json]

An honest run of a small pull request is made once. Then its artifact is mutated with a fixed seed: bytes of the
archive, bytes of a file in it, values in the JSON of the result, entries of the lock, files left out, added or
exchanged. Each is judged as the publishing half does. Counted are the answers; an error that is not one of lockgate's
own, or a comment that GitHub would not take, is an escape, and so is a green status for another result.

What is computed apart is computed once for equal inputs, in a copy of this process that has the same bounds; each
hundredth is computed in the sandbox as well, as the publishing half does, and has to come to the same. Answers do not
depend on the number of jobs: each block of a thousand mutations has a seed of its own.
"""

import argparse
import functools
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockgate import git
from lockgate.dvc.stages import DvcProcess, _parse_once
from lockgate.errors import LockgateError
from lockgate.git import Commit
from lockgate.publishing import apart, artifact, comment
from lockgate.publishing.artifact import Artifact
from lockgate.publishing.bound import Computed
from lockgate.publishing.check import judge
from lockgate.publishing.comment import Told, Written
from lockgate.publishing.publish import Publisher, Run
from lockgate.rendering.markdown import LIMIT
from lockgate.result import Result

SEED = 20_131_207
FILES = {
    "train.py": """\
import json, random
noise = float(open("params.yaml").read().split("noise:")[1])
draw, rows = random.Random(1), []
for n in range(300):
    truth = draw.gauss(0, 1)
    rows.append((n, "AB"[n % 2], int(draw.random() < 1 / (1 + 2.718281828 ** -truth)), truth + draw.gauss(0, noise)))
rank = sorted(rows, key=lambda row: row[3])
late = sum(row[2] for row in rows)
wins = sum(sum(1 - other[2] for other in rank[:place]) for place, row in enumerate(rank) if row[2])
json.dump({"roc_auc": round(wins / (late * (len(rows) - late)), 6)}, open("metrics.json", "w"))
json.dump([{"x": n / 10, "y": (n / 10) ** noise} for n in range(11)], open("roc.json", "w"))
open("model.bin", "w").write(f"noise {noise}")
scored = ["id,group,label,score"]
scored += [f"{n},{group},{label},{1 / (1 + 2.718281828 ** -x):.9f}" for n, group, label, x in rows]
open("predictions.csv", "w").write("\\n".join(scored) + "\\n")
""",
    "params.yaml": "noise: 1.0\n",
    "dvc.yaml": """\
stages:
  train:
    cmd: python train.py
    deps: [train.py]
    params: [noise]
    outs: [model.bin, predictions.csv]
    metrics: [{metrics.json: {cache: false}}]
    plots: [{roc.json: {cache: false}}]
artifacts: {m: {path: model.bin}}
""",
    "lockgate.yaml": """\
model: m
metrics: {roc_auc: {file: metrics.json, key: roc_auc, better: higher}}
predictions: {file: predictions.csv, key: [id], label: label, score: score, slices: [group], slice_metric: roc_auc}
plots: [{file: roc.json, title: ROC, x: x, y: y}]
gates:
  - {kind: floor, metric: roc_auc, value: 0.5}
  - {kind: no-worse, metric: roc_auc, tolerance: 0.01}
  - {kind: model-size, at_most: 1 MB}
""",
}


@dataclass
class Shelf:
    """In place of GitHub: the one artifact that is to be judged."""

    content: bytes = b""
    repository: str = "lab/model"
    token: str = ""

    def artifact(self, _run: int, _name: str, limit: int) -> bytes:
        """Return it, as GitHub's client does."""
        return self.content[: limit + 1]


def make(folder: Path) -> tuple[Path, Commit, Commit, dict[str, bytes]]:
    """Make the repository with its two commits, and what an honest run of the second leaves."""
    root = folder / "project"
    root.mkdir()
    for command in (["git", "init", "-q", "-b", "main"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True)
    for path, text in FILES.items():
        (root / path).write_text(text)
    subprocess.run(["dvc", "repro", "-q"], cwd=root, check=True)
    commit(root, "a model")
    base = git.resolve(root, "HEAD")
    git.git(root, "checkout", "-q", "-b", "change")
    (root / "params.yaml").write_text("noise: 0.7\n")
    commit(root, "less noise")
    head = git.resolve(root, "HEAD")
    with DvcProcess(root) as dvc:
        artifact.write(folder / "left", judge(root, base, dvc))
    honest = {path.name: path.read_bytes() for path in (folder / "left").iterdir()}
    return root, Commit(root, "main", base), Commit(root, "change", head), honest


def commit(root: Path, message: str) -> None:
    """Commit everything."""
    git.git(root, "add", "-A")
    git.git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", message)


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an archive with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Mutator:
    """Draws one altered artifact after the other."""

    def __init__(self, honest: Mapping[str, bytes], block: int = 0) -> None:
        """Begin with the seed of a block of mutations."""
        self.honest, self.draw = honest, random.Random(SEED + block)
        self.whole = zipped(honest)
        self.names = sorted(honest)

    def next(self) -> tuple[str, bytes]:
        """Return the kind of a mutation and the archive."""
        kind = self.draw.choices(("archive", "file", "result", "result text", "lock", "files"), (3, 2, 8, 2, 4, 2))[0]
        made = getattr(self, "_" + kind.replace(" ", "_"))()
        return kind, made if isinstance(made, bytes) else zipped(made)

    def _archive(self) -> bytes:
        return self._bytes(self.whole)

    def _file(self) -> dict[str, bytes]:
        name = self.draw.choice(self.names)
        return {**self.honest, name: self._bytes(self.honest[name])}

    def _result(self) -> dict[str, bytes]:
        value = json.loads(self.honest["result.json"])
        for _ in range(self.draw.choice((1, 1, 1, 2, 5))):
            self._change(value)
        return {**self.honest, "result.json": json.dumps(value).encode()}

    def _result_text(self) -> dict[str, bytes]:
        text = self.honest["result.json"].decode()
        at = self.draw.randrange(len(text))
        piece = self.draw.choice(('"\\ud800"', "NaN", "1e999", "[" * 2_000, "null", "\\u0000", "\u202e", "-", '",'))
        return {**self.honest, "result.json": (text[:at] + piece + text[at + self.draw.choice((0, 1, 8)) :]).encode()}

    def _lock(self) -> dict[str, bytes]:
        lines = self.honest["dvc.lock"].decode().splitlines()
        at = self.draw.randrange(len(lines))
        change = self.draw.choice(("drop", "double", "swap", "text", "bomb"))
        if change == "drop":
            del lines[at]
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "swap":
            other = self.draw.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif change == "text":
            lines[at] = lines[at][: self.draw.randrange(len(lines[at]) + 1)] + self.draw.choice(
                ("x", " 1", ": {", "0" * 40, "!!python/object:os.system x", "&a [*a]", "'", "2013-01-01", "~", "\t")
            )
        else:
            lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" if n else "a0: &a0 [x]" for n in range(7)]
        return {**self.honest, "dvc.lock": "\n".join(lines).encode()}

    def _files(self) -> dict[str, bytes]:
        files = dict(self.honest)
        change = self.draw.choice(("drop", "add", "exchange", "empty"))
        name, other = self.draw.choice(self.names), self.draw.choice(self.names)
        if change == "drop":
            del files[name]
        elif change == "add":
            files[self.draw.choice(("x", "../x", "error.json", "outputs.json", "binaries.json", "0" * 32))] = files[
                name
            ]
        elif change == "exchange":
            files[name], files[other] = files[other], files[name]
        else:
            files[name] = b""
        return files

    def _bytes(self, content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(self.draw.choice((1, 1, 2, 8))):
            at = self.draw.randrange(len(changed) + 1)
            match self.draw.randrange(4):
                case 0 if changed:
                    changed[min(at, len(changed) - 1)] = self.draw.randrange(256)
                case 1:
                    del changed[at : at + self.draw.choice((1, 4, 100))]
                case 2:
                    changed[at:at] = self.draw.randbytes(self.draw.choice((1, 4, 30)))
                case _:
                    changed = changed[:at] if self.draw.random() < 0.2 else changed
        return bytes(changed)

    def _change(self, value: Any) -> None:
        """Change one value, anywhere inside."""
        while True:
            keys = list(value) if isinstance(value, dict) else list(range(len(value)))
            if not keys:
                return
            key = self.draw.choice(keys)
            if isinstance(value[key], dict | list) and value[key] and self.draw.random() < 0.85:
                value = value[key]
                continue
            break
        old = value[key]
        choices: list[Any] = [None, True, 0, -1, 0.987, "", "x", "passed", "failed", [], {}, [old, old], 10**30]
        if isinstance(value, list) and self.draw.random() < 0.4:
            value.append(old) if self.draw.random() < 0.5 else value.pop(key)
        elif isinstance(old, int | float) and not isinstance(old, bool) and self.draw.random() < 0.6:
            value[key] = old * self.draw.choice((0, -1, 1.01, 2, 0.5)) + self.draw.choice((0, 1))
        else:
            value[key] = self.draw.choice(choices)


class Judge:
    """Answers artifacts as the publishing half does; what it computes apart is computed once for equal inputs."""

    def __init__(self, root: Path, base: Commit, head: Commit) -> None:
        """Begin with nothing computed."""
        self.base, self.head, self.shelf = base, head, Shelf()
        self.known: dict[str, Computed | Exception] = {}
        self.apart = 0
        run = Run(1, "pull_request", "", "success", head.commit, "change", "lab/model", "https://example.org")
        self.publisher = Publisher(root, self.shelf, run, "https://example.org", compute=self._compute)  # type: ignore[arg-type]

    def answer(self, content: bytes) -> tuple[str, Told, str]:
        """Return the status, what it is about, and the comment."""
        self.shelf.content = content
        told = Told(self.head.commit, "https://example.org")
        try:
            told, _files = self.publisher.judged(told, self.base, self.head)
        except LockgateError as error:
            told = told.with_failure(str(error))
        state, _ = self.publisher.status(told)
        return state, told, comment.text(told, Written())

    def _compute(self, sides: apart.Sides, left: Artifact) -> Computed:
        result = left.result
        run = result.execution if result else None
        over = run is not None and run.failed_stage is not None
        inner = (run if over else run is None, result.lock.status == "claimed") if result else None
        key = repr(
            (inner, left.lock, sorted(left.outputs.items()), sorted(left.binaries), sorted(left.objects.items()))
        )
        if key not in self.known:
            self.known[key] = outcome(lambda: copied(sides, left))
            self.apart += 1
            if self.apart % 100 == 0:
                real, quick = outcome(lambda: apart.compute(sides, left)), self.known[key]
                if real != quick and str(real) != str(quick):
                    raise AssertionError(f"in the sandbox it comes to something else: {real}")
        found = self.known[key]
        if isinstance(found, Exception):
            raise found
        return found


def outcome(work: Callable[[], Computed]) -> Computed | Exception:
    """Return what some work comes to, or its error."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - raised again by the caller
        return error


def copied(sides: apart.Sides, left: Artifact) -> Computed:
    """Return what :func:`apart.compute` does, computed in a copy of this process."""
    with tempfile.TemporaryDirectory() as folder:
        artifact.write(Path(folder), left)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    ready, said = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(ready)
            apart.bound_this_process()
            signal.alarm(60)  # a library that was at work when the process was copied may wait for ever
            base, head = (Commit(sides.root, side.label, side.commit) for side in (sides.base, sides.head))
            text = apart.answer(apart.Sides(sides.root, base, head), files)
            with os.fdopen(said, "w") as stream:
                stream.write(text)
            code = 0
        except BaseException as error:  # noqa: BLE001 - a copy must not come back
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(code)
    os.close(said)
    with os.fdopen(ready, "rb") as stream:
        output = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return apart.compute(sides, left) if code == -signal.SIGALRM else apart.heard(output, "", code)


BLOCK = 1_000


def study(mutations: int, jobs: int = 1, done: Path | None = None) -> dict[str, Any]:
    """Return the counts. Blocks that are finished are kept in the file ``done``, and are not judged again."""
    os.environ.update(DVC_NO_ANALYTICS="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with tempfile.TemporaryDirectory() as folder:
        root, base, head, honest = make(Path(folder))
        _parse_once()
        told = truth(root, base, head, honest)
        blocks = [(block, min(BLOCK, mutations - block * BLOCK)) for block in range(-(-mutations // BLOCK))]
        kept = done or Path(folder, "blocks")
        known = {one["block"] for one in read(kept)}
        work = functools.partial(judged, root, base, head, honest, told)
        shared(jobs, work, [one for one in blocks if one[0] not in known], kept)
        found = [one for one in read(kept) if one["block"] < len(blocks)]
    if len(found) < len(blocks):
        raise SystemExit("a job has died")
    counts = sum((Counter(one["answers"]) for one in found), Counter[str]())
    escapes = [escape for one in found for escape in one["escapes"]]
    return {
        "seed": SEED,
        "mutations": sum(one["mutations"] for one in found),
        "answers": dict(sorted(counts.items())),
        "computed apart": sum(one["apart"] for one in found),
        "slowest answer, seconds": round(max(one["slowest"] for one in found), 1),
        "escapes": escapes,
    }


def read(file: Path) -> list[dict[str, Any]]:
    """Return the blocks that are finished."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def shared(jobs: int, work: Callable[[int, int], dict[str, Any]], blocks: list[tuple[int, int]], kept: Path) -> None:
    """Do the work for each block, in copies of this process if it is for several, and keep what it comes to, a line a
    block."""

    def do(mine: list[tuple[int, int]]) -> None:
        for block in mine:
            line = json.dumps(work(*block)) + "\n"
            with kept.open("a") as stream:
                stream.write(line)

    if jobs == 1:
        do(blocks)
        return
    children = []
    for job in range(jobs):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                do(blocks[job::jobs])
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def truth(root: Path, base: Commit, head: Commit, honest: Mapping[str, bytes]) -> Result:
    """Return the result that the honest artifact is shown with."""
    state, told, _ = Judge(root, base, head).answer(zipped(honest))
    if state != "success" or told.result is None:
        raise SystemExit(f"the honest artifact is answered with '{state}': {told.misfit}")
    return told.result


def judged(
    root: Path, base: Commit, head: Commit, honest: Mapping[str, bytes], true: Result, block: int, mutations: int
) -> dict[str, Any]:
    """Judge one block of mutations; return the counts."""
    sides = (Commit(root, side.label, side.commit) for side in (base, head))
    judging, mutator = Judge(root, *sides), Mutator(honest, block)
    counts: Counter[str] = Counter()
    escapes: list[str] = []
    slowest = 0.0
    for number in range(mutations):
        kind, content = mutator.next()
        place = f"{block * BLOCK + number} {kind}"
        start = time.monotonic()
        try:
            state, told, body = judging.answer(content)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            escapes.append(f"{place}: {type(error).__name__}: {error}")
            continue
        slowest = max(slowest, time.monotonic() - start)
        counts[f"{kind}: {state}"] += 1
        if len(body) > LIMIT or not body.startswith(("###", "> [!WARNING]")):
            escapes.append(f"{place}: a comment that cannot be posted")
        if state == "success" and replace(told.result or true, execution=true.execution) != true:
            escapes.append(f"{place}: green for another result")
    return {
        "block": block,
        "mutations": mutations,
        "answers": dict(counts),
        "apart": judging.apart,
        "slowest": slowest,
        "escapes": escapes,
    }


def main() -> int:
    """Print the counts, or write them; 1 if anything escaped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=1, help="processes at work")
    parser.add_argument("--blocks", type=Path, help="keep finished blocks in this file, and do not judge them again")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = study(arguments.mutations, arguments.jobs, arguments.blocks)
    text = json.dumps({"command": "python benchmarks/study_artifact_fuzz.py", **found}, indent=1) + "\n"
    arguments.output.write_text(text) if arguments.output else sys.stdout.write(text)
    return 1 if found["escapes"] else 0


if __name__ == "__main__":
    sys.exit(main())
