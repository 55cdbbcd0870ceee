"""``lockgate fetch REF FOLDER``: download a release to a folder, every byte verified, all of it or nothing."""

import argparse
import sys
from pathlib import Path

from lockgate.envelope import envelope
from lockgate.releasing.fetch import fetch
from lockgate.releasing.options import StderrProgress, add_reader_options, parse_ref, registry_of, resolve_to_use

EXAMPLES = """\
examples:
  lockgate fetch production model/                      what production runs, verified with lockgate.pub
  lockgate fetch v1.2.0 model/ --public-key keys/lockgate.pub
  lockgate fetch flight-delay@v1.2.0 model/ --store s3://bucket/prefix

Run again, it verifies the folder and downloads only what is missing.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("ref", metavar="REF", help="a version (v1.2.0, NAME@v1.2.0) or an environment (production)")
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="where to put it: a new or empty folder, or one that holds this release",
    )
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Fetch a release; one that is there already is verified and left as it is."""
    ref = parse_ref(arguments.ref)
    registry = registry_of(arguments, ref.name)
    entry, build = resolve_to_use(registry, ref)
    fetched = fetch(registry, build, arguments.folder.absolute(), StderrProgress())
    release = build.release
    facts = {
        "release": f"{release.name}@{release.version}",
        "build": release.manifest,
        "folder": str(arguments.folder),
        "fetched": fetched,
        "entry": entry.number if entry else None,
    }
    said = "downloaded to" if fetched else "was already in"
    text = f"{release.name}@{release.version} {said} {arguments.folder}, every byte verified\n"
    sys.stdout.write(envelope("fetch", facts) if arguments.json else text)
    return 0
