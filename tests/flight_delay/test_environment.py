"""The environment is compared with its lock, and said in one line if it is another."""

import sys
from pathlib import Path

import pytest
from tests.flight_delay.small_pipeline import ROOT, SmallPipeline

from flight_delay.environment import LOCK, MADE_FOR, difference, running, warn

PINS = "numpy=={numpy} \\\n    --hash=sha256:00\nPyArrow=={pyarrow} \\\n    --hash=sha256:00\n    # via numpy==9\n"


def pins(**changed: str) -> str:
    import numpy as np
    import pyarrow as pa

    return PINS.format(**({"numpy": np.__version__, "pyarrow": pa.__version__} | changed))


def test_the_environment_of_the_lock_has_no_difference() -> None:
    assert difference(pins(), MADE_FOR) == ""


def test_this_environment_is_the_committed_lock_s() -> None:
    assert difference((ROOT / LOCK).read_text(), running()) == ""


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (("3.12", "Linux", "x86_64"), "this is Python 3.12 on Linux x86_64, the lock was made for 3.11 Linux x86_64"),
        (("3.11", "Darwin", "arm64"), "this is Python 3.11 on Darwin arm64, the lock was made for 3.11 Linux x86_64"),
    ],
)
def test_another_python_or_platform_is_said_in_one_line(here: tuple[str, str, str], said: str) -> None:
    assert difference(pins(), here) == said


def test_another_version_and_an_absent_package_are_named_with_what_the_lock_says() -> None:
    import numpy as np

    text = difference(pins(numpy="0.1") + "no-such-package==1.0\n", MADE_FOR)
    assert text == f"installed: numpy {np.__version__} (the lock says 0.1), no-such-package absent (the lock says 1.0)"


def test_many_differences_are_one_line_still() -> None:
    text = difference("".join(f"no-such-package-{n}==1\n" for n in range(50)), MADE_FOR)
    assert text.count("the lock says") == 3
    assert text.endswith(" and others")


def test_a_stage_warns_once_and_goes_on(small: SmallPipeline) -> None:
    (small.root / "requirements").mkdir()
    (small.root / LOCK).write_text("numpy==0.1\n")
    done = small.command("prepare")
    assert done.returncode == 0
    assert done.stderr.startswith("warning: requirements/pipeline.lock: installed: numpy ")
    assert done.stderr.count("\n") == 1


def test_without_a_lock_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    warn()
    assert capsys.readouterr().err == ""


def test_the_lock_was_made_for_the_python_that_the_repository_names() -> None:
    assert (ROOT / ".python-version").read_text().strip().rpartition("==")[2].startswith(MADE_FOR[0])
    assert f"{sys.version_info.major}.{sys.version_info.minor}" == MADE_FOR[0]


def test_the_lock_holds_a_hash_for_every_pin_and_no_address_of_an_index() -> None:
    text = (ROOT / LOCK).read_text()
    entries = [entry for entry in text.split("\n\n")[0].splitlines() if "==" in entry and not entry.startswith(" ")]
    assert len(entries) > 20
    assert all(entry.endswith("\\") for entry in entries)
    assert "://" not in text
