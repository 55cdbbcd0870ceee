"""Metrics that a function of the repository computes: what is found, and every way in which a function can be wrong."""

import json
import re
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks import study_generic

from lockgate.evaluation import bootstrap, compare, generic, statistics
from lockgate.evaluation.compare import Judged, Side
from lockgate.evaluation.generic_worker import Problem, load, measured, read_table
from lockgate.evaluation.statistics import Undefined
from lockgate.git import Overlay, Workspace
from lockgate.policy import Policy, PolicyError, read_policy
from lockgate.result import MetricChange

POLICY = """\
model: search
metrics:
  mrr: {file: metrics.json, key: mrr, better: higher, function: "code/metrics.py:metrics"}
predictions: {file: p.parquet, kind: other, key: [query, document], cluster: [query]}
gates:
  - {kind: no-regression, metric: mrr, margin: 0.05}
"""
MRR = """\
import numpy as np
import own


def metrics(predictions):
    print("said to nobody")
    _, query = np.unique(predictions["query"].astype(str), return_inverse=True)
    order = np.lexsort((-predictions["score"], query))
    query, relevant = query[order], predictions["relevant"][order] > 0
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    best = np.full(query.max() + 1, np.inf)
    np.minimum.at(best, query[relevant], rank[relevant] + own.ONE)
    return {"mrr": (1 / best).mean(), "queries": len(best)}
"""
FILES = {"code/metrics.py": MRR.encode(), "own.py": b"ONE = 1\n"}


def mrr(table: dict[str, np.ndarray]) -> float:
    told = []
    for query in dict.fromkeys(table["query"]):
        of = table["query"] == query
        ranked = table["relevant"][of][np.argsort(-table["score"][of])]
        told.append(1 / (1 + int(np.argmax(ranked > 0))) if ranked.any() else 0.0)
    return float(np.mean(told))


def ranking(queries: int = 40, noise: float = 1.0) -> pa.Table:
    """Ten documents a query, of which one is relevant; scores with some noise of the model's own."""
    generator = np.random.default_rng(5)
    rows = queries * 10
    relevant = np.zeros(rows, np.int64)
    relevant[np.arange(queries) * 10 + generator.integers(0, 10, queries)] = 1
    score = (
        2 * relevant + generator.normal(size=rows) + noise * np.random.default_rng(int(100 * noise)).normal(size=rows)
    )
    query = np.array([f"q{number // 10}" for number in range(rows)], object)
    return pa.table({"query": query, "document": np.arange(rows) % 10, "relevant": relevant, "score": score})


def side(table: pa.Table, says: float | None = None) -> Side:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content = sink.getvalue().to_pybytes()
    columns = {name: np.array(table[name].to_pylist()) for name in table.column_names}
    return Side({"metrics.json": json.dumps({"mrr": mrr(columns) if says is None else says}).encode()}, content)


@dataclass
class Bench:
    """A repository that has only code, and two sides to compare."""

    root: Path
    base: pa.Table
    head: pa.Table
    policy: Policy

    def judge(
        self, code: bytes = MRR.encode(), head_code: bytes | None = None, **files: bytes
    ) -> tuple[Judged, list[str]]:
        before = Overlay(Workspace(self.root), {**FILES, "code/metrics.py": code, **files})
        after = before if head_code is None else Overlay(before, {"code/metrics.py": head_code})
        sides = (side(self.base), side(self.head))
        judged = compare.compare(self.policy, *sides)
        found, unknown = generic.judge(self.policy, before, after, sides, judged)
        return found, list(unknown)

    def one(self, code: str) -> tuple[MetricChange, list[str]]:
        found, unknown = self.judge(code.encode())
        return found.metrics[0], unknown


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(bootstrap, "RESAMPLES", 60)
    return Bench(tmp_path, ranking(), ranking(noise=0.1), read_policy(POLICY))


def test_a_function_of_base_is_judged_by_a_bootstrap_of_whole_queries(bench: Bench) -> None:
    found, unknown = bench.judge(head_code=b"def metrics(predictions):\n    return {'mrr': 1.0}\n")

    (one,) = found.metrics
    assert unknown == []
    assert (one.judgement, one.method) == ("better", "cluster bootstrap"), one
    assert one.low is not None
    assert one.high is not None
    assert one.low < (one.head or 0) - (one.base or 0) < one.high
    assert found.warnings == (
        "This changes code/metrics.py, by which mrr is computed: base's copy judged, not this one.",
    )
    again, _ = bench.judge()
    assert again.metrics == found.metrics
    assert again.warnings == ()


def test_a_resample_has_every_copy_of_a_query_as_a_query_of_its_own() -> None:
    table = {"query": np.array(["a", "a", "b"], object), "day": np.array([3, 3, 4]), "x": np.arange(3.0)}
    resampler = bootstrap.Resampler(3, np.array([0, 0, 1]), ["query", "day"])
    for number in range(20):
        rows, copies = resampler.draw(number)
        taken = resampler.taken(table, (rows, copies))
        assert len(set(taken["query"])) == len(set(taken["day"])) == 2  # as many as were drawn
        assert list(taken["x"]) == list(rows)
    days = np.array(["2013-01-01", "2013-01-09", "NaT"], "M8[D]")
    assert str(bootstrap.told_apart(days, np.array([0, 1, 1]))[1]) > "2013-01-17"
    assert list(bootstrap.told_apart(np.array([0.5, np.nan, 2.5]), np.array([0, 1, 1]))[[0, 2]]) == [0.5, 5.5]
    assert list(bootstrap.told_apart(np.array([True]), np.array([1]))) == [True]


def test_rows_of_one_side_alone_are_left_out_of_the_interval_and_held_to_that_sides_own_file(bench: Bench) -> None:
    bench.policy = read_policy(POLICY.replace("cluster: [query]", "cluster: [query], missing: 0.5"))
    bench.head = bench.head.slice(0, 300)

    found, unknown = bench.judge()

    (one,) = found.metrics
    assert unknown == []
    assert found.comparison.rows_shared == 300
    assert one.shared_base is not None
    assert one.shared_base != one.base
    assert one.shared_head == pytest.approx(one.head, rel=1e-5)
    assert one.low is not None


def test_a_metrics_file_that_says_something_else_than_the_function_is_not_judged(bench: Bench) -> None:
    sides = (side(bench.base), side(bench.head, says=0.99))
    code = Overlay(Workspace(bench.root), FILES)

    found, _ = generic.judge(bench.policy, code, code, sides, compare.compare(bench.policy, *sides))

    assert found.metrics[0].low is None
    assert "head's metrics file says 0.9900, the function gives" in found.metrics[0].note
    assert list(found.disagree) == ["mrr"]


WRONG = {
    "raises": ("def metrics(p):\n    raise ValueError('no  relevant\\nrow')", "it raised ValueError: no relevant row"),
    "a missing column": ("def metrics(p):\n    return p['gain'].sum()", "it raised KeyError: 'gain'"),
    "exits": ("import sys\ndef metrics(p):\n    sys.exit(3)", "it raised SystemExit: 3"),
    "NaN": ("def metrics(p):\n    return {'mrr': float('nan')}", "it returned nan for 'mrr'"),
    "infinite": ("def metrics(p):\n    return {'mrr': float('inf')}", "it returned inf for 'mrr'"),
    "too large": ("def metrics(p):\n    return {'mrr': 10 ** 400}", "a number for 'mrr' that is too large"),
    "text": ("def metrics(p):\n    return {'mrr': '0.5'}", "it returned str for 'mrr', not a number"),
    "true": ("def metrics(p):\n    return {'mrr': True}", "it returned bool for 'mrr', not a number"),
    "an array": ("import numpy\ndef metrics(p):\n    return {'mrr': numpy.ones(2)}", "it returned ndarray for 'mrr'"),
    "other names": ("def metrics(p):\n    return {'ndcg': 1.0, 'map': 0.5}", "it returned no 'mrr' but ndcg, map"),
    "nothing": ("def metrics(p):\n    pass", "it returned NoneType for 'mrr', not a number"),
    "no such function": ("def other(p):\n    return 1.0", "code/metrics.py has no function 'metrics'"),
    "no function": ("metrics = 3", "code/metrics.py has no function 'metrics'"),
    "bad syntax": ("def metrics(:", "code/metrics.py cannot be imported: SyntaxError"),
    "an own module that lacks another": ("import own.inner\n", "code/metrics.py cannot be imported"),
    "needs a package": ("import lifelines\n", "needs the package 'lifelines', which is not installed here"),
    "needs a package late": ("def metrics(p):\n    import lifelines\n", "it needs the package 'lifelines'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_function_that_is_wrong_gives_no_value_and_says_why(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])
    code, said = WRONG[name]
    (tmp_path / "code").mkdir()
    (tmp_path / "code/metrics.py").write_text(code)
    (tmp_path / "own.py").write_text("")

    with pytest.raises(Problem, match=re.escape(said)) as problem:
        measured(load(tmp_path, "code/metrics.py", "metrics"), {"score": np.ones(3)}, ["mrr"])
    assert problem.value.of == ("machine" if "package" in name else "function")


REACHES = """\
import os, socket

def metrics(predictions):
    reached = []
    for name, reach in {
        "the repository": lambda: open(ROOT + "/secret"),
        "a file to write": lambda: open("/etc/lockgate", "w"),
        "the folder of its code": lambda: open(__file__, "a"),
        "the network": lambda: socket.create_connection(("127.0.0.1", PORT), 2),
        "a key": lambda: os.environ["AWS_SECRET_ACCESS_KEY"],
        "a home": lambda: open(KEPT),
    }.items():
        try:
            reach()
            reached.append(name)
        except (OSError, KeyError, IndexError):
            pass
    raise ValueError(f"reached {reached}")
"""


def test_a_function_reaches_no_key_no_network_no_home_and_not_the_repository(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (bench.root / "secret").write_text("secret")
    home = tmp_path_factory.mktemp("home")
    (home / "key").write_text("secret")
    monkeypatch.setenv("HOME", str(home))
    code = REACHES.replace("ROOT", repr(str(bench.root))).replace("KEPT", repr(str(home / "key")))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        one, _ = bench.one(code.replace("PORT", port))

    assert one.note.endswith("it raised ValueError: reached []"), one.note


MORE = {
    "at random": (
        "import random\ndef metrics(p):\n    return random.random()", "it draws at random without a seed", False,
    ),
    "writes into the answers": (
        "import os\ndef metrics(p):\n    [os.write(n, b'{\"change\": 1}\\n') for n in range(3, 12) if ok(n)]\n"
        "    return 1.0\n"
        "def ok(n):\n    try:\n        return os.readlink(f'/proc/self/fd/{n}').startswith('pipe')\n"
        "    except OSError:\n        return False",
        "it wrote into the answers of its process", False,
    ),
    "fails on some resamples": (
        MRR + "ours = metrics\ndef metrics(p):\n    if any('~' in q for q in p['query']):\n"
        "        raise ValueError('lacks q7')\n    return ours(p)",
        "it raised ValueError: lacks q7 on a resample of the rows", False,
    ),
    "kills its process": (
        "import os\ndef metrics(p):\n    os.kill(os.getpid(), 9)", "it ended its process (signal 9)", True,
    ),
    "kills a process of resamples": (
        MRR + "import os\nours = metrics\ndef metrics(p):\n    if any('~' in q for q in p['query']):\n"
        "        os.kill(os.getpid(), 9)\n    return ours(p)",
        "it ended its process (signal 9)", True,
    ),
    "leaves": ("import os\ndef metrics(p):\n    os._exit(0)", "it ended its process (exit code 0)", True),
    "hangs": ("def metrics(p):\n    while True:\n        pass", "it takes longer than 3 s", True),
    "eats memory": ("def metrics(p):\n    return len(bytearray(9 << 30))", "there is not enough memory", True),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_what_a_function_does_to_its_process_is_said_and_what_another_machine_may_see_otherwise_told_apart(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generic, "FIRST", 3.0 if name == "hangs" else 60.0)
    code, said, elsewhere = MORE[name]

    one, unknown = bench.one(code)

    assert one.low is None
    assert one.judgement == "unjudged"
    assert said in one.note, one.note
    assert unknown == ([f"mrr (code/metrics.py:metrics: {one.note.partition('metrics: ')[2]})"] if elsewhere else [])


def test_a_file_that_is_not_there_is_said(bench: Bench) -> None:
    nowhere = Overlay(Workspace(bench.root), {"own.py": b""})
    sides = (side(bench.base), side(bench.head))
    found, _ = generic.judge(bench.policy, nowhere, nowhere, sides, compare.compare(bench.policy, *sides))
    assert "there is no code/metrics.py" in found.metrics[0].note


def test_too_few_queries_have_no_interval_but_their_files_are_held_to_the_function(bench: Bench) -> None:
    bench.base, bench.head = bench.base.slice(0, 50), bench.head.slice(0, 50)
    found, _ = bench.judge()
    assert found.metrics[0].note == "no interval: 5 clusters of rows: too few for an interval (it takes 10)"

    with pytest.raises(Undefined, match="no resample"):
        bootstrap.estimate(0.5, 0.6, np.full(20, 0.1), 40)


def test_the_columns_of_a_table_are_what_numpy_calls_them(tmp_path: Path) -> None:
    table = pa.table(
        {
            "whole": pa.array([1, 2], pa.int16()),
            "holes": pa.array([1, None], pa.int64()),
            "text": pa.array(["a", None]).dictionary_encode(),
            "day": pa.array([0, None], pa.date32()),
            "time": pa.array([0, 1_000_000], pa.timestamp("ns", "UTC")),
            "truth": [True, False],
            "number": pa.array([0.5, None], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")

    found = read_table(tmp_path / "t.parquet")

    kinds = {name: column.dtype.kind for name, column in found.items()}
    assert kinds == {"whole": "i", "holes": "f", "text": "O", "day": "M", "time": "M", "truth": "b", "number": "f"}
    assert list(found["text"]) == ["a", None]
    assert np.isnan(found["holes"][1])
    assert np.isnat(found["day"][1])
    assert str(found["time"][1]).startswith("1970-01-01T00:00:00.001")


@pytest.mark.parametrize(
    ("changed", "into"),
    [
        ("code/metrics.py:metrics", "/etc/metrics.py:metrics"),
        ("code/metrics.py:metrics", "../metrics.py:metrics"),
        ("code/metrics.py:metrics", "code.metrics:metrics"),
        ("better: higher, function", "better: higher, statistic: mean, column: score, function"),
        ("margin: 0.05", "margin: 0.05, slices: [query]"),
        ("predictions: {file: p.parquet, kind: other, key: [query, document], cluster: [query]}\n", ""),
    ],
)
def test_a_function_that_cannot_be_meant_is_refused(changed: str, into: str) -> None:
    assert changed in POLICY
    with pytest.raises(PolicyError):
        read_policy(POLICY.replace(changed, into))
    assert read_policy(POLICY).metric("mrr").function == "code/metrics.py:metrics"
    assert replace(read_policy(POLICY).metric("mrr"), function=None).is_computed is False


# --- simulated: the long version is benchmarks/study_generic.py


def test_the_bootstrap_of_a_mean_has_the_error_that_statistics_know_without_it() -> None:
    generator = np.random.default_rng(2)
    cluster = np.repeat(np.arange(40), 10)
    label = generator.random(400) < 0.5
    shared = 0.2 * generator.normal(size=40)[cluster]
    base, head = generator.random(400), np.clip(0.5 + shared + 0.1 * generator.normal(size=400), 0, 1)
    known = statistics.compare("brier", label, base, head, cluster)
    resampler = bootstrap.Resampler(400, cluster)
    loss = {"x": (head - label) ** 2 - (base - label) ** 2}

    changes = np.array([resampler.taken(loss, resampler.draw(number))["x"].mean() for number in range(500)])
    found = bootstrap.estimate(known.base, known.head, changes, 400, cluster)

    assert found.error == pytest.approx(known.error, rel=0.08)
    assert found.freedom < known.freedom
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.2 * known.error)


def test_intervals_of_a_ranking_cover_the_known_difference() -> None:
    setting = next(one for one in study_generic.settings() if (one.metric, one.size) == ("mrr", "30 queries"))
    found = study_generic.study(setting, 12, draws=2)
    assert found["covered"] >= 9 / 12
    assert found["called"] <= 4 / 12
