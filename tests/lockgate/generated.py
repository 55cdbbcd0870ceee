"""Generated DVC repositories and edits of them, and what has to hold of each beside DVC itself.

A repository is drawn feature by feature (:data:`FEATURES`), run with DVC, committed, pushed, and edited. The laws are
:func:`check` and :func:`check_honest_run`.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from tests.lockgate.factory import Project, quiet

from lockgate.dvc.objects import CommitFiles, Files, WorkspaceFiles
from lockgate.dvc.pipeline import State, read_state
from lockgate.dvc.plan import StagePlan, plan
from lockgate.dvc.stages import run_stages
from lockgate.git import Commit, Overlay, Snapshot, Workspace, resolve
from lockgate.publishing.artifact import Artifact
from lockgate.publishing.check import KeptOutputs
from lockgate.publishing.write_back import changes, withheld

CAT = "find {deps} -type f ! -name .gitignore ! -name '*.dvc' 2>/dev/null | sort | xargs cat > {out}"
"""A command that writes what it reads, one file after the other."""


@dataclass
class Repository:
    """A repository in the making: its ``dvc.yaml`` by folder, and the edits that its features allow."""

    project: Project
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    edits: dict[str, Callable[["Repository"], None]] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.project.root

    def write(self, path: str, content: str) -> None:
        """Write a file."""
        self.project.write(path, content)

    def stage(self, name: str, folder: str = "", **definition: Any) -> None:
        """Declare a stage; its command reads its deps."""
        out = next(path for key in ("outs", "metrics", "plots") for path in _paths(definition.get(key, [])))
        deps = " ".join(definition.get("deps", ())) or "/dev/null"
        made = CAT.format(deps=deps, out=f"{out}all" if out.endswith("/") else out)
        cmd = f"mkdir -p {out} && {made}" if out.endswith("/") else made
        self.pipelines.setdefault(folder, {})[name] = {"cmd": definition.pop("cmd", cmd), **definition}

    def save(self) -> None:
        """Write the pipelines and the parameters."""
        for folder, content in self.pipelines.items():
            top = content.get("vars"), content.get("stages")
            whole = {"stages": content} if top == (None, None) else content
            self.write(f"{folder}/dvc.yaml" if folder else "dvc.yaml", yaml.safe_dump(whole, sort_keys=False))
        self.write("params.yaml", yaml.safe_dump(self.params))

    def append(self, path: str, text: str = "more\n") -> None:
        """Add a line to a file."""
        target = self.root / path
        content = target.read_text() if target.exists() else ""
        if target.exists() and not os.access(target, os.W_OK):
            target.unlink()
        self.write(path, content + text)


def _paths(items: Any) -> list[str]:
    return [path for item in items for path in ([item] if isinstance(item, str) else item)]


# --- features: each adds stages of its own, and edits that concern them


def plain(r: Repository) -> None:
    """Code, a parameter, and a chain of two."""
    r.write("src/a.py", "a\n")
    r.params["lr"] = 0.1
    r.stage("first", deps=["src/a.py"], params=["lr"], outs=["out/first.txt"], cmd=_in_folder("out", "src/a.py"))
    r.stage("second", deps=["out/first.txt"], outs=["second.txt"])
    r.edits["code"] = lambda r: r.append("src/a.py")
    r.edits["parameter"] = lambda r: _set(r, "lr", 0.2)
    r.edits["command"] = lambda r: _change(r, "", "second", cmd="cat out/first.txt out/first.txt > second.txt")
    r.edits["gone"] = lambda r: (r.root / "src/a.py").unlink()
    r.edits["another output"] = lambda r: _change(
        r, "", "second", cmd="cp out/first.txt second.txt; cp second.txt third.txt", outs=["second.txt", "third.txt"]
    )


def _in_folder(folder: str, dep: str) -> str:
    return f"mkdir -p {folder} && cp {dep} {folder}/first.txt"


def _set(r: Repository, key: str, value: Any) -> None:
    r.params[key] = value
    r.save()


def _change(r: Repository, folder: str, name: str, **definition: Any) -> None:
    r.pipelines[folder][name].update(definition)
    r.save()


def other_params(r: Repository) -> None:
    """Parameters in JSON, TOML and Python, keys and whole files."""
    r.write("conf/p.json", json.dumps({"a": {"b": 1}, "c": [1, 2]}))
    r.write("conf/p.toml", "[t]\nx = 1\ny = 'text'\n")
    r.write("conf/p.py", "RATE = 0.5\nclass Model:\n    layers = (1, 2)\n")
    params = [{"conf/p.json": ["a.b"]}, {"conf/p.toml": ["t.x", "t.y"]}, {"conf/p.py": ["RATE", "Model.layers"]}]
    r.stage("formats", params=params, outs=["formats.txt"])
    r.stage("whole", params=[{"conf/p.json": None}], outs=["whole.txt"])
    r.edits["json"] = lambda r: r.write("conf/p.json", json.dumps({"a": {"b": 2}, "c": [1, 2]}))
    r.edits["another json key"] = lambda r: r.write("conf/p.json", json.dumps({"a": {"b": 1}, "c": [1]}))
    r.edits["toml"] = lambda r: r.write("conf/p.toml", "[t]\nx = 2\ny = 'text'\n")
    r.edits["python"] = lambda r: r.write("conf/p.py", "RATE = 0.5\nclass Model:\n    layers = (1, 3)\n")


def templates(r: Repository) -> None:
    """foreach, matrix, vars, and what [parsing] makes of booleans and lists."""
    r.write(".dvc/config", (r.root / ".dvc/config").read_text() + "[parsing]\n    bool = boolean_optional\n")
    r.params.update({"names": ["x", "y"], "opts": {"fast": False, "sizes": [1, 2]}})
    stages = {
        "each": {"foreach": "${names}", "do": {"cmd": "echo ${item} > each-${item}.txt", "outs": ["each-${item}.txt"]}},
        "grid": {
            "matrix": {"a": [1, 2], "b": ["u"]},
            "cmd": "echo ${item.a} ${item.b} ${tag} > grid-${item.a}-${item.b}.txt",
            "outs": ["grid-${item.a}-${item.b}.txt"],
        },
        "options": {"cmd": "echo ${opts} > options.txt", "outs": ["options.txt"]},
    }
    r.pipelines["made"] = {"vars": [{"tag": "t1"}, "../params.yaml"], "stages": stages}
    r.edits["an item"] = lambda r: _set(r, "names", ["x", "z"])
    r.edits["a variable"] = lambda r: _top(r, "made", vars=[{"tag": "t2"}, "../params.yaml"])
    r.edits["an option"] = lambda r: _set(r, "opts", {"fast": True, "sizes": [1, 2]})


def _top(r: Repository, folder: str, **content: Any) -> None:
    r.pipelines[folder].update(content)
    r.save()


def folders(r: Repository) -> None:
    """A folder as dependency and as output, a wdir, and a pipeline in a subfolder."""
    r.write("lib/a.txt", "a\n")
    r.write("lib/sub/b.txt", "b\n")
    r.stage("pack", deps=["lib"], outs=["packed/"])
    r.stage("part", deps=["packed/all"], outs=["part.txt"])
    r.write("team/in.txt", "in\n")
    r.stage("inner", "team", deps=["in.txt", "../packed"], outs=["inner.txt"])
    r.stage("placed", wdir="team", deps=["in.txt"], outs=["placed.txt"])
    r.edits["a file of a folder"] = lambda r: r.append("lib/sub/b.txt")
    r.edits["a new file of a folder"] = lambda r: r.write("lib/c.txt", "c\n")
    r.edits["a file less"] = lambda r: (r.root / "lib/a.txt").unlink()
    r.edits["in the subfolder"] = lambda r: r.append("team/in.txt")


def tracked(r: Repository) -> None:
    """Data of .dvc files: alone, as a folder, and inside a folder that git holds too."""
    r.write("data/x.csv", "rows\n")
    r.write("data/note.txt", "note\n")
    r.write("data/deep/y.csv", "y\n")
    r.write("pictures/1.txt", "one\n")
    for path in ("data/x.csv", "data/deep", "pictures"):
        r.project.add(path)
    r.stage("mixed", deps=["data"], outs=["mixed.txt"])
    r.stage("whole-folder", deps=["pictures"], outs=["pictures.txt"])
    r.stage("one-file", deps=["data/x.csv", "data/deep/y.csv"], outs=["one.txt"])
    r.edits["tracked data"] = lambda r: _add(r, "data/x.csv")
    r.edits["data in a tracked folder"] = lambda r: _add(r, "data/deep/y.csv", "data/deep")
    r.edits["beside tracked data"] = lambda r: r.append("data/note.txt")
    r.edits["pictures"] = lambda r: _add(r, "pictures/2.txt", "pictures")


def _add(r: Repository, path: str, target: str | None = None) -> None:
    r.append(path)
    r.project.add(target or path)


def around(r: Repository) -> None:
    """A folder that holds what a stage writes, and outputs that git keeps."""
    r.write("reports/intro.md", "intro\n")
    r.write("figures.txt", "figures\n")
    r.stage("figure", deps=["figures.txt"], outs=["reports/figure.txt"])
    r.stage("metric", deps=["figures.txt"], metrics=[{"reports/metric.json": {"cache": False}}], cmd=_metric())
    r.stage("book", deps=["reports"], outs=["book.txt"])
    r.edits["beside outputs"] = lambda r: r.append("reports/intro.md")
    r.edits["before outputs"] = lambda r: r.append("figures.txt")


def _metric() -> str:
    return 'mkdir -p reports && echo "{\\"n\\": $(wc -c < figures.txt)}" > reports/metric.json'


def links(r: Repository) -> None:
    """Links to a file and to a folder, as dependency and inside one."""
    r.write("real/code.py", "code\n")
    r.write("real/more/x.py", "x\n")
    for path, target in {"linked.py": "real/code.py", "linked": "real", "mixed-code/l.py": "../real/code.py"}.items():
        (r.root / path).parent.mkdir(exist_ok=True)
        (r.root / path).symlink_to(target)
    r.write("mixed-code/own.py", "own\n")
    r.stage("by-link", deps=["linked.py"], outs=["by-link.txt"], cmd="cat linked.py > by-link.txt")
    r.stage("by-folder", deps=["linked"], outs=["by-folder.txt"], cmd="cat linked/* > by-folder.txt 2>&1 || true")
    r.stage("through", deps=["mixed-code"], outs=["through.txt"], cmd="cat mixed-code/* > through.txt")
    r.edits["behind a link"] = lambda r: r.append("real/code.py")
    r.edits["deep behind a link"] = lambda r: r.append("real/more/x.py")


def ignored(r: Repository) -> None:
    """.dvcignore at the top and in a folder, a nested project, attributes that change line endings."""
    r.write(".dvcignore", "*.tmp\n/old\n")
    r.write("old/dvc.yaml", "stages: {dead: {cmd: 'true', outs: [second.txt]}}\n")
    r.write("work/.dvcignore", "scratch\n")
    r.write("work/kept/a.txt", "a\n")
    r.write("work/kept/b.tmp", "b\n")
    r.write("work/kept/scratch/c.txt", "c\n")
    r.write("nested/.dvc/config", "")
    r.write("nested/dvc.yaml", "stages: [\n")
    r.write("work/kept/run.bat", "line\r\n")  # as a checkout has it; git stores it without the \r
    r.write(".gitattributes", "*.bat text eol=crlf\n")
    r.stage("kept", deps=["work/kept"], outs=["kept.txt"])
    r.edits["what is ignored"] = lambda r: r.append("work/kept/b.tmp")
    r.edits["what is ignored below"] = lambda r: r.append("work/kept/scratch/c.txt")
    r.edits["what is not ignored"] = lambda r: r.append("work/kept/a.txt")
    r.edits["a pattern less"] = lambda r: r.write("work/.dvcignore", "nothing\n")


def flags(r: Repository) -> None:
    """frozen, persist, always_changed, and a dependency outside the project."""
    r.write("ice.txt", "ice\n")
    outside = r.root.parent / "outside.txt"
    outside.write_text("outside\n")
    r.stage("frozen", deps=["ice.txt"], outs=["frozen.txt"])
    r.stage("persistent", deps=["ice.txt"], outs=[{"persistent.txt": {"persist": True}}])
    r.stage("always", always_changed=True, deps=["ice.txt"], outs=["always.txt"])
    r.stage("after", deps=["always.txt", "frozen.txt"], outs=["after.txt"])
    r.stage("external", deps=[str(outside)], outs=["external.txt"])
    r.edits["what a frozen stage reads"] = lambda r: r.append("ice.txt")
    r.edits["freeze"] = lambda r: _change(r, "", "frozen", frozen=True)
    r.edits["outside"] = lambda _: outside.write_text("more\n")

    def freeze_and_change(r: Repository) -> None:
        _change(r, "", "frozen", frozen=True)
        r.append("ice.txt")

    r.edits["freeze and change"] = freeze_and_change


FEATURES = (plain, other_params, templates, folders, tracked, around, links, ignored, flags)


@dataclass(frozen=True)
class Drawn:
    """What was drawn: names of features, and of edits in the order in which they are done."""

    features: tuple[str, ...]
    edits: tuple[str, ...]


EDITS = {
    feature.__name__: tuple(edits)
    for feature, edits in [
        (plain, ["code", "parameter", "command", "gone", "another output"]),
        (other_params, ["json", "another json key", "toml", "python"]),
        (templates, ["an item", "a variable", "an option"]),
        (folders, ["a file of a folder", "a new file of a folder", "a file less", "in the subfolder"]),
        (tracked, ["tracked data", "data in a tracked folder", "beside tracked data", "pictures"]),
        (around, ["beside outputs", "before outputs"]),
        (links, ["behind a link", "deep behind a link"]),
        (ignored, ["what is ignored", "what is ignored below", "what is not ignored", "a pattern less"]),
        (flags, ["what a frozen stage reads", "freeze", "outside", "freeze and change"]),
    ]
}


@st.composite
def drawn(draw: st.DrawFn, most: int = 3) -> Drawn:
    """Draw a repository of one feature or more, and edits of it."""
    names = draw(st.lists(st.sampled_from(sorted(EDITS)), min_size=1, max_size=most, unique=True))
    possible = [edit for name in names for edit in EDITS[name]]
    return Drawn(tuple(names), tuple(draw(st.lists(st.sampled_from(possible), max_size=3, unique=True))))


def make(folder: Path, what: Drawn) -> Repository:
    """Build, run, commit and push what was drawn, in ``folder``; the working directory must be ``folder / project``."""
    from dvc.repo import Repo

    project = Project.create(folder / "project")
    for name in ("stage.sh", "spec/.gitignore"):
        (project.root / name).unlink()
    repository = Repository(project)
    for feature in FEATURES:
        if feature.__name__ in what.features:
            feature(repository)
    repository.save()
    os.chdir(project.root)
    quiet()
    with Repo(str(project.root)) as repo:
        repo.reproduce(all_pipelines=True)
    project.commit()
    project.push()
    return repository


def plans_of(snapshot: Snapshot, files: Files) -> dict[str, StagePlan]:
    """Return the plan of each stage of a snapshot."""
    state: State = read_state(snapshot)
    return {item.name: item for item in plan(state.pipeline, state.lock, files, snapshot)}


def dvc_status(root: Path) -> dict[str, list[Any]]:
    """Return what ``dvc status`` says of each stage of a ``dvc.yaml``."""
    from dvc.repo import Repo

    quiet()
    with Repo(str(root)) as repo:
        found = repo.status()
    return {name: value for name, value in found.items() if not name.endswith(".dvc")}


def is_changed(said: list[Any]) -> bool:
    """Say whether DVC finds a cause that a run does not pass over: more than that something is not there."""
    for item in said:
        if isinstance(item, str):
            return True
        if any(state != "deleted" for entries in item.values() for state in entries.values()):
            return True
    return False


def check(folder: Path, what: Drawn) -> int:
    """Build what was drawn, edit it, and hold the plans against DVC's word. Return how many plans were compared.

    In the tree a stage will run if DVC finds a change of its own or it never ran, and not otherwise. A commit and a
    fresh clone of it have the same plan as the tree, or say that they cannot know.
    """
    repository = make(folder, what)
    compared = 0
    for edit in ("", *what.edits):
        if edit:
            repository.edits[edit](repository)
            repository.save()
        tree = plans_of(Workspace(repository.root), WorkspaceFiles(repository.root))
        changed = {name for name, said in dvc_status(repository.root).items() if is_changed(said)}
        changed |= {name for name, item in tree.items() if any(reason.kind == "new" for reason in item.reasons)}
        will = {name for name, item in tree.items() if item.verdict == "will"}
        assert will == changed, f"after '{edit}' DVC says {sorted(changed)}, the plan {sorted(will)}"
        repository.project.commit(edit or "none")
        label = f"after '{edit}'"
        commit = Commit(repository.root, "main", resolve(repository.root, "HEAD"))
        _agree(tree, plans_of(commit, CommitFiles(commit)), f"{label}, of the commit")
        clone = folder / "clone"
        shutil.rmtree(clone, ignore_errors=True)
        subprocess.run(["git", "clone", "-q", str(repository.root), str(clone)], check=True)
        _agree(tree, plans_of(Workspace(clone), WorkspaceFiles(clone)), f"{label}, in a clone")
        compared += 3
    return compared


def _agree(tree: dict[str, StagePlan], other: dict[str, StagePlan], where: str) -> None:
    assert tree.keys() == other.keys(), where
    for name, item in tree.items():
        there = other[name]
        cannot_know = any(reason.kind == "cache" for reason in there.reasons)
        only_here = {reason.kind for reason in item.reasons} <= {"output", "upstream"}
        assert item.verdict == there.verdict or cannot_know or (only_here and there.verdict != "will"), (
            f"{where}: {name} {item} {there}"
        )
        assert not (there.verdict == "will" and item.verdict == "same"), f"{where}: {name} {there}"


def check_honest_run(folder: Path, what: Drawn) -> None:
    """Build and edit what was drawn, run it in a clone as a pull request's check does, and judge what came out.

    An honest run fits: the publishing half takes its lock and outputs. With them on the branch nothing is left to run.
    """
    repository = make(folder, what)
    base = resolve(repository.root, "HEAD")
    for edit in what.edits:
        repository.edits[edit](repository)
        repository.save()
    head = repository.project.commit("edit")
    repository.project.push()
    runner = folder / "runner"
    subprocess.run(["git", "clone", "-q", str(repository.root), str(runner)], check=True)
    os.chdir(runner)
    done = run_stages(runner, everywhere=True)
    if not done.ok:
        assert "gone" in what.edits, done.failed
        return
    kept = KeptOutputs.of(runner)
    lock = runner / "dvc.lock"
    left = Artifact(None, lock.read_bytes() if lock.exists() else None, kept.texts, binaries=kept.binaries)
    before, after = (Commit(repository.root, name, sha) for name, sha in (("main", base), ("change", head)))
    files = changes(before, after, left)
    assert not withheld(after, left)
    settled = plans_of(overlay := Overlay(after, files), CommitFiles(overlay))
    behind = [
        item
        for item in settled.values()
        if not {r.kind for r in item.reasons if r.kind != "code" or r.after is not None}
        <= SETTLED  # DVC passes it over
    ]
    assert not behind, behind


SETTLED = {"always", "upstream", "cache"}
