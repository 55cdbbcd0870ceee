"""Debian's Prometheus for the tests: on the path, or in the folder that $LOCKGATE_TEST_PROMETHEUS names."""

import os
import shutil

import pytest

FOLDER = os.environ.get("LOCKGATE_TEST_PROMETHEUS")


def found(name: str) -> str | None:
    return shutil.which(name, path=FOLDER) if FOLDER else shutil.which(name)


needs_promtool = pytest.mark.skipif(found("promtool") is None, reason="promtool (Debian's prometheus) is not here")
needs_prometheus = pytest.mark.skipif(found("prometheus") is None, reason="prometheus is not here")
