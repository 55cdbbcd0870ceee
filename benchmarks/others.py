"""Programs that ours are compared with: each in an environment of its own below ``.cache``, made the first time."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def environment(name: str, *packages: str) -> Path:
    """Return the ``bin`` folder of the environment ``name``, which holds the newest of these packages."""
    folder = ROOT / ".cache" / f"bench-{name}"
    done = folder / "packages"
    told = "\n".join(packages)
    if not done.exists() or done.read_text() != told:
        own = Path(sys.executable).with_name("uv")
        uv = str(own) if own.exists() else shutil.which("uv") or sys.exit("there is no uv: `make bench` brings it")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *packages], check=True)
        done.write_text(told)
    return folder / "bin"
