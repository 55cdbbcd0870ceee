"""A program for the fault tests: publish and promote in processes that are killed, or that race.

Started fresh by a test, it imports everything once and then forks a child for each run, so that a kill -9 hits a real
process and costs no start-up. It never talks to a store itself: threads of the store's library would not survive the
fork. What happened goes to stdout as one JSON document.

    python -m tests.lockgate.disturbed kill|race STORE BUILD_A BUILD_B KEYS ROUNDS
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_signing.signing
import model_signing.verifying
import obstore.store  # noqa: F401 - loaded before the forks
from tests.lockgate.releases import ACTOR, FACTS, NAME, STAGING

from lockgate.releasing import environments
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Registry
from lockgate.releasing.rollback import rollback
from lockgate.releasing.signing import KeySigner, KeyVerifier
from lockgate.store import Store, open_store

assert model_signing.signing
assert model_signing.verifying


def registry_at(store: str, keys: Path) -> Registry:
    return Registry(open_store(store, create=True), NAME, KeyVerifier(keys / "lockgate.pub"))


def child(work: Callable[[], object]) -> int:
    """Fork a process that does ``work``, and return its id. It exits 0, 3 for an expected error, or by a signal."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except Exception as error:  # noqa: BLE001 - the parent has to learn of anything
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
        os._exit(3)
    os._exit(0)


def ended(pid: int) -> int:
    """Return how a process ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def arm(kill_at: int, moment: str, count_to: Path | None = None) -> None:
    """Have the process die of SIGKILL right before (or after) its store call number ``kill_at``."""
    ask, lock, calls = Store._ask, threading.Lock(), [0]

    def counted(self: Store, path: str, request: Callable[[], Any]) -> Any:
        with lock:
            calls[0] += 1
            mine = calls[0]
            if count_to is not None:
                count_to.write_text(str(mine))
        if mine == kill_at and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return ask(self, path, request)
        finally:
            if mine == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    Store._ask = counted  # type: ignore[method-assign]


def kill(store: str, build: Path, keys: Path, scratch: Path) -> dict[str, Any]:  # noqa: C901 - three steps alike
    """For every store call of a publish, of a promotion and of a rollback that writes a page of the log: kill before
    it, kill after it, run again."""
    environments.PAGE = 2
    signer = KeySigner(keys / "lockgate.key")

    def publishing(place: str, *armed: Any) -> Callable[[], object]:
        def work() -> None:
            arm(*armed) if armed else None
            registry_at(place, keys).publish(build, "v1.0.0", FACTS, signer=signer, actor=ACTOR)

        return work

    def promoting(place: str, *armed: Any) -> Callable[[], object]:
        def work() -> None:
            arm(*armed) if armed else None
            promote(registry_at(place, keys), "v1.0.0", STAGING, signer, ACTOR, tag=f"{NAME}#staging#1")

        return work

    def rolling_back(place: str, *armed: Any) -> Callable[[], object]:
        def work() -> None:
            arm(*armed) if armed else None
            rollback(registry_at(place, keys), "staging", signer, ACTOR, to="v1.0.0")

        return work

    def before(step: str, place: str) -> None:
        """Bring a store to where the step begins."""
        if step != "publish":
            assert ended(child(publishing(place))) == 0
        if step == "rollback":  # two promotions: the rollback finds a full page that nobody wrote yet
            assert ended(child(promoting(place))) == 0
            assert (
                ended(
                    child(lambda: registry_at(place, keys).publish(build, "v1.1.0", FACTS, signer=signer, actor=ACTOR))
                )
                == 0
            )
            assert ended(child(lambda: promote(registry_at(place, keys), "v1.1.0", STAGING, signer, ACTOR))) == 0

    told: dict[str, Any] = {"runs": [], "calls": {}}
    for step, command in (("publish", publishing), ("promote", promoting), ("rollback", rolling_back)):
        if "://" in store and step == "rollback":  # the same calls again; in a folder they are quicker
            continue
        before(step, f"{store}/{step}-0")
        assert ended(child(command(f"{store}/{step}-0", -1, "", scratch))) == 0
        told["calls"][step] = calls = int(scratch.read_text())
        for number, moment in ((n, m) for n in range(1, calls + 1) for m in ("before", "after")):
            place = f"{store}/{step}-{number}-{moment}"
            before(step, place)
            killed = ended(child(command(place, number, moment)))
            again = ended(child(command(place)))
            told["runs"].append({"place": place, "step": step, "killed": killed, "again": again})
    return told


def race(store: str, builds: tuple[Path, Path], keys: Path, rounds: int) -> dict[str, Any]:
    """Each round: two processes release one version from two builds, then promote two versions, at the same moment."""
    signer = KeySigner(keys / "lockgate.key")

    def pair(*works: Callable[[], object]) -> list[int]:
        gate, starter = os.pipe()

        def waiting(work: Callable[[], object]) -> Callable[[], object]:
            def run() -> None:
                os.close(starter)
                os.read(gate, 1)  # ends when the parent closes its side: both at once
                work()

            return run

        pids = [child(waiting(work)) for work in works]
        os.close(gate)
        os.close(starter)
        return [ended(pid) for pid in pids]

    def publishing(build: Path, version: str) -> Callable[[], object]:
        return lambda: registry_at(store, keys).publish(build, version, FACTS, signer=signer, actor=ACTOR)

    def promoting(version: str) -> Callable[[], object]:
        return lambda: promote(registry_at(store, keys), version, STAGING, signer, ACTOR)

    told: dict[str, Any] = {"releases": [], "promotions": []}
    for number in range(1, rounds + 1):
        told["releases"].append(pair(publishing(builds[0], f"v{number}.0.0"), publishing(builds[1], f"v{number}.0.0")))
        assert ended(child(publishing(builds[0], f"v{number}.1.0"))) == 0
        told["promotions"].append(pair(promoting(f"v{number}.0.0"), promoting(f"v{number}.1.0")))
    return told


if __name__ == "__main__":
    mode, where, one, two, key_folder, count = sys.argv[1:]
    if mode == "kill":
        outcome = kill(where, Path(one), Path(key_folder), Path(two))
    else:
        outcome = race(where, (Path(one), Path(two)), Path(key_folder), int(count))
    sys.stdout.write(json.dumps(outcome))
