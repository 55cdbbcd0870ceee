"""How long ``lockgate plan`` takes, beside a bare ``dvc status`` of the same repository in the same run.

Everything is a process of its own, as a user would start it; both sides take turns, and the median counts. The other
figures: ``lockgate --help``; the plan of generated pipelines, which must not grow faster than their stages do; the plan
of 127 stages that a matrix makes; and what a commit of 10,000 files and 100 stages takes to be read without a checkout
(``lockgate rebuild --level none``, which hashes all that the stages read).
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LOCKGATE = [sys.executable, "-m", "lockgate"]
SIZES = (25, 50, 100, 200)
MATRIX = 127
FILES, FOLDERS = 10_000, 100


def seconds(command: list[str], folder: Path, code: Path | None = None) -> float:
    """Return the wall time of one run of a command that has to succeed, with other ``code`` than this."""
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(code or ROOT / "src"), "DVC_NO_ANALYTICS": "1"}
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, env=env, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def take_turns(commands: dict[str, list[str]], folder: Path, rounds: int) -> dict[str, float]:
    """Return the median seconds of each command; they take turns, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            spent = seconds(command, folder)
            if number:
                times[name].append(spent)
    return {name: median(values) for name, values in times.items()}


def pipeline_of(stages: int, folder: Path) -> None:
    """Write a repository with a chain of ``stages`` stages, each with code, a parameter and an output of its own."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").touch()
    (folder / "params.yaml").write_text("".join(f"s{n}: {{lr: 0.1}}\n" for n in range(stages)))
    (folder / "code").mkdir()
    (folder / "out").mkdir()
    (folder / "out/.gitignore").write_text("*\n!.gitignore\n")
    pipeline, lock = ["stages:"], ["schema: '2.0'", "stages:"]
    for n in range(stages):
        deps = [f"code/s{n}.py", *([f"out/s{n - 1}"] if n else [])]
        for path in (deps[0], f"out/s{n}"):
            (folder / path).write_text(f"{path}\n")
        pipeline += [f"  s{n}:", f"    cmd: python code/s{n}.py", "    deps:", *(f"    - {path}" for path in deps)]
        pipeline += ["    params:", f"    - s{n}.lr", "    outs:", f"    - out/s{n}"]
        lock += [f"  s{n}:", f"    cmd: python code/s{n}.py", "    deps:", *(_entry(path) for path in deps)]
        lock += ["    params:", "      params.yaml:", f"        s{n}.lr: 0.1", "    outs:", _entry(f"out/s{n}")]
    (folder / "dvc.yaml").write_text("\n".join(pipeline) + "\n")
    (folder / "dvc.lock").write_text("\n".join(lock) + "\n")


def matrix_of(stages: int, folder: Path) -> None:
    """Write a repository with ``stages`` stages that one matrix makes, each with two parameters and a shared folder."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").touch()
    (folder / "params.yaml").write_text("lr: 0.1\nsizes: [" + ", ".join(map(str, range(stages))) + "]\n")
    (folder / "src").mkdir()
    for n in range(20):
        (folder / f"src/m{n}.py").write_text(f"{n}\n")
    (folder / "out").mkdir()
    (folder / "out/.gitignore").write_text("*\n!.gitignore\n")
    (folder / "dvc.yaml").write_text(
        "stages:\n  train:\n    matrix:\n      size: ${sizes}\n    cmd: train ${item.size}\n"
        "    deps: [src]\n    params: [lr]\n    outs: ['out/${item.size}']\n"
    )
    source = _folder({f"m{n}.py": f"{n}\n" for n in range(20)})
    lock = ["schema: '2.0'", "stages:"]
    for n in range(stages):
        (folder / f"out/{n}").write_text(f"out/{n}\n")
        lock += [f"  train@{n}:", f"    cmd: train {n}", "    deps:", f"    - path: src\n{source}"]
        lock += ["    params:", "      params.yaml:", "        lr: 0.1", "    outs:", _entry(f"out/{n}")]
    (folder / "dvc.lock").write_text("\n".join(lock) + "\n")


def files_of(files: int, stages: int, folder: Path) -> None:
    """Write and commit a repository of ``files`` files in ``stages`` folders, each read by a stage of its own."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").touch()
    (folder / ".gitattributes").write_text("*.txt text\n")
    pipeline, lock = ["stages:"], ["schema: '2.0'", "stages:"]
    for n in range(stages):
        contents = {f"{k:04}.txt": f"{n} {k}\n" * 20 for k in range(files // stages)}
        (folder / f"data/{n}").mkdir(parents=True)
        for name, text in contents.items():
            (folder / f"data/{n}/{name}").write_text(text)
        out = f"out{n}.txt"
        (folder / out).write_text(f"{out}\n")
        pipeline += [f"  s{n}:", "    cmd: c", "    deps:", f"    - data/{n}", "    outs:", f"    - {out}:"]
        pipeline += ["        cache: false"]
        lock += [f"  s{n}:", "    cmd: c", "    deps:", f"    - path: data/{n}\n{_folder(contents)}"]
        lock += ["    outs:", _entry(out)]
    (folder / "dvc.yaml").write_text("\n".join(pipeline) + "\n")
    (folder / "dvc.lock").write_text("\n".join(lock) + "\n")
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    subprocess.run(["git", *who, "commit", "-q", "-m", "all"], cwd=folder, check=True)


def _folder(contents: dict[str, str]) -> str:
    """Return what a lock says of a folder with these files."""
    digests = {name: hashlib.md5(text.encode()).hexdigest() for name, text in contents.items()}
    listing = json.dumps([{"md5": digests[name], "relpath": name} for name in sorted(digests)], sort_keys=True)
    size = sum(map(len, contents.values()))
    digest = hashlib.md5(listing.encode()).hexdigest()
    return f"      hash: md5\n      md5: {digest}.dir\n      size: {size}\n      nfiles: {len(contents)}"


def _entry(path: str) -> str:
    digest = hashlib.md5(f"{path}\n".encode()).hexdigest()
    return f"    - path: {path}\n      hash: md5\n      md5: {digest}\n      size: {len(path) + 1}"


def main() -> int:
    """Print the table. Exit code 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="runs of each command that count (default: 7)")
    rounds = parser.parse_args().rounds

    here = take_turns(
        {"plan": [*LOCKGATE, "plan"], "status": [str(BIN / "dvc"), "status"], "help": [*LOCKGATE, "--help"]},
        ROOT,
        rounds,
    )
    generated = {}
    for stages in SIZES:
        with tempfile.TemporaryDirectory() as name:
            pipeline_of(stages, Path(name))
            commands = {"plan": [*LOCKGATE, "plan"], "status": [str(BIN / "dvc"), "status"]}
            generated[stages] = take_turns(commands, Path(name), max(2, rounds // 3))
    with tempfile.TemporaryDirectory() as name:
        matrix_of(MATRIX, Path(name))
        matrix = take_turns(
            {"plan": [*LOCKGATE, "plan"], "status": [str(BIN / "dvc"), "status"]}, Path(name), max(3, rounds // 2)
        )
    with tempfile.TemporaryDirectory() as name:
        files_of(FILES, FOLDERS, Path(name))
        commands = {"read": [*LOCKGATE, "rebuild", "--level", "none"], "status": [str(BIN / "dvc"), "status"]}
        many = take_turns(commands, Path(name), max(3, rounds // 2))
    smallest, biggest = SIZES[0], SIZES[-1]
    growth = generated[biggest]["plan"] / generated[smallest]["plan"]

    rows = [
        ("lockgate plan, this repository", here["plan"], here["plan"] / here["status"], "<= 1.3 x dvc status"),
        ("dvc status, this repository", here["status"], 1.0, ""),
        ("lockgate --help", here["help"], None, "<= 0.2 s"),
        *(
            (f"lockgate plan, {stages} stages", times["plan"], times["plan"] / times["status"], "")
            for stages, times in generated.items()
        ),
        (
            f"lockgate plan, {MATRIX} by a matrix",
            matrix["plan"],
            matrix["plan"] / matrix["status"],
            "<= 1.0 x dvc status",
        ),
        (f"a commit of {FILES:,} files", many["read"], many["read"] / many["status"], "<= 2.0 x dvc status"),
    ]
    print(f"{'':32}  {'seconds':>7}  {'x dvc status':>12}  bound")
    for name, spent, ratio, bound in rows:
        print(f"{name:32}  {spent:7.3f}  {'' if ratio is None else f'{ratio:.2f}':>12}  {bound}")
    print(f"{biggest // smallest} x the stages cost {growth:.1f} x the time (bound: {biggest // smallest})")
    held = here["plan"] <= 1.3 * here["status"] and here["help"] <= 0.2 and growth <= biggest / smallest
    held = held and matrix["plan"] <= matrix["status"] and many["read"] <= 2 * many["status"]
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
