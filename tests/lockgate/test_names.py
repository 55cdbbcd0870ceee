"""Which names of files are taken from somebody else's list, and which are not."""
# ruff: noqa: RUF001

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.names import astray, clash, first_unplain, folded, unplain

HARMFUL = [
    *(".git/config", ".GIT/config", "a/.Git/hooks/pre-commit", ".git", ".git /config", ".git./x", ".git.. ./x"),
    *(".g\u200cit/config", ".git\ufe0f/x", ".\u2060git/config", "\uff0egit/config", ".\uff47\uff49\uff54/x"),
    *(".git::$INDEX_ALLOCATION/config", ".git:x/y", "git~1/config", "GIT~1/config", "a\\.git\\config"),
    *(".dvc/config", "a/.DVC/config.local", ".dvc /config", ".dvcignore", "a/.dvcignore", ".hg/hgrc", ".lockgate/x"),
    *("/etc/passwd", "../x", "a/../../x", "..\\x", "C:/x", "c:\\x", "", "a/", "a//b", "./a", "a/./b", ".", ".."),
    *("a\0b", "\ud800"),
]
ODD = [
    *("a\nb", "a\x1b[31mb", "a\x7f", "\u202etxt.exe", "a\u200bb", "a\u2028b", "a\u00a0b", "a\u3164", "a\ufeffb"),
    *(
        "-rf",
        "a/-x",
        "~root",
        " a",
        "a ",
        "a|b",
        "a*",
        "`x`",
        "$(x)",
        "a;b",
        "a\uff0fb",
        "a\ue000",
        "a\\b",
        "a<b",
        'a"b',
    ),
    *("a" * 256, "é" * 128, "/".join("a" * 66), "/".join(["a" * 200] * 6)),
]
HONEST = [
    *("a.csv", "year=2020/part-0.parquet", "Foo (1).jpg", "Zoë.csv", "Zoe\u0308.csv", "日本語/データ（1）.csv"),
    *("^GSPC.csv", "R&D's.csv", "-1/x.png", ".zarray", ".gitattributes", ".gitkeep", "2020-01-01T00:00:00.csv"),
    *("❤️.png", "a…b.txt", "Acme Inc./x", "a~1.txt", "#1.csv", "100%.csv", "हिन्दी.txt", "github/x", "a.git/x", "m.dvc"),
    *("x" * 255, "_delta_log/0.json", "[a]{b}.txt", "/".join("a" * 60)),
]
TWINS = [
    *(["a", "a"], ["a", "A"], ["b", "a", "a/b"], ["A/b", "a"], ["é", "e\u0301"], ["a.", "a"], ["straße", "STRASSE"]),
    *(["a/b/c", "A/B"], ["x\ufe0f", "x"], ["a /b", "a/b"], ["Ω", "\u2126"]),
]


@pytest.mark.parametrize("path", HARMFUL, ids=ascii)
def test_a_name_that_does_harm_on_some_disk_is_refused_wherever_the_list_comes_from(path: str) -> None:
    assert astray(path) is not None
    assert unplain(path) is not None


@pytest.mark.parametrize("path", ODD, ids=lambda path: ascii(path)[:20])
def test_a_name_that_is_not_allowed_is_refused_from_outside_alone(path: str) -> None:
    assert astray(path) is None
    assert unplain(path) is not None


@pytest.mark.parametrize("path", HONEST, ids=lambda path: ascii(path)[:20])
def test_names_that_people_and_tools_give_are_allowed(path: str) -> None:
    assert unplain(path) is None


@pytest.mark.parametrize("paths", TWINS, ids=ascii)
def test_two_names_that_are_one_on_some_disk_are_found(paths: list[str]) -> None:
    assert clash(paths) is not None


def test_names_that_every_disk_tells_apart_do_not_clash() -> None:
    assert clash(["a/b", "a/c", "ab", "a.b", "a b", "é", "e"]) is None
    assert first_unplain(["a/b", "a/c"]) is None


PARTS = st.text(st.sampled_from("aAé.g\u200c ~-:\u0301İ/\\") | st.characters(), min_size=1, max_size=8)


@given(PARTS)
def test_what_is_allowed_is_text_that_names_a_file_below_its_folder(path: str) -> None:
    if unplain(path) is None:
        assert path == path.strip()
        assert path.isprintable() or "\ufe0e" in path or "\ufe0f" in path
        assert not {"", ".", ".."} & set(path.split("/"))
        assert astray(path) is None


@given(PARTS)
def test_what_is_folded_once_stays_as_it_is(path: str) -> None:
    assert folded(folded(path)) == folded(path)


def test_a_list_of_many_names_takes_no_more_than_a_moment() -> None:
    many = [f"folder/{number % 100}/file-{number:07}.parquet" for number in range(50_000)]
    started = time.process_time()

    assert first_unplain(many) is None
    assert time.process_time() - started < 5
