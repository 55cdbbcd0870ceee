import os
import pty
import subprocess
import sys
import time
from pathlib import Path

from lockgate import cli
from lockgate.waiting import AFTER

SOURCE = str(Path(cli.__file__).parents[1])
PROGRAM = """
import sys, time
from lockgate.waiting import doing, waiting
with waiting("report", after=0.2, every=0.05):
    doing("comparing predictions")
    time.sleep(0.6)
    sys.stdout.write("the report\\n")
    sys.stderr.write("half a line")
    time.sleep(0.6)
    sys.stderr.write(", and its end\\n")
"""


def on_a_terminal(program: str, *arguments: str) -> str:
    """Run Python on a terminal of its own, and return all that came there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the terminal is closed
            break
        if not chunk:
            break
        said += chunk
    process.wait()
    os.close(ours)
    return said.decode()


def test_a_silent_command_says_on_a_terminal_what_it_does_and_removes_it_before_its_output() -> None:
    said = on_a_terminal(PROGRAM)

    assert "… report, comparing predictions: 0 s" in said
    before, after = said.split("the report")
    assert before.endswith("\r\x1b[K")
    assert "…" not in after, "a line that is not over is not drawn over"
    assert after.split("\r\n")[1] == "half a line, and its end"


def test_in_a_pipe_nothing_of_it_is_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )

    assert (done.stdout, done.stderr) == ("the report\n", "half a line, and its end\n")


def test_a_command_that_is_quick_shows_none_of_it() -> None:
    for _ in range(10):  # on a busy machine it may not be quick
        began = time.monotonic()
        said = on_a_terminal("import sys; from lockgate.cli import main; sys.exit(main())", "completion", "bash")
        if time.monotonic() - began < AFTER:
            break

    assert "… completion" not in said
    assert "_shtab_lockgate lockgate" in said
