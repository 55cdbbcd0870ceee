"""DVC's project is opened while others open the same one: the database of its index is made ready by all of them."""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dvc_data.index import DataIndex
from tests.lockgate.factory import Project

from lockgate.dvc import repo as opening
from lockgate.dvc.repo import make_ready, open_repo

ROUNDS, AT_ONCE = 150, 4


@dataclass
class Opened:
    """What is opened of a project: DVC's own index of a database."""

    data_index: Any


def failures(folder: Path, ready: Callable[[Opened], None]) -> int:
    """Return in how many rounds somebody failed who made a new database ready together with others."""
    failed = 0
    for number in range(ROUNDS):
        begin, errors = threading.Barrier(AT_ONCE), list[Exception]()

        def work(path: str = str(folder / f"{number}.db"), begin: Any = begin, errors: Any = errors) -> None:
            index = DataIndex.open(path)
            begin.wait()
            try:
                ready(Opened(index))
            except sqlite3.OperationalError as error:
                errors.append(error)
            index.close()

        threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failed += bool(errors)
    return failed


def test_an_index_that_several_make_ready_at_one_moment_fails_none_of_them(tmp_path: Path) -> None:
    assert failures(tmp_path, make_ready) == 0


def test_an_index_that_cannot_be_opened_is_an_error_and_no_endless_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "PATIENCE", 0.1)
    with pytest.raises(sqlite3.OperationalError):
        make_ready(Opened(DataIndex.open(str(tmp_path / "no folder" / "db.db"))))


def test_a_project_is_given_with_its_index_open(project: Project) -> None:
    with open_repo(project.root) as repo:
        assert Path(repo.root_dir) == project.root
        assert list(repo.data_index.ls((), detail=False)) == []
