import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lockgate.github import read, set_off

from lockgate.rendering.escape import (
    CODE_LIMIT,
    TEXT_LIMIT,
    block,
    code,
    escaped,
    label,
    log,
    shorten,
    text,
    visible,
    words,
)

PAYLOADS = [
    "@everyone and @org/team",
    "see #1, GH-1, owner/repo#1 and owner/repo@deadbeefcafe",
    "www.example.com http://x.test <https://x.test> mailto:a@b.test a@b.test xmpp:a@b.test/c",
    "![x](https://x.test/y.png) [a](b) [a][b] [b]: https://x.test [^1]",
    "[^1]: a footnote",
    "<img src=x onerror=alert(1)> <!-- marker --> </details> <script>x</script> <!DOCTYPE x> <?x?> <![CDATA[x]]>",
    ":smile: :+1: :shipit:",
    "$x$ $$x$$ $`x`$ \\(x\\)",
    "**b** __b__ *i* _i_ ~~s~~ `c` ``c`` ```c",
    "# heading",
    "### ✅ flight-delay passed",
    "- [x] done",
    "1. one",
    "1) one",
    "+ one",
    "> [!NOTE]",
    "---",
    "===",
    "a\n===\n\n---\n| a |\n|---|\n",
    "    indented",
    "a | b || \\| `|` \\`",
    "&lt; &amp;lt; &#64;team &commat;team",
    "x\u202eabc\u2066 \u200b\u2060\ufeff\u00ad\u3164\u034f\x00\x07\x1b[31m",
    "a\\",
    "`",
    "`` ` ``",
    " ` ",
    " a ",
    "/approve",
    "x" * 1000,
]
MARKUP = st.text(alphabet=list("`|<>&*_~[]()#@:$\\!-+=.,;'\"/^{}?%1aw \n\t\u00e9\u202e"), max_size=40)
NASTY = st.one_of(st.sampled_from(PAYLOADS), MARKUP, st.text(max_size=60), st.lists(MARKUP, max_size=4).map(" ".join))


def spaced(value: str) -> str:
    return re.sub(r"\s+", " ", value)


def unquoted(sentence: str) -> str:
    """Return the sentence without the backticks around words of it, which become code."""
    return re.sub(r"(?:(?<= )|^)(\(*)`([^`]+)`([.,;:!?)]*)(?= |$)", r"\1\2\3", sentence)


def test_words_between_backticks_are_code_and_the_backticks_are_gone() -> None:
    assert text("add `statistic: roc_auc`, (`auc`).") == "add `statistic: roc_auc`, (`auc`)."
    assert "&#96;" in text("a`b` and `c`d")


@given(NASTY)
def test_a_sentence_is_shown_word_for_word_and_does_nothing(value: str) -> None:
    seen = read(text(value))
    assert seen.text.strip() == unquoted(shorten(visible(spaced(value)), TEXT_LIMIT)).strip()
    assert set(seen.tags) <= {"<p>", "</p>", "<code>", "</code>"}
    assert seen.tags.count("<p>") <= 1
    assert set_off(seen) == []


@given(NASTY)
def test_a_value_is_shown_letter_for_letter_and_does_nothing(value: str) -> None:
    seen = read(f"x {code(value)} x")
    assert seen.text.strip() == f"x {shorten(visible(value), CODE_LIMIT) or '(empty)'} x"
    assert set(seen.tags) == {"<p>", "</p>", "<code>", "</code>"} or set(value) <= set("|<`")
    assert set_off(seen) == []


@given(NASTY, NASTY)
def test_values_stay_in_their_cells(one: str, two: str) -> None:
    seen = read(f"| a | b |\n|---|---|\n| {code(one)} | {text(two)} |\n")
    kinds = {"table", "thead", "tbody", "tr", "th", "td"}
    assert [tag for tag in seen.structure if tag.strip("</>") in kinds] == seen.structure
    assert seen.structure.count("<td>") == 2
    assert code(one).strip("`") == "" or seen.tags.count("<tr>") == 2
    shown = " ".join(seen.text.split())
    assert " ".join((shorten(visible(one), CODE_LIMIT) or "(empty)").split()) in shown


@given(NASTY)
def test_no_angle_bracket_and_no_line_break_of_a_value_is_ever_in_the_text(value: str) -> None:
    assert not set("<\n\r") & set(text(value))
    assert not set("<\n\r") & set(code(value))
    assert not set('<>"') & set(escaped(value))
    assert block(value, 9).count("<") == 4


@given(st.text())
def test_what_is_shown_can_be_seen(value: str) -> None:
    for char in visible(value):
        assert unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        assert char == " " or unicodedata.category(char) != "Zs"


@given(NASTY)
def test_the_runs_of_a_sentence_join_to_the_sentence(value: str) -> None:
    assert "".join(run for run, _ in words(value)) == shorten(visible(spaced(value)), TEXT_LIMIT)


@pytest.mark.parametrize(
    "sentence",
    [
        "data checks pass",
        "+0.0061 [+0.0049, +0.0073]; 7 of 7 gates hold",
        'worse, see the log (below). It says "no"!',
        "1,204 rows, 95 % of them ≥ 0.5",
        "naïve, Größe, 模型",
    ],
)
def test_plain_language_and_figures_stay_as_they_are(sentence: str) -> None:
    assert text(sentence) == sentence


def test_names_and_paths_in_a_sentence_become_code() -> None:
    assert text("roc_auc of models/model.skops, (train.lr)") == "`roc_auc` of `models/model.skops`, (`train.lr`)"


def test_a_log_is_shown_as_a_terminal_would() -> None:
    raw = "one\n\x1b[31mred\x1b[0m\n 10%\r 50%\r100% done\r\n\x1b]0;title\x07two\u202e\n\n"
    assert log(raw, 3) == "red\n100% done\ntwo\\u202e"


@given(NASTY)
def test_a_mermaid_label_has_no_sign_that_mermaid_reads(value: str) -> None:
    assert not re.search(r"""["'`%{}<>;:#&\\\[\]]""", label(value))
