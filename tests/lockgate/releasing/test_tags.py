import string
import subprocess

import pytest
from gto.api import show
from gto.constants import name_to_tag, tag_to_name
from gto.exceptions import GTOException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.length import length
from tests.lockgate.factory import Project

from lockgate.releasing.manifest import tag_name
from lockgate.releasing.tags import (
    Lightweight,
    Malformed,
    NoSuchTag,
    SeveralVersions,
    Wanted,
    annotated,
    asked_for,
    listed,
    parse,
    versions_at,
)

NAMES = st.from_regex(r"[a-z]([a-z0-9_-]{0,8}[a-z0-9])?", fullmatch=True)
NUMBERS = st.integers(0, 10**6)


@given(NAMES, NUMBERS, NUMBERS, NUMBERS)
def test_a_release_is_read_from_its_tag(name: str, major: int, minor: int, patch: int) -> None:
    version = f"v{major}.{minor}.{patch}"
    assert parse(f"{name}@{version}") == Wanted(f"{name}@{version}", name, version=version)


@given(NAMES, NAMES, NUMBERS)
def test_a_promotion_is_read_from_its_tag(name: str, environment: str, number: int) -> None:
    tag = f"{name}#{environment}#{number}"
    assert parse(tag) == Wanted(tag, name, environment=environment, number=number)


def test_a_withdrawal_and_the_end_of_an_environment_are_read_from_their_tags() -> None:
    withdrawal, end = parse("flight-delay@v1.2.0!"), parse("flight-delay#staging!#2")
    assert (withdrawal.version, withdrawal.cancels) == ("v1.2.0", True)
    assert (end.environment, end.number, end.cancels) == ("staging", 2, True)
    assert not parse("flight-delay@v1.2.0").cancels


def test_a_candidate_of_a_release_is_a_version_too() -> None:
    assert parse("flight-delay@v1.2.0-rc.1").version == "v1.2.0-rc.1"


MALFORMED = {
    "nothing": "",
    "no version": "flight-delay",
    "version without v": "flight-delay@1.2.0",
    "two numbers": "flight-delay@v1.2",
    "four numbers": "flight-delay@v1.2.0.1",
    "leading zero": "flight-delay@v1.02.0",
    "digits of another script": "flight-delay@v1.٢.0",
    "build metadata": "flight-delay@v1.2.0+linux",
    "withdrawal with a counter": "flight-delay@v1.2.0!#2",
    "withdrawal of no version": "flight-delay@!",
    "counter on a version": "flight-delay@v1.2.0#1",
    "deprecation": "flight-delay@deprecated",
    "creation": "flight-delay@created",
    "promotion without its number": "flight-delay#production",
    "end of an environment without its number": "flight-delay#production!",
    "mark at the number": "flight-delay#production#2!",
    "number with a zero before it": "flight-delay#production#01",
    "folder of GTO's names": "models:flight-delay@v1.2.0",
    "no folder": "=flight-delay@v1.2.0",
    "way up": "../models=flight-delay@v1.2.0",
    "slash": "models/flight-delay@v1.2.0",
    "no name": "@v1.2.0",
    "line end": "flight-delay@v1.2.0\n",
    "second line": "flight-delay@v1.2.0\nname=value",
    "command": "$(touch pwned)@v1.2.0",
    "backticks": "`id`@v1.2.0",
    "expression": "${{ github.token }}@v1.2.0",
    "option": "--help@v1.2.0",
    "path": "../../x@v1.2.0",
    "markup": "<img src=x>@v1.2.0",
    "version of markup": "flight-delay@v1.2.0-<b>",
}


@pytest.mark.parametrize("tag", MALFORMED.values(), ids=MALFORMED)
def test_a_tag_in_another_form_asks_for_nothing_and_shows_the_grammar(tag: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse(tag)
    assert "NAME@vX.Y.Z" in refused.value.advice
    assert "\n" not in str(refused.value)


@given(st.text(string.printable, max_size=30))
def test_whatever_is_accepted_has_letters_that_mean_nothing_to_a_shell_a_path_or_a_page(tag: str) -> None:
    try:
        wanted = parse(tag)
    except Malformed:
        return
    assert set(tag) <= set(string.ascii_letters + string.digits + "-_.@#")
    assert tag == (f"{wanted.name}@{wanted.version}" if wanted.version else tag)


def test_an_annotated_tag_says_who_and_why(project: Project) -> None:
    commit = project.commit()
    project.git("tag", "-a", "m@v1.0.0", "-m", "Because\n\nof many things")
    found = annotated(project.root, "m@v1.0.0")
    assert (found.commit, found.tagger, found.subject) == (commit, "Ada", "Because")


def test_a_lightweight_tag_is_refused_with_the_way_to_an_annotated_one(project: Project) -> None:
    project.commit()
    project.git("tag", "m@v1.0.0")
    with pytest.raises(Lightweight, match=r"'m@v1\.0\.0' is lightweight") as refused:
        annotated(project.root, "m@v1.0.0")
    assert "git tag -a" in refused.value.advice


def test_a_tag_that_is_not_there_is_told_with_the_nearest_one(project: Project) -> None:
    project.commit()
    project.git("tag", "-a", "model@v1.0.0", "-m", "x")
    with pytest.raises(NoSuchTag, match=r"no tag 'modle@v1\.0\.0'; did you mean 'model@v1\.0\.0'"):
        annotated(project.root, "modle@v1.0.0")


def test_a_branch_of_the_tags_name_is_no_tag(project: Project) -> None:
    project.commit()
    project.git("branch", "m@v1.0.0")
    with pytest.raises(NoSuchTag):
        annotated(project.root, "m@v1.0.0")


def test_the_versions_of_a_commit_are_those_of_annotated_tags_of_that_model(project: Project) -> None:
    project.commit()
    project.git("tag", "-a", "m@v0.9.0", "-m", "x")
    commit = project.commit()
    for tag in ("m@v1.0.0", "m@v1.0.1", "mm@v3.0.0", "m@vnext", "m#staging#1"):
        project.git("tag", "-a", tag, "-m", "x")
    project.git("tag", "m@v2.0.0")
    assert versions_at(project.root, "m", commit) == ["v1.0.0", "v1.0.1"]


@pytest.mark.parametrize("tag", ["models=flight-delay@v1.2.0", "a/b=flight-delay#staging#3"])
def test_a_folder_stands_before_the_name_as_in_gtos_tags(tag: str) -> None:
    folder = tag.partition("=")[0].replace("/", "=")
    assert parse(tag).name == f"{folder}=flight-delay"


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["m", "a/b=m"]),
        st.sampled_from(["version", "version", "withdrawal", "promotion", "promotion", "end"]),
        st.integers(0, 2),
        st.sampled_from(["staging", "production"]),
    ),
    max_size=9,
)


def drawn_tags(events: list[tuple[str, str, int, str]], commits: list[str], *, crowded: bool) -> str:
    """Return the tags of some events for ``git fast-import``, a second apart; two versions meet at one commit only
    where it is ``crowded``."""
    tags: dict[str, str] = {}
    registered = set()
    for moment, (name, kind, place, environment) in enumerate(events):
        last = moment if crowded else 0
        tag = {
            "version": f"{name}@v1.{place}.{last}",
            "withdrawal": f"{name}@v1.{place}.0!",
            "promotion": f"{name}#{environment}#{moment + 1}",
            "end": f"{name}#{environment}!#{moment + 1}",
        }[kind]
        # GTO makes up a version where none is tagged; Lockgate refuses such promotions
        known = kind == "version" or ((name, place) in registered and not (crowded and kind == "withdrawal"))
        if known and tag not in tags:
            registered.add((name, place))
            tagger = f"tagger a <a@b.c> {1767225600 + moment} +0000"
            tags[tag] = f"tag {tag}\nfrom {commits[place]}\n{tagger}\ndata 1\nx\n"
    return "".join(tags.values())


@settings(max_examples=length(15, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.booleans())
def test_tags_ask_for_what_gto_shows_or_both_refuse(
    history: Project,
    events: list[tuple[str, str, int, str]],
    crowded: bool,
) -> None:
    commits = history.git("rev-list", "HEAD").split()
    for old in history.git("tag").split():
        history.git("tag", "-d", old)
    feed = ["git", "fast-import", "--quiet"]
    subprocess.run(feed, input=drawn_tags(events, commits, crowded=crowded), text=True, cwd=history.root, check=True)
    try:
        theirs = show(str(history.root))
    except GTOException:
        with pytest.raises(SeveralVersions):
            asked_for(listed(history.root))
        return

    ours = asked_for(listed(history.root))

    assert {tag_name(name): dict(asked.environments) for name, asked in ours.items()} == {
        name_to_tag(name): {stage: version for stage, version in found["stage"].items() if version}
        for name, found in theirs.items()
    }
    for name, asked in ours.items():
        versions = show(str(history.root), name=tag_to_name(tag_name(name)))
        assert set(asked.versions) == {one["version"] for one in versions if one["version"].startswith("v")}


@pytest.fixture
def history(project: Project) -> Project:
    """Three commits."""
    for number in range(3):
        project.commit(str(number))
    return project
