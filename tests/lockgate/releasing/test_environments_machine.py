"""Every order of release, promote, rollback, withdraw, retire, repair, with races and crashes, against a model of the
log that knows nothing of files and signatures."""

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.lockgate.releases import ACTOR, NAME, PRODUCTION, STAGING, Keys, a_build, make_keys, promoted, publish

from lockgate.releasing.environments import EntryRefused, Environment, NeverPromoted, Retired
from lockgate.releasing.promotion import GateClosed, promote, retire
from lockgate.releasing.registry import Registry
from lockgate.releasing.rollback import NothingBefore, RolledBackAlready, rollback
from lockgate.releasing.signing import KeyVerifier
from lockgate.releasing.withdrawal import ReleaseWithdrawn, withdraw
from lockgate.store import open_store

EXAMPLES, STEPS = (int(os.environ.get(f"LOCKGATE_MACHINE_{name}", n)) for name, n in (("RUNS", 6), ("STEPS", 25)))
RULES = {"staging": STAGING, "production": PRODUCTION}
ENVIRONMENTS = st.sampled_from(sorted(RULES))
COUNT = {"steps": 0}


class Model:
    """What a log should come to: a list of (action, version), and the releases that lie on one another."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.pile: list[str] = []
        self.barred = 0

    @property
    def retired(self) -> bool:
        return bool(self.log) and self.log[-1][0] == "retire"

    @property
    def runs(self) -> str | None:
        return self.pile[-1] if self.pile and not self.retired else None

    def write(self, action: str, version: str) -> None:
        self.log.append((action, version))
        if action == "promote" and (not self.pile or self.pile[-1] != version):
            self.pile.append(version)
        if action == "rollback":
            if version in self.pile:
                while self.pile[-1] != version:
                    self.pile.pop()
            else:
                self.pile.append(version)

    def before(self, withdrawn: set[str]) -> str | None:
        below = [version for version in reversed(self.pile[:-1]) if version != self.pile[-1]]
        return next((version for version in below if version not in withdrawn), None)

    def ran(self, version: str) -> bool:
        return any(version == one for action, one in self.log if action in ("promote", "rollback"))


class Busy:
    """Signs, but lets something happen first: another writer, or the end of the process."""

    def __init__(self, keys: Keys, first: Callable[[], object]) -> None:
        self.keys, self.first, self.done = keys, first, False

    def sign(self, digests: Mapping[str, str]) -> bytes:
        if not self.done and any("/environments/" in path for path in digests):
            self.done = True
            self.first()
        return self.keys.signer.sign(digests)


class Killed(BaseException):
    """The process ended here."""


class Logs(RuleBasedStateMachine):
    versions: Bundle[str] = Bundle("versions")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.keys, self.stranger = make_keys(root / "keys"), make_keys(root / "stranger")
        store = open_store(str(root / "store"), create=True)
        self.registry = Registry(store, NAME, self.keys.verifier)
        self.models = {name: Model() for name in RULES}
        self.withdrawn: set[str] = set()
        self.released = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.check_whole_log()
            self.folder.cleanup()

    @rule(target=versions)
    def release(self) -> str:
        version = f"v1.{self.released}.0"
        self.released += 1
        root = Path(self.folder.name)
        publish(self.registry, self.keys, a_build(root / version, version, 50), version)
        return version

    def promotion(self, name: str, version: str, *, reopen: bool = False, signer: Any = None) -> None:
        """Promote, and compare with what the model says would come of it."""
        model = self.models[name]
        before = list(model.log)

        def act() -> bool:
            return promote(self.registry, version, RULES[name], signer or self.keys.signer, ACTOR, reopen=reopen)[1]

        if model.barred:
            with pytest.raises(EntryRefused):
                act()
        elif model.runs == version:
            assert act() is False
        elif model.retired and not reopen:
            with pytest.raises(Retired):
                act()
        elif version in self.withdrawn:
            with pytest.raises(ReleaseWithdrawn):
                act()
        elif name == "production" and self.models["staging"].barred:
            with pytest.raises(EntryRefused):
                act()
        elif name == "production" and not self.models["staging"].ran(version):
            with pytest.raises(GateClosed):
                act()
        else:
            assert act() is True
            if model.log == before or model.runs != version:
                model.write("promote", version)

    @rule(name=ENVIRONMENTS, version=versions, reopen=st.booleans())
    def promote(self, name: str, version: str, reopen: bool) -> None:
        self.promotion(name, version, reopen=reopen)

    @rule(version=versions, other=versions)
    def promote_against_another_writer(self, version: str, other: str) -> None:
        model = self.models["staging"]
        free = not (
            model.barred or model.retired or {version, other} & self.withdrawn or model.runs in (version, other)
        )
        if not free or version == other:
            return

        def somebody_else() -> None:
            promoted(self.registry, self.keys, other, STAGING)
            model.write("promote", other)

        entry, appended = promote(self.registry, version, STAGING, Busy(self.keys, somebody_else), ACTOR)  # type: ignore[arg-type]
        assert appended
        assert entry is not None
        model.write("promote", version)

    @rule(version=versions)
    def promote_and_be_killed_and_again(self, version: str) -> None:
        def die() -> None:
            raise Killed

        with suppress(Killed, EntryRefused, Retired, ReleaseWithdrawn):
            promote(self.registry, version, STAGING, Busy(self.keys, die), ACTOR)  # type: ignore[arg-type]
        self.promotion("staging", version)

    @rule(name=ENVIRONMENTS)
    def roll_back(self, name: str) -> None:
        model = self.models[name]

        def act() -> str:
            return rollback(self.registry, name, self.keys.signer, ACTOR)[2]

        if model.barred:
            expected: type[Exception] | None = EntryRefused
        elif not model.log:
            expected = NeverPromoted
        elif model.retired:
            expected = Retired
        elif model.log[-1][0] == "rollback":
            expected = RolledBackAlready
        else:
            expected = NothingBefore if model.before(self.withdrawn) is None else None
        if expected is not None:
            with pytest.raises(expected) as caught:
                act()
            if isinstance(caught.value, RolledBackAlready):
                assert caught.value.further == model.before(self.withdrawn)
            return
        version = act()
        assert version == model.before(self.withdrawn)
        model.write("rollback", version)

    @rule(name=ENVIRONMENTS, version=versions)
    def roll_back_to(self, name: str, version: str) -> None:
        model = self.models[name]

        def act() -> bool:
            return rollback(self.registry, name, self.keys.signer, ACTOR, to=version)[1]

        if model.barred:
            expected: type[Exception] | None = EntryRefused
        elif not model.log:
            expected = NeverPromoted
        elif model.retired:
            expected = Retired
        elif model.runs == version:
            assert act() is False
            return
        elif not model.ran(version):
            expected = NothingBefore
        else:
            expected = ReleaseWithdrawn if version in self.withdrawn else None
        if expected is not None:
            with pytest.raises(expected):
                act()
            return
        assert act() is True
        model.write("rollback", version)

    @rule(version=versions)
    def withdraw(self, version: str) -> None:
        _, made = withdraw(self.registry, version, self.keys.signer, ACTOR, reason="bad", use="warn")
        assert made == (version not in self.withdrawn)
        self.withdrawn.add(version)

    @rule(name=ENVIRONMENTS)
    def retire(self, name: str) -> None:
        model = self.models[name]
        if model.barred or not model.log:
            with pytest.raises(EntryRefused if model.barred else NeverPromoted):
                retire(self.registry, name, self.keys.signer, ACTOR)
            return
        assert retire(self.registry, name, self.keys.signer, ACTOR)[1] != model.retired
        if not model.retired:
            model.write("retire", model.pile[-1] if model.pile else "")

    @rule(version=versions)
    def a_stranger_writes(self, version: str) -> None:
        """With the rights to write and without the key, as a slip of 2026-11 did."""
        model = self.models["staging"]
        if model.barred or model.retired or model.runs == version or version in self.withdrawn:
            return
        trusts = KeyVerifier(self.keys.verifier.public_key, (self.stranger.verifier.public_key,))
        theirs = Registry(self.registry.store, NAME, trusts)
        model.barred = promoted(theirs, self.stranger, version, STAGING).number

    @precondition(lambda self: self.models["staging"].barred)
    @rule()
    def repair(self) -> None:
        model = self.models["staging"]
        Environment(self.registry, "staging").repair([model.barred], self.keys.signer, ACTOR, "")
        model.log.append(("repair", model.pile[-1] if model.pile else ""))
        model.barred = 0

    @invariant()
    def the_log_is_what_the_model_says(self) -> None:
        COUNT["steps"] += 1
        for name, model in self.models.items() if hasattr(self, "models") else ():
            log = Environment(self.registry, name)
            if model.barred:
                with pytest.raises(EntryRefused):
                    log.history()
                continue
            entries = log.history()
            assert [(entry.action, entry.version) for entry in entries] == model.log
            if model.runs is not None:
                assert log.current()[0].version == model.runs

    def check_whole_log(self) -> None:
        for name, model in self.models.items():
            if not model.barred:
                log = Environment(self.registry, name)
                assert log.verify() == log.history()


def test_logs_are_what_a_model_of_them_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockgate.releasing.environments.PAGE", 4)  # so that pages come into it
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Logs,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[
                phase for phase in Phase if phase is not Phase.shrink or "LOCKGATE_MACHINE_SHRINK" not in os.environ
            ],
            suppress_health_check=list(HealthCheck),
            derandomize="LOCKGATE_MACHINE_RUNS" not in os.environ,
        ),
    )
    assert COUNT["steps"] > EXAMPLES
