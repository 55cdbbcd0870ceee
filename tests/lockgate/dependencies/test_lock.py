"""One reader of locks of packages: every line is kept, and what cannot be installed exactly is refused by its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.dependencies.lock import LockRefused, OddLine, Pin, read_lock

ROOT = Path(__file__).parents[3]
HASH = "a" * 64
OTHER = "b" * 64


def pins(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(pin.name, pin.version, pin.via) for pin in read_lock(text, "p.lock").pins]


def test_pins_are_read_as_uv_and_pip_tools_write_them() -> None:
    text = r"""
# made by uv
Numpy==2.0 \
    --hash=sha256:00 \
    --hash=sha256:11
    # via
    #   -r pipeline.in
    #   Pandas
pandas[parquet]==2.2.1  # via -r pipeline.in
zope.interface==7.0 ; sys_platform == 'linux'
    # via pandas
"""
    assert pins(text) == [
        ("numpy", "2.0", ("pandas",)),
        ("pandas", "2.2.1", ()),
        ("zope-interface", "7.0", ("pandas",)),
    ]
    assert read_lock(text, "p.lock").pins[2].marker == 'sys_platform == "linux"'


def test_every_pin_of_this_projects_own_locks_is_read_and_has_its_hashes() -> None:
    for path in (ROOT / "requirements").glob("*.lock"):
        text = path.read_text()
        lock = read_lock(text, path.name)
        assert (len(lock.pins), lock.odd) == (text.count("=="), ())
        assert sum(len(pin.hashes) for pin in lock.pins) == text.count("--hash=sha256:")
        lock.requirements()


@pytest.mark.parametrize(
    ("line", "kind", "name"),
    [
        ("--index-url https://user:word@example.org/simple", "option", "--index-url"),
        ("--extra-index-url=https://user:word@example.org/simple", "option", "--extra-index-url"),
        ("-e .", "editable", "."),
        ("-e git+https://user:word@example.org/a/b.git#egg=Zed", "editable", "zed"),
        ("private_lib @ https://user:word@example.org/private_lib-1.2-py3-none-any.whl", "address", "private-lib"),
        ("https://user:word@example.org/x-1.2.tar.gz?token=word", "address", "x-1.2.tar.gz"),
        ("./wheels/x-1.2-py3-none-any.whl", "address", "x-1.2-py3-none-any.whl"),
        ("unpinned", "unpinned", "unpinned"),
        ("wide>=1,<2", "unpinned", "wide"),
        ("wild==1.*", "unpinned", "wild"),
        ("not a requirement", "unreadable", "not a requirement"),
    ],
)
def test_a_line_that_pins_nothing_is_kept_without_its_password_and_refused_by_its_number(
    line: str, kind: str, name: str
) -> None:
    lock = read_lock(f"numpy==2.0 --hash=sha256:{HASH}\n\n{line}\n", "p.lock")
    assert [(odd.kind, odd.name, odd.line) for odd in lock.odd] == [(kind, name, 3)]
    with pytest.raises(LockRefused) as caught:
        lock.requirements()
    assert str(caught.value).startswith("p.lock: line 3: ")
    assert "word" not in str(caught.value) + lock.odd[0].text
    assert "\n" not in str(caught.value)
    assert caught.value.advice


def test_a_pin_without_a_hash_is_refused_by_its_line() -> None:
    with pytest.raises(LockRefused, match=r"p.lock: line 2: six==1.16.0 has no SHA-256 hash"):
        read_lock(f"numpy==2.0 --hash=sha256:{HASH}\nsix===1.16.0\n", "p.lock").requirements()
    with pytest.raises(LockRefused, match="pins no package"):
        read_lock("# nothing\n", "p.lock").requirements()


def test_order_comments_case_and_layout_do_not_change_the_digest_and_a_version_hash_or_marker_does() -> None:
    first = read_lock(f"a==1 --hash=sha256:{HASH}\nB_c==2 \\\n  --hash=sha256:{OTHER}\n  # via a\n", "one")
    again = read_lock(f"b-c==2 --hash=sha256:{OTHER.upper()}  # note\nA==1 \\\n    --hash=sha256:{HASH}\n", "two")
    assert first.digest == again.digest
    changed = [f"a==2 --hash=sha256:{HASH}", f"a==1 --hash=sha256:{OTHER}", f"a==1;os_name=='x' --hash=sha256:{HASH}"]
    base = f"a==1 --hash=sha256:{HASH}"
    assert len({read_lock(text, "p").digest for text in (base, *changed)}) == 4


def test_what_is_passed_to_an_installer_holds_pins_and_hashes_and_reads_as_it_was_read() -> None:
    text = f'a[x]==1 ; python_version < "4" --hash=sha256:{HASH} --hash=sha256:{OTHER}\n'
    lock = read_lock(text, "p.lock")
    assert lock.requirements() == f'a==1 ; python_version < "4" --hash=sha256:{HASH} --hash=sha256:{OTHER}\n'
    assert read_lock(lock.requirements(), "p.lock") == lock


@given(st.text(alphabet="abAB01.-_=<>~!@#:;/\\ \t\n\"'[]", max_size=120))
def test_any_text_is_read_and_no_line_with_a_letter_at_its_beginning_is_lost(text: str) -> None:
    lock = read_lock(text, "p.lock")
    found: list[Pin | OddLine] = [*lock.pins, *lock.odd]
    starts = {found_.line for found_ in found}
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        continued = number > 1 and not starts.isdisjoint(range(1, number)) and lines[number - 2].rstrip().endswith("\\")
        if line[:1].isalpha() and not continued and not (number > 1 and "\\" in lines[number - 2]):
            assert number in starts
