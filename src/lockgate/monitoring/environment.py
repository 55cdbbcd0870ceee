"""What serves in an environment, and where its record and outcomes are: what the commands that look back share."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from lockgate.errors import NotAskedError, UsageError
from lockgate.monitoring.locations import outcomes_beside
from lockgate.policy import FILE, Policy, read_models
from lockgate.releasing.options import add_reader_options, parse_ref
from lockgate.serving.contract import Contract, read_contract
from lockgate.serving.described import Described, described
from lockgate.serving.options import add_cache_option, source_of


class NotServed(NotAskedError):  # noqa: N818 - named for what the user reads
    """A release says too little of itself for what is asked."""

    def __init__(self, release: str, finding: str) -> None:
        """Name the release and what it lacks."""
        super().__init__(
            f"{release} {finding}", "Release it again with `predictions:` and `serving:` in lockgate.yaml."
        )


@dataclass(frozen=True)
class Served:
    """The release that an environment has now: its model's ``name``, the ``folder`` of its build, its policy and
    contract, and what the record keeps of its requests."""

    name: str
    release: str
    folder: Path
    policy: Policy
    contract: Contract
    described: Described


@dataclass(frozen=True, slots=True)
class Places:
    """Where an environment's record and outcomes are, and the scheduler on whose workers they are read, if any."""

    record: str
    outcomes: str
    scheduler: str | None = None


def add_environment_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command of this kind has: the environment's store, record and outcomes."""
    add_reader_options(parser)
    add_cache_option(parser)
    add_places_options(parser)


def add_places_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the record of scores and the outcomes are."""
    parser.add_argument(
        "--record",
        metavar="WHERE",
        default=os.environ.get("LOCKGATE_RECORD"),
        help="the record of scores, as `lockgate serve` was told (default: $LOCKGATE_RECORD)",
    )
    parser.add_argument(
        "--outcomes",
        metavar="WHERE",
        default=os.environ.get("LOCKGATE_OUTCOMES"),
        help="where outcomes are kept (default: $LOCKGATE_OUTCOMES, else beside the record)",
    )


def add_scheduler_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that has days read by the workers of a cluster."""
    parser.add_argument("--scheduler", metavar="ADDRESS", help="read the days on the workers of this Dask cluster")


def places_of(arguments: argparse.Namespace) -> Places:
    """Return where things are. Raises :class:`UsageError` without a record."""
    if not arguments.record:
        raise UsageError("no record of scores is named", "Name the one of `lockgate serve`: --record WHERE.")
    outcomes = arguments.outcomes or outcomes_beside(arguments.record)
    return Places(arguments.record, outcomes, getattr(arguments, "scheduler", None))


def served_of(arguments: argparse.Namespace) -> Served:
    """Return what the environment ``arguments.environment`` has now, fetched and verified if need be.

    Raises :class:`NotServed` for a release that nothing can be asked of, and what the store may raise.
    """
    source = source_of(arguments, parse_ref(arguments.environment))
    found = source.newest()
    folder = source.bring(found)
    try:
        policy = read_models((folder / FILE).read_bytes()).belonging_to(found.release.partition("@")[0])
    except FileNotFoundError:
        raise NotServed(found.release, f"has no {FILE}") from None
    contract = read_contract(folder)
    name = found.release.partition("@")[0]
    return Served(name, found.release, folder, policy, contract, described(folder, contract.request, found.release))


def spare_memory() -> None:
    """Have Arrow give back what it no longer holds: a process that reads a day of a million scores then needs a fifth
    less. For commands, at their start."""
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
