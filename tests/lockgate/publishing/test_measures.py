"""Which changed files a reviewer is told of first: those that decide what runs, with what, and how it is judged."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.forge import git
from tests.lockgate import modelled
from tests.lockgate.factory import Project

from lockgate.dvc.opened import watching
from lockgate.dvc.stages import DvcProcess
from lockgate.git import Commit
from lockgate.publishing import comment
from lockgate.publishing.check import judge
from lockgate.publishing.comment import Told, Written
from lockgate.publishing.measures import Measuring, measures, measuring

MEASURING = (
    *(".github/workflows/ci.yml", ".github/actions/setup/action.yml", "Makefile", "rules.mk", "pyproject.toml"),
    *("hatch_build.py", "setup.cfg"),
    *("requirements/pipeline.lock", "requirements.txt", "uv.lock", "my packages.lock", ".python-version"),
    *(".gitattributes", "data/.gitattributes", ".dvcignore", "src/.dvcignore", "lockgate.pub", "keys/lockgate.old.pub"),
    *("sitecustomize.py", "src/sitecustomize.py", "sitecustomize/__init__.py", "conftest.py", "tests/conftest.py"),
    *("lockgate.yaml", ".dvc/config", "team/.dvc/config", "src/extra.pth", ".env"),
)
ORDINARY = ("README.md", "src/train.py", "params.yaml", "dvc.yaml", "dvc.lock", "reports/metrics.json", "docs/a.md")
READ = "tools/scale.json"
"""Read by a stage of the project below, and not one of its dependencies."""


@pytest.mark.parametrize("path", MEASURING)
def test_a_file_of_each_kind_that_decides_the_measurement_is_named(path: str) -> None:
    assert measures(path)
    assert measures(f"project/{path}", "project/")


@pytest.mark.parametrize("folder", [".github", ".dvc", "requirements"])
def test_a_link_or_submodule_in_place_of_a_folder_that_decides_is_named(folder: str) -> None:
    assert measures(folder)
    assert measures(f"project/{folder}", "project/")


@pytest.mark.parametrize("path", ORDINARY)
def test_an_input_or_output_of_the_pipeline_is_no_such_file(path: str) -> None:
    assert not measures(path)


# --- a project with a stage that reads what it does not name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, no_configuration_of_this_machine: None) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        project = Project.create(tmp_path_factory.mktemp("measures") / "project")
        patch.chdir(project.root)
        project.write("evaluate.py", 'import json\njson.load(open("tools/scale.json"))\n' + modelled.EVALUATE)
        project.write(READ, "1")
        project.write("README.md", "A model.\n")
        patch.setattr(modelled, "EVALUATE", project.read("evaluate.py"))
        modelled.make(project)
        project.push()
        project.git("branch", "base")
        yield project


@pytest.fixture
def project(made: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(made.root)
    made.git("reset", "-q", "--hard", "base")
    made.git("clean", "-q", "-d", "-f")
    return made


def changed(project: Project, files: Mapping[str, str]) -> Measuring:
    """Commit files and return what is said of them."""
    for path, text in files.items():
        project.write(path, text)
    project.git("add", "-f", *files)
    project.git("commit", "-q", "-m", "change")
    return measured(project)


def declare(project: Project, name: str, **stage: Any) -> None:
    """Add a stage."""
    content = yaml.safe_load(project.read("dvc.yaml"))
    content["stages"][name] = stage
    project.write("dvc.yaml", yaml.safe_dump(content, sort_keys=False))


def measured(project: Project) -> Measuring:
    sides = (Commit(project.root, name, project.git("rev-parse", name).strip()) for name in ("base", "HEAD"))
    return measuring(project.root, *sides)


def test_every_changed_file_that_measures_is_named_however_many(project: Project) -> None:
    found = changed(project, {**dict.fromkeys(MEASURING, "# changed\n"), "dvc.yaml": project.read("dvc.yaml") + "\n"})

    assert found.by_rule == tuple(sorted(MEASURING))
    assert found.others == ()


def test_a_changed_file_that_is_neither_a_dependency_nor_known_is_a_warning(project: Project) -> None:
    files = {"helpers.py": "#\n", "tools/run.sh": "#\n", "notes.txt": "x", "docs/guide.md": "x", "plot.PNG": "x"}

    found = changed(
        project, {**files, "evaluate.py": "# x\n" + project.read("evaluate.py"), "params.yaml": "train: {}"}
    )

    assert found.unknown == ("helpers.py", "notes.txt", "tools/run.sh")
    assert "`helpers.py`, `notes.txt`, `tools/run.sh`" in comment.text(Told("0" * 40, "", found), Written())


def test_what_bases_policy_says_no_stage_reads_is_no_warning_unless_it_is_opened_or_measures(project: Project) -> None:
    before = project.read("lockgate.yaml")
    files = {"notebooks/a.ipynb": "{}", "notebooks/conftest.py": "#\n", "notebooks2/b.ipynb": "{}", "notes.txt": "x"}
    own = changed(project, {**files, "lockgate.yaml": before + "ignored: [notebooks, notes.txt]\n"})
    assert own.unknown == ("notebooks/a.ipynb", "notebooks2/b.ipynb", "notes.txt")  # no word of its own counts

    project.git("reset", "-q", "--hard", "base")
    project.write("lockgate.yaml", before + "ignored: [notebooks, notes.txt]\n")
    said = Commit(project.root, "base", project.commit("they are for people"))
    for path, text in files.items():
        project.write(path, text)
    found = measuring(project.root, said, Commit(project.root, "head", project.commit("change")))

    assert found.by_rule == ("notebooks/conftest.py",)
    assert found.unknown == ("notebooks2/b.ipynb",)
    opened = found.with_opened(["notebooks/a.ipynb"])
    assert opened.opened == ("notebooks/a.ipynb",)


def test_a_file_that_is_in_a_dependency_but_ignored_by_dvc_is_a_warning(project: Project) -> None:
    declare(project, "look", deps=["lib"], outs=["out"], cmd="cat lib/* > out")
    project.write(".dvcignore", "lib/*.cfg\n")
    project.write("lib/one.py", "#\n")
    project.write("lib/one.cfg", "1\n")
    project.commit("a folder")
    project.git("branch", "-f", "other")
    sides = Commit(project.root, "other", project.git("rev-parse", "other").strip())
    project.write("lib/one.py", "# 2\n")
    project.write("lib/one.cfg", "2\n")

    found = measuring(project.root, sides, Commit(project.root, "head", project.commit("both")))

    assert found.unknown == ("lib/one.cfg",)


def test_no_declaration_of_a_pull_request_hides_a_file_that_it_changes(project: Project) -> None:
    project.write("tools/scale.json", "2")
    project.write("tools/seed.py", "SEED = 1\nprint('code')\n")
    outs = [{"tools/scale.json": {"cache": False}}]
    declare(project, "hide", params=[{"tools/seed.py": ["SEED"]}], outs=outs, cmd="echo 2 > tools/scale.json")
    project.commit("they are said to be an output and parameters")

    assert measured(project).unknown == ("tools/scale.json", "tools/seed.py")


def test_a_changed_value_that_no_stage_names_is_told(project: Project) -> None:
    train = {"noise": 0.5, "seed": 1}
    declare(project, "look", params=["seen.*"], outs=["o"], cmd="true")
    values = {"train": train, "hidden": {"flag": 2}, "lr": [1, 2], "seen": {"a": {"b": 1}}}
    found = changed(project, {"params.yaml": yaml.safe_dump(values), "dvc.yaml": project.read("dvc.yaml")})

    assert found.values == (("params.yaml", "hidden.flag"), ("params.yaml", "lr"))
    assert (found.by_rule, found.others) == ((), ())
    assert "`hidden.flag` in `params.yaml`" in comment.text(Told("0" * 40, "", found), Written())


def test_a_value_that_a_template_names_is_told_with_what_comes_of_it(project: Project) -> None:
    base = project.git("rev-parse", "base").strip()
    project.write("params.yaml", yaml.safe_dump({"train": {"noise": 1.0, "seed": 1}, "out": {"name": "a"}}))
    declare(project, "look", outs=["${out.name}"], cmd="echo 1 > ${out.name}")
    project.commit("a template")
    project.git("branch", "-f", "base")
    try:
        text = project.read("params.yaml").replace("name: a", "name: b")
        assert changed(project, {"params.yaml": text}) == Measuring()
    finally:
        project.git("branch", "-f", "base", base)


def test_what_a_stage_reads_without_naming_it_is_told_by_the_run(project: Project) -> None:
    modelled.set_params(project, noise=0.8)
    changed(
        project,
        {
            READ: "2",
            "README.md": "Another model.\n",
            "tools/other.sh": "#\n",
            "params.yaml": project.read("params.yaml"),
        },
    )
    with DvcProcess(project.root) as dvc:
        left = judge(project.root, "base", dvc)
    assert left.result is not None
    assert left.result.execution is not None

    found = measured(project).with_opened(left.result.execution.opened)

    assert found.opened == (READ,)
    assert found.unknown == ("tools/other.sh",)
    assert f"no stage names as a dependency: `{READ}`" in comment.text(Told("0" * 40, "", found), Written())


def test_what_a_run_says_was_opened_adds_and_never_takes_away(project: Project) -> None:
    found = changed(project, {"Makefile": "all:\n", "helpers.py": "#\n", "README.md": "x\n"})

    said = found.with_opened(["README.md", "Makefile", "evaluate.py", "nowhere"])

    assert (said.by_rule, said.opened, said.unknown) == (("Makefile",), ("README.md",), ("helpers.py",))


# --- the kernel's word


def test_a_file_is_seen_opened_whoever_opens_it_and_by_whatever_name(tmp_path: Path) -> None:
    for name in ("read", "linked to", "left alone"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to("linked to")
    with watching(tmp_path, ["read", "linked to", "link", "left alone", "nowhere"]) as opened:
        assert opened() == ()
        git(tmp_path, "hash-object", "read", "link")
        (tmp_path / "left alone").stat()

        assert opened() == ("link", "linked to", "read")
