"""The generated tests at full length: every module of tests that takes a short length in ``make test``.

    python -m benchmarks.study_tests [-k EXPRESSION]

Exit code 1 if a test fails; what it was given is printed, and kept by Hypothesis.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run pytest on the modules that import ``tests.length``."""
    modules = [
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.joinpath("tests").rglob("test_*.py"))
        if "node_modules" not in path.parts and "from tests.length import" in path.read_text(encoding="utf-8")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--timeout", "3600", *modules]
    environment = {**os.environ, "LOCKGATE_TEST_LENGTH": "long"}
    return subprocess.run([*command, *sys.argv[1:]], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
