"""How long it takes from a push to the comment, set-up of both jobs included, with nothing kept from an earlier run.

    python -m benchmarks.bench_pull_request [--rounds 1]

The workflows of this repository, run by ``act`` on the small project, forge and store of the end-to-end tests: first
``pull-request.yml``, then ``publish.yml``. Both jobs install for real, in an empty home, from the package index: as the
setup action does now, and as it did before, pip with the locks of the pipeline and of lockgate in both jobs (with
``--no-deps``, as it fails without). Seconds in the stages' own commands are left out. The sides take turns.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.world import World, seed, servers  # noqa: E402 - the world of the tests

CLONE = '@git clone -q --depth 1 "file://$$E2E_SOURCE" "$$E2E_TOOL/$(@F)"'
LINK = '@ln -s "$$E2E_TOOL/$(@F)/.venv" .venv'
PIP = '@cd "$$E2E_TOOL/$(@F)" && .venv/bin/pip install --quiet --disable-pip-version-check --no-deps'
MAKEFILES = {
    "now": f'.venv/run .venv/publish:\n\t{CLONE}\n\t@$(MAKE) -s -C "$$E2E_TOOL/$(@F)" $@\n\t{LINK}\n',
    "pip": f'.venv/run .venv/publish:\n\t{CLONE}\n\t@cd "$$E2E_TOOL/$(@F)" && "$$PYTHON" -m venv .venv\n'
    f"\t{PIP} --require-hashes -r requirements/pipeline.lock -r requirements/lockgate.lock\n"
    f"\t{PIP} --no-build-isolation --editable .\n\t{LINK}\n",
}


def certificates(folder: Path, world: World) -> Path:
    """Write what both the forge of the tests and the package index are believed by."""
    system = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    bundle = folder / "certificates.pem"
    bundle.write_bytes(Path(system).read_bytes() + b"\n" + world.forge.certificate.read_bytes())
    return bundle


def measure(world: World, side: str, number: int, bundle: Path) -> float:
    """Return the seconds of both workflows for one change of a parameter, those in the stages left out."""
    tool = world.folder / f"tool-{side}-{number}"
    tool.mkdir()
    environment = {
        "E2E_TOOL": str(tool),
        "E2E_SOURCE": str(ROOT),
        "PYTHON": str(Path(sys.base_prefix) / "bin/python3.11"),
        "SSL_CERT_FILE": str(bundle),
        "PIP_CERT": str(bundle),
    }
    world.push("lab/model", "main", {"Makefile": MAKEFILES[side]})
    change = world.edited("params.yaml", "noise: 1.0", f"noise: 0.{number}")
    pull = world.propose(f"{side}-{number}", change)
    began = time.monotonic()
    run = world.check(pull, environment=environment)
    print(f"{side}: checked after {time.monotonic() - began:.0f} s", file=sys.stderr)
    done = world.publish(run, environment=environment)
    spent = time.monotonic() - began
    print(f"{side}: published after {spent:.0f} s", file=sys.stderr)
    if run.code or done.code or not world.comments(pull):
        sys.exit(f"{side}: the pull request got no comment:\n{run.log[-3000:]}\n{done.log[-3000:]}")
    execution = world.result(run).execution
    return spent - sum(stage.seconds for stage in execution.stages if stage.seconds) if execution else spent


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="pull requests of each side (default: %(default)s)")
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {side: [] for side in MAKEFILES}
    with tempfile.TemporaryDirectory(prefix="lockgate-pull-") as name:
        folder = Path(name)
        with servers(folder) as (forge, store):
            seed(folder, forge, store)
            world = World(folder, forge, store, patience=1800)
            bundle = certificates(folder, world)
            for number in range(1, rounds + 1):
                for side, spent in seconds.items():
                    spent.append(measure(world, side, number, bundle))
    found = {side: median(values) for side, values in seconds.items()}
    print(f"from a push to the comment, cold, outside the stages: median of {rounds}")
    ratio = found["now"] / found["pip"]
    print(f"  now {found['now']:.1f} s   with pip {found['pip']:.1f} s   ratio {ratio:.2f} (aim: at most 0.5)")


if __name__ == "__main__":
    main()
