"""Each defence taken out in turn, to see that the test which is named for it fails.

    python benchmarks/study_defences.py [--only WORD] [--output docs/studies/defences.json]

A defence is a piece of ``src/lockgate`` and what it becomes without it: one replacement of text in a copy of the
sources. The named tests run against the copy; a defence whose tests all pass without it defends nothing, and the study
ends with exit code 1. The tests are run once against the untouched copy, too, and have to pass there.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASING, SERVING = "tests/lockgate/releasing", "tests/lockgate/serving"


@dataclass(frozen=True)
class Defence:
    """``before`` in the file ``src/lockgate/path`` becomes ``after``; ``tests`` are expected to notice."""

    what: str
    path: str
    before: str
    after: str
    tests: str


DEFENCES = [
    Defence(
        "a private key is tried before anything is appended",
        "releasing/signing.py",
        "    if isinstance(signer, KeySigner):\n        trial",
        "    if False:\n        trial",
        f"{RELEASING}/test_revocation.py::test_a_rotated_key_keeps_its_past_and_loses_its_future "
        f"{RELEASING}/test_promotion.py::test_an_entry_that_nobody_would_believe_is_refused_before_it_is_written "
        "tests/lockgate/releasing/test_release.py::test_a_key_that_readers_do_not_trust_is_refused_before_anything_runs",
    ),
    Defence(
        "a signed document is read back before it is created",
        "releasing/registry.py",
        "            self.open_signed(path, data)\n        except SignatureRefused",
        "            pass\n        except SignatureRefused",
        f"{RELEASING}/test_promotion.py::test_a_signer_whose_signatures_are_refused_only_when_they_are_read_writes_nothing",
    ),
    Defence(
        "a document that is too long to be read is not written",
        "releasing/registry.py",
        "if len(data) > LONGEST:",
        "if False:",
        f"{RELEASING}/test_promotion.py::test_an_entry_that_nobody_would_believe_is_refused_before_it_is_written",
    ),
    Defence(
        "the signature is verified with the key",
        "releasing/signing.py",
        "    except InvalidSignature:\n        raise SignatureRefused",
        "    except InvalidSignature:\n        return\n        raise SignatureRefused",
        f"{RELEASING}/test_signing.py",
    ),
    Defence(
        "a signature in another spelling is refused",
        "releasing/signing.py",
        'if json.dumps(spelled, separators=(",", ":")).encode() == signature:',
        "if True:",
        f"{RELEASING}/test_signing.py",
    ),
    Defence(
        "a document is signed under its own path",
        "releasing/registry.py",
        'if signed != {path: sha256(spell(document["payload"]))}:',
        'if list(signed.values()) != [sha256(spell(document["payload"]))]:',
        f"{RELEASING}/test_registry.py::test_a_signed_document_is_read_under_its_own_path_alone",
    ),
    Defence(
        "an entry holds the digest of the one before",
        "releasing/environments.py",
        'if entry.previous != (written_after.digest if written_after else "" if not before else None):',
        "if False:",
        "tests/lockgate/test_store_attacks.py::test_a_page_that_lies_is_found_by_history_and_named_by_verify",
    ),
    Defence(
        "what a revoked key signed is refused",
        "releasing/signing.py",
        "if key.revoked is not None and not key.revoked.believes(digests):",
        "if False:",
        f"{RELEASING}/test_revocation.py",
    ),
    Defence(
        "a revocation is believed of a trusted key alone",
        "releasing/registry.py",
        "signed = verifier.verify(signature, registry.store.place(path))",
        "signed = {path: sha256(canonical(payload))}",
        f"{RELEASING}/test_revocation.py::test_a_key_does_not_revoke_itself_and_a_stranger_revokes_nobody",
    ),
    Defence(
        "a repair passes over refused entries alone",
        "releasing/environments.py",
        "        if sorted(numbers) != sorted(failures):",
        "        if False:",
        f"{RELEASING}/test_environments.py::test_only_entries_that_are_refused_can_be_passed_over",
    ),
    Defence(
        "an entry that was passed over is pinned by its SHA-256",
        "releasing/environments.py",
        "if sha256(content[number]) != digest:",
        "if False:",
        f"{RELEASING}/test_environments.py::test_an_entry_changed_after_it_was_passed_over_is_named",
    ),
    Defence(
        "an identity's repository is compared whole",
        "releasing/identities.py",
        '_same("source repository", self.repository, found[_REPOSITORY])',
        "pass",
        f"{RELEASING}/test_identities.py",
    ),
    Defence(
        "a tag is told from a branch that is called like one",
        "releasing/identities.py",
        'if not found.startswith("refs/tags/"):',
        'if "refs/tags/" not in found:',
        f"{RELEASING}/test_identities.py",
    ),
    Defence(
        "the workflow that was started is compared, not only the one that signs",
        "releasing/identities.py",
        "if found[_CONFIG] not in allowed:",
        "if False:",
        f"{RELEASING}/test_identities.py",
    ),
    Defence(
        "a called workflow signs only where it is named",
        "releasing/identities.py",
        '_same("signing workflow", signer, found[_SIGNER])',
        "pass",
        f"{RELEASING}/test_identities.py",
    ),
    Defence(
        "a tag's workflow signs what its tag asks for",
        "releasing/identities.py",
        "        if not good:\n            raise NotThisIdentity",
        "        if False:\n            raise NotThisIdentity",
        f"{RELEASING}/test_identities.py",
    ),
    Defence(
        "gates are compared by what they mean",
        "releasing/gate_check.py",
        "        if known == digest:",
        "        if True:",
        f"{RELEASING}/test_gate_check.py",
    ),
    Defence(
        "a metric is known by what it means, not by its name",
        "releasing/gate_check.py",
        "if metric_meaning(known) == metric_meaning(metric):",
        "if known.name == metric.name:",
        f"{RELEASING}/test_gate_check.py",
    ),
    Defence(
        "a withdrawn release is not promoted",
        "releasing/promotion.py",
        "    if (withdrawal := withdrawal_of(registry, version)) is not None:",
        "    if (withdrawal := withdrawal_of(registry, version)) is not None and False:",
        f"{RELEASING}/test_withdrawal.py {RELEASING}/test_environments_machine.py",
    ),
    Defence(
        "a retired environment takes no release",
        "releasing/environments.py",
        'if entries and entries[-1].action == "retire" and not reopen:',
        "if False:",
        f"{RELEASING}/test_environments.py {RELEASING}/test_environments_machine.py",
    ),
    Defence(
        "a release whose tag moved is not promoted by its version",
        "commands/promote.py",
        "        check_tags(registry.release(asked.version), None, [], read_tags(Path.cwd()))\n",
        "",
        f"{RELEASING}/test_verification.py",
    ),
    Defence(
        "a second plain rollback goes back no further",
        "releasing/rollback.py",
        '        if seen[-1].action == "rollback":',
        "        if False:",
        f"{RELEASING}/test_promotion.py::test_a_rollback_is_a_new_entry_with_what_ran_before",
    ),
    Defence(
        "a rollback to what was taken off puts it on top",
        "releasing/environments.py",
        'if entry.action == "rollback" and known:\n            del pile[known[-1] + 1 :]',
        'if entry.action == "rollback":\n            del pile[(known[-1] if known else -1) + 1 :]',
        f"{RELEASING}/test_promotion.py::test_a_rollback_finds_what_ran_before_although_one_was_taken_back "
        f"{RELEASING}/test_environments_machine.py",
    ),
    Defence(
        "of two writers of one number one looks again",
        "releasing/environments.py",
        "            except ObjectDiffers:\n                continue\n            return entry, True",
        "            except ObjectDiffers:\n                pass\n            return entry, True",
        f"{RELEASING}/test_promotion.py::test_two_promoters_of_one_tag_make_one_entry "
        f"{RELEASING}/test_environments_machine.py",
    ),
    Defence(
        "an old heartbeat is not taken for a young one",
        "releasing/heartbeats.py",
        "if found is None or datetime.fromisoformat(found.time) < now - max_age:",
        "if found is None:",
        f"{RELEASING}/test_heartbeats.py",
    ),
    Defence(
        "a log that ends before its heartbeat is refused",
        "releasing/heartbeats.py",
        "        or newest.number < found.number\n",
        "",
        f"{RELEASING}/test_heartbeats.py",
    ),
    Defence(
        "a heartbeat from the future does not bar the log",
        "releasing/heartbeats.py",
        "if found is not None and datetime.fromisoformat(found.time) > now + SKEW:",
        "if False:",
        f"{RELEASING}/test_heartbeats.py",
    ),
    Defence(
        "archives are looked into at every depth",
        "releasing/pickles.py",
        "        if depth > _DEEPEST:",
        "        if depth > 1:\n            return 'archive'\n        if depth > _DEEPEST:",
        f"{RELEASING}/test_manifest.py",
    ),
    Defence(
        "a zip behind something else is refused",
        "releasing/pickles.py",
        "or zipfile.is_zipfile(content)",
        "or False",
        f"{RELEASING}/test_manifest.py",
    ),
    Defence(
        "an array's header is read as NumPy reads it",
        "releasing/pickles.py",
        'objects = _holds_objects(header["descr"])',
        "objects = False",
        f"{RELEASING}/test_manifest.py",
    ),
    Defence(
        "a sealed pickle is the model and nothing else",
        "releasing/manifest.py",
        "facts.get(OPAQUE) is True and is_model(relative)",
        "facts.get(OPAQUE) is True",
        f"{RELEASING}/test_manifest.py",
    ),
    Defence(
        "an answer that is too long is cut off",
        "store.py",
        "            if len(taken) > most:",
        "            if False:",
        "tests/lockgate/test_store_hostile.py::test_a_range_answered_with_more_than_was_asked_for_is_cut_off_at_once",
    ),
    Defence(
        "nothing of a store's text but an error's code is told",
        "store.py",
        'if any(code in secret for name, secret in os.environ.items() if name.startswith("AWS_")):',
        "if False:",
        "tests/lockgate/test_store_hostile.py::test_no_key_and_no_token_of_a_stores_answer_is_ever_told",
    ),
    Defence(
        "an expired token is not tried again",
        "store.py",
        '"InvalidToken", "TokenRefreshRequired"',
        '"InvalidTokenX", "TokenRefreshRequiredX"',
        "tests/lockgate/test_store_hostile.py::test_an_expired_token_is_not_tried_again_and_not_called_a_passing_fault",
    ),
    Defence(
        "a field that is there twice is refused",
        "serving/app.py",
        "                raise _Duplicate(key[:200])",
        "                pass",
        f"{SERVING}/test_app_access.py::test_a_field_that_is_there_twice_is_refused_and_not_guessed",
    ),
    Defence(
        "a head is bounded although it comes in one piece",
        "serving/server.py",
        "        if self._parsed > HEAD_BYTES:",
        "        if False:",
        f"{SERVING}/test_app_access.py::test_a_head_above_its_limit_is_refused_although_it_comes_in_one_piece",
    ),
    Defence(
        "a dead model is started again without a request",
        "serving/engine.py",
        "            if not self.alive:\n                self._wake.set()",
        "            pass",
        f"{SERVING}/test_app_access.py::test_a_dead_model_is_noticed_and_started_again_although_nobody_asks",
    ),
    Defence(
        "a request without a token is refused",
        "serving/app.py",
        "hmac.compare_digest(digest, token)",
        "hmac.compare_digest(token, token)",
        f"{SERVING}/test_app_access.py::test_tls_and_tokens_for_those_with_nothing_in_front",
    ),
    Defence(
        "a withdrawn release is not answered for where the policy refuses",
        "serving/app.py",
        "        if service.closed:\n            raise Refused",
        "        if False:\n            raise Refused",
        f"{SERVING}/test_app_access.py::test_a_withdrawn_release_is_warned_of_or_no_longer_answered",
    ),
]


def passes(copy: Path, tests: str) -> tuple[bool, str]:
    """Run tests against the sources in ``copy``; return whether all passed, and which did not."""
    # a failing state machine is not made smaller: that it fails is all that is asked
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()],
        cwd=copy,
        env=os.environ
        | {
            "PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LOCKGATE_MACHINE_SHRINK": "no",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    failed = [line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the tests could not be run: {done.stdout[-2000:]}")
    return done.returncode == 0, ", ".join(failed)


def copied(folder: Path) -> Path:
    """Return a copy of what the tests need."""
    for name in ("src", "tests", "benchmarks", "pyproject.toml", "requirements", "lockgate.yaml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def study(defences: list[Defence], say: bool = True) -> list[dict[str, str]]:
    """Take out each defence; return what noticed it."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        copy = copied(Path(place))
        for defence in defences:
            begin = time.monotonic()
            file = copy / "src/lockgate" / defence.path
            text = file.read_text()
            if text.count(defence.before) != 1:
                raise RuntimeError(f"{defence.what}: its text is {text.count(defence.before)} times in {defence.path}")
            file.write_text(text.replace(defence.before, defence.after))
            noticed, by = passes(copy, defence.tests)
            file.write_text(text)
            rows.append({"defence": defence.what, "file": defence.path, "noticed by": by, "noticed": str(not noticed)})
            if say:
                verdict = "noticed" if not noticed else "NOT NOTICED"
                print(f"{verdict:<12} {defence.what} ({time.monotonic() - begin:.0f} s) {by}", flush=True)
        every = " ".join(dict.fromkeys(" ".join(defence.tests for defence in defences).split()))
        sound, broken = passes(copy, every)
        if not sound:
            raise RuntimeError(f"with every defence in place these fail: {broken}")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="the defences whose name or file has this word")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, as JSON")
    arguments = parser.parse_args()
    chosen = [one for one in DEFENCES if arguments.only in one.what or arguments.only in one.path]
    rows = study(chosen)
    missed = [row for row in rows if row["noticed"] == "False"]
    print(f"{len(rows) - len(missed)} of {len(rows)} removals were noticed")
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
