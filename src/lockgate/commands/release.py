"""``lockgate release NAME@vX.Y.Z``: rebuild a tagged commit, make the build, sign it and upload it to the store.

The half that runs the model's code (:mod:`lockgate.releasing.prepare`) can be run apart, where nothing may be written:
``--prepare FOLDER`` there, ``--prepared FOLDER`` here. The same commit gives the same build, digest for digest, whoever
makes it: after a crash at any point the same command goes on where it was.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lockgate import git
from lockgate.dependencies.commit import CHOICES
from lockgate.dvc.rebuild import LEVELS, as_text, interrupted
from lockgate.dvc.stages import stoppable
from lockgate.envelope import envelope
from lockgate.files import progress
from lockgate.formatting import count, duration, size
from lockgate.releasing.candidate import Candidate
from lockgate.releasing.manifest import MANIFEST, SIGNATURE
from lockgate.releasing.options import (
    add_reader_options,
    add_summary_option,
    add_writer_options,
    summarised,
)
from lockgate.releasing.prepare import prepare
from lockgate.releasing.release import Outcome, empty, release, wanted

EXAMPLES = """\
examples:
  lockgate release flight-delay@v1.0.0 --dry-run             everything but writing to the store
  lockgate release flight-delay@v1.0.0                       to the folder .lockgate/store
  lockgate release flight-delay@v1.0.0 --store s3://bucket/prefix
  lockgate release flight-delay@v1.0.0 --prepare handover    only the half that runs the model's code
  lockgate release flight-delay@v1.0.0 --prepared handover   the other half, which signs and uploads

The tag is an annotated git tag on the default branch: git tag -a flight-delay@v1.0.0 -m 'why'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("tag", metavar="NAME@vX.Y.Z", help="the annotated git tag to release")
    parser.add_argument("--rebuild", choices=LEVELS, help="how far back to start (default: full)")
    parser.add_argument(
        "--dependencies",
        choices=CHOICES,
        help="what stages and model run with: the packages of the commit's own lock, or those that are installed here "
        "(default: locked where its lockgate.yaml names a lock)",
    )
    parser.add_argument(
        "--keep-dependencies",
        action="store_true",
        help="also store the files of the locked packages, each once; rebuild and serve take them from there first",
    )
    half = parser.add_mutually_exclusive_group()
    half.add_argument(
        "--prepare", type=Path, metavar="FOLDER", help="only run the model's code, and write the outcome there"
    )
    half.add_argument("--prepared", type=Path, metavar="FOLDER", help="run none of it: read the outcome from there")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="also write the files of the build there")
    add_summary_option(parser)
    add_reader_options(parser)
    add_writer_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Release what the tag asks for, or say that there is nothing to do."""
    with summarised(arguments, f"Release {arguments.tag}") as tell:
        root = git.project_root()
        candidate = wanted(root, arguments.tag)
        if arguments.prepare is not None:
            tell(_prepare(candidate, arguments))
            return 0
        outcome = release(candidate, arguments)
        tell(envelope("released", _facts(outcome)) if arguments.json else _text(outcome, verbose=arguments.dry_run))
    return 0


def _prepare(candidate: Candidate, arguments: argparse.Namespace) -> str:
    empty(arguments.prepare)
    with stoppable(interrupted()):
        _, done = prepare(
            candidate,
            arguments.rebuild or "full",
            arguments.prepare.absolute(),
            progress,
            dependencies=arguments.dependencies,
            keep=arguments.keep_dependencies,
        )
    return as_text(done)


def _facts(outcome: Outcome) -> dict[str, Any]:
    candidate, manifest = outcome.candidate, outcome.manifest
    return {
        "release": f"{candidate.name}@{candidate.version}",
        "commit": candidate.commit,
        "build": manifest.digest,
        "files": [asdict(file) for file in manifest.files],
        "rebuild": manifest.facts.get("rebuild"),
        "store": outcome.store,
        "released": outcome.done == "made",
        "dry_run": outcome.done == "dry",
    }


def _text(outcome: Outcome, *, verbose: bool) -> str:
    candidate, manifest = outcome.candidate, outcome.manifest
    release, root = f"{candidate.name}@{candidate.version}", f"{outcome.store}/{candidate.name}"
    total = sum(file.size for file in manifest.files)
    rebuild = manifest.facts["rebuild"]
    came_out = f"{count(rebuild['outputs'], 'output')} came out with the hash of dvc.lock"
    lines = [
        f"{release} of {candidate.commit[:12]}",
        f"  build    {manifest.digest}: {count(len(manifest.files), 'file')}, {size(total)}",
        f"  rebuild  {rebuild['level']}: {came_out if rebuild['outputs'] else 'nothing was run again'}",
    ]
    if "dependencies" in rebuild:
        network = "without a network" if rebuild["network"] == "none" else "with the network"
        lines.append(f"           {rebuild['dependencies']} dependencies, Python {rebuild['python']}, {network}")
    if verbose:
        lines += [f"  {file.size:>12,}  {root}/builds/{manifest.digest}/{file.path}" for file in manifest.files]
        lines += [f"{'':14}  {root}/builds/{manifest.digest}/{name}" for name in (MANIFEST, SIGNATURE)]
        lines += [
            f"{'':14}  {root}/claims/{manifest.digest}.json",
            f"{'':14}  {root}/releases/{candidate.version}.json",
        ]
    said = {
        "made": f"released in {duration(outcome.seconds)}: {root}/releases/{candidate.version}.json",
        "there": f"nothing to do: it was released before, and every byte of it is as it was signed ({outcome.store})",
        "dry": "dry run: these files would be written; nothing was",
    }
    return "\n".join([*lines, said[outcome.done]]) + "\n"
