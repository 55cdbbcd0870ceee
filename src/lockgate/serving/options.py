"""What ``lockgate serve`` and ``lockgate score`` share: where the release comes from, and where it is kept."""

import argparse
import os
from pathlib import Path

from lockgate.dependencies.commit import CHOICES
from lockgate.errors import NotAskedError
from lockgate.releasing.options import STORE, Ref, verifier_of
from lockgate.serving.locked import Interpreters
from lockgate.serving.source import PATIENCE, Source, cache_of, only_model
from lockgate.store import StoreError, open_store


class ServiceMissing(NotAskedError):  # noqa: N818 - named for what the user reads
    """The packages of the service are not installed."""

    def __init__(self, package: str) -> None:
        """Name the package."""
        super().__init__(
            f"scoring needs the package {package}",
            "`make service` installs it in this repository; elsewhere: pip install 'lockgate[service]'.",
        )


def source_of(arguments: argparse.Namespace, ref: Ref) -> Source:
    """Return where the release of ``ref`` comes from, as the options say. The store may be down."""
    url = arguments.store or os.environ.get("LOCKGATE_STORE") or STORE
    url = url if "://" in url else str(Path(url).absolute())
    cache = cache_of(Path(arguments.cache), url)
    name = ref.name or arguments.model
    if name is None:
        try:
            name = only_model(open_store(url, patience=PATIENCE), cache)
        except StoreError:
            name = only_model(None, cache)
    return Source(url, ref, name, verifier_of(arguments), cache)


def add_dependencies_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which packages the model's process runs with."""
    parser.add_argument(
        "--dependencies",
        choices=CHOICES,
        help="what the model runs with: the packages of the lock in its build, or those that are installed here "
        "(default: locked where it was released so and uv is here)",
    )


def interpreters_of(arguments: argparse.Namespace, source: Source) -> Interpreters:
    """Return what gives each release of ``source`` its interpreter, as the options say."""
    return Interpreters(
        arguments.dependencies, Path(arguments.cache), lambda: open_store(source.url, patience=PATIENCE)
    )


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where verified releases are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    parser.add_argument(
        "--cache",
        default=f"{cache}/lockgate",
        metavar="FOLDER",
        help="keep verified releases here (default: $XDG_CACHE_HOME/lockgate, else ~/.cache/lockgate)",
    )
