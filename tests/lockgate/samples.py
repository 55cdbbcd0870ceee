"""Results as reviewers meet them: one function a situation, each a whole and realistic result."""

import math
from dataclasses import replace

from lockgate.result import (
    CheckFailure,
    ClassChange,
    ColumnShift,
    Comparison,
    Confused,
    Confusion,
    Curve,
    DataChecks,
    DataDiff,
    Difference,
    Execution,
    FileChange,
    GateOutcome,
    Importance,
    LockStatus,
    MetricChange,
    ModelFile,
    OperatingPoint,
    ParamChange,
    ProcedureChange,
    Reason,
    Result,
    Results,
    Revision,
    SeedSpread,
    SliceChange,
    StageChange,
    StageRun,
    Training,
    Verdict,
)

STAGES = ("ingest", "validate", "prepare", "train", "evaluate")
ROWS = 81_943
MAIN = Revision("main", "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678")


def _digest(seed: str) -> str:
    return (seed.encode().hex() * 16)[:32]


def roc(area: float) -> tuple[tuple[float, float], ...]:
    """A ROC curve of about this area: y = x ** k, with its points where such curves have theirs."""
    power = 1 / area - 1
    return tuple((round((i / 60) ** 2, 4), round(((i / 60) ** 2) ** power, 4)) for i in range(61))


def calibration(bend: float) -> tuple[tuple[float, float], ...]:
    """Ten bins: mean score, observed rate."""
    return tuple(
        (round(x, 3), round(x + bend * math.sin(2 * math.pi * x), 3)) for x in (0.04 + 0.09 * i for i in range(10))
    )


CURVES = (
    Curve("ROC", "false positive rate", "true positive rate", roc(0.6887), roc(0.6948)),
    Curve(
        "Calibration",
        "mean score",
        "observed rate",
        calibration(0.05),
        calibration(0.02),
        "",
        True,
        tuple(12_000.0 / 2**i for i in range(10)),
        tuple(11_500.0 / 2**i for i in range(10)),
    ),
)

CHECKS = DataChecks(suites=3, expectations=41, failed=())

GATES = (
    GateOutcome("roc_auc ≥ 0.68", "0.6948", passed=True),
    GateOutcome("log_loss ≤ 0.56", "0.5381", passed=True),
    GateOutcome("no significant worsening of roc_auc (tolerance 0.001)", "+0.0061 [+0.0049, +0.0073]", passed=True),
    GateOutcome(
        "no significant worsening of roc_auc on slices of 500 rows or more", "worst: carrier = HA, +0.0004", passed=True
    ),
    GateOutcome("data checks pass", "41 of 41", passed=True),
    GateOutcome("model file ≤ 20 MB", "1.4 MB", passed=True),
    GateOutcome("metrics file complete", "4 of 4", passed=True),
)

CARRIERS = (("UA", 14_310), ("B6", 13_402), ("EV", 12_755), ("DL", 12_001), ("AA", 8_203), ("HA", 512))


def _slices(changes: dict[str, float]) -> tuple[SliceChange, ...]:
    rows = []
    for carrier, count in CARRIERS:
        base, change, half = 0.66 + count / 4e5, changes.get(carrier, 0.0012), 0.9 / math.sqrt(count)
        sure = abs(change) > half
        rows.append(
            SliceChange(
                "carrier",
                carrier,
                "roc_auc",
                count,
                base,
                base + change,
                change,
                change - half,
                change + half,
                0.0004 if sure else 0.41,
                ("better" if change > 0 else "worse") if sure else "noise",
            )
        )
    return tuple(sorted(rows, key=lambda one: (one.judgement != "worse", one.change or 0)))


def _stages(*changed: StageChange) -> tuple[StageChange, ...]:
    by_name = {stage.name: stage for stage in changed}
    return tuple(by_name.get(name, StageChange(name, "same")) for name in STAGES)


def _execution(*ran: str) -> Execution:
    stages = tuple(
        StageRun(name, "ran", 9.4 if name == "train" else 2.2, 0)
        if name in ran
        else StageRun(name, "untouched", 0.0, 0)
        for name in STAGES
    )
    return Execution(stages, seconds=24.3, pulled=3_120_000, tracked=61_400_000)


def _outputs(tag: str) -> tuple[FileChange, ...]:
    return tuple(
        FileChange(path, "output", "changed", size, size + 812, _digest("base" + path), _digest(tag + path))
        for path, size in (("models/model.skops", 1_391_004), ("data/predictions.parquet", 2_204_118))
    )


def better_model() -> Result:
    """A lower learning rate that helps."""
    return Result(
        model="flight-delay",
        base=MAIN,
        head=Revision(
            "lower-learning-rate",
            "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432",
            "Learn more slowly",
            "Ada L.",
            "2026-11-25",
        ),
        verdict=Verdict("passed", "roc_auc is better, +0.0061 [+0.0049, +0.0073]; 7 of 7 gates hold"),
        lock=LockStatus("written"),
        comparison=Comparison(ROWS, ROWS, ROWS, positives_base=18_972, positives_head=18_972),
        metrics=(
            MetricChange("roc_auc", "higher", 0.68871, 0.69484, 0.00613, 0.00491, 0.00732, "better", "DeLong"),
            MetricChange(
                "log_loss", "lower", 0.54119, 0.53807, -0.00312, -0.00371, -0.00254, "better", "paired losses"
            ),
            MetricChange("brier", "lower", 0.18012, 0.17993, -0.00019, -0.00051, 0.00013, "noise", "paired losses"),
            MetricChange("f1", "higher", 0.4312, 0.4327, 0.0015, -0.0032, 0.0061, "noise", "paired bootstrap"),
        ),
        gates=GATES,
        stages=_stages(
            StageChange("train", "changed", (Reason("parameter", "train.learning_rate", "0.1", "0.05"),)),
            StageChange("evaluate", "changed", (Reason("data", "models/model.skops"),)),
        ),
        params=(ParamChange("params.yaml", "train.learning_rate", "0.1", "0.05"),),
        files=_outputs("better"),
        checks=CHECKS,
        slices=_slices({"UA": 0.0121}),
        curves=CURVES,
        seeds=(SeedSpread("roc_auc", (0, 1, 2, 3, 4), (0.6939, 0.6948, 0.6951, 0.6944, 0.6942)),),
        execution=_execution("train", "evaluate"),
        operating_point=OperatingPoint(
            0.3,
            "late flights",
            Confusion(8_230, 11_106, 10_742, 52_531),
            Confusion(8_442, 11_446, 10_530, 52_191),
            Difference(212.0, 37.1, 424.9, "better"),
            Difference(340.0, -38.2, 765.8, "noise"),
            7.0,
            3.0,
            1.3136,
            1.308,
            Difference(-0.0056, -0.011, -0.0002, "better"),
        ),
        model_file=ModelFile("models/model.skops", 1_391_004, 1_391_816),
        importance=(
            Importance("scheduled_departure", "roc_auc_lost", 0.0931, 0.0977, 0.0021, 0.0019),
            Importance("wind_speed", "roc_auc_lost", 0.0057, 0.0049, 0.0012, 0.0011),
            Importance("tailnum", "roc_auc_lost", None, -0.0002),
        ),
    )


def noise() -> Result:
    """Another number of leaves: nothing that the test rows could tell from chance."""
    return replace(
        better_model(),
        head=Revision("more-leaves", "77aa66bb55cc44dd33ee22ff11009988aabbccdd"),
        verdict=Verdict("attention", "no metric changed by more than chance; 7 of 7 gates hold"),
        lock=LockStatus("reproduced"),
        metrics=(
            MetricChange("roc_auc", "higher", 0.68871, 0.68889, 0.00018, -0.00044, 0.0008, "noise", "DeLong"),
            MetricChange("log_loss", "lower", 0.54119, 0.54113, -0.00006, -0.00038, 0.00026, "noise", "paired losses"),
        ),
        stages=_stages(
            StageChange("train", "changed", (Reason("parameter", "train.max_leaf_nodes", "31", "33"),)),
            StageChange("evaluate", "changed", (Reason("data", "models/model.skops"),)),
        ),
        params=(ParamChange("params.yaml", "train.max_leaf_nodes", "31", "33"),),
        files=_outputs("noise"),
        slices=_slices({}),
        seeds=(),
        training=Training(
            "train.seed",
            "repeats",
            base_seeds=(330808330, 387680669, 309379522),
            head_seeds=(771025281, 127996773, 55012),
            trainings=6,
            changes=(
                ProcedureChange(
                    "roc_auc", "higher", 0.6886, 0.68943, 0.00083, -0.00115, 0.00281, "noise",
                    0.0004, 0.0006, 0.0005, 5.9, (0.6881, 0.6879, 0.6898), (0.6889, 0.69, 0.6894),
                ),
                ProcedureChange(
                    "log_loss", "lower", None, None, None, None, None, "unjudged",
                    note="it has no interval for the committed models",
                ),
            ),
        ),
    )  # fmt: skip


def carrier_hurt() -> Result:
    """Code that drops a feature: the average holds, one carrier's passengers pay."""
    hurt = "worst: carrier = B6, −0.0312 [−0.0390, −0.0234] on 13,402 rows"
    return replace(
        better_model(),
        head=Revision("simpler-features", "0c1d2e3f405162738495a6b7c8d9eafb0c1d2e3f"),
        verdict=Verdict("failed", "roc_auc is worse on carrier = B6, −0.0312 [−0.0390, −0.0234]; the average holds"),
        metrics=(
            MetricChange("roc_auc", "higher", 0.68871, 0.68842, -0.00029, -0.00121, 0.00063, "noise", "DeLong"),
            MetricChange("log_loss", "lower", 0.54119, 0.54127, 0.00008, -0.00041, 0.00057, "noise", "paired losses"),
        ),
        gates=(*GATES[:2], replace(GATES[3], measured=hurt, passed=False), *GATES[4:]),
        stages=_stages(
            StageChange("prepare", "changed", (Reason("code", "src/flight_delay/features.py"),)),
            StageChange("train", "changed", (Reason("data", "data/train.parquet"),)),
            StageChange(
                "evaluate", "changed", (Reason("data", "models/model.skops"), Reason("data", "data/test.parquet"))
            ),
        ),
        params=(),
        files=(FileChange("src/flight_delay/features.py", "code", "changed", 4_203, 3_911), *_outputs("hurt")),
        slices=_slices({"B6": -0.0312, "UA": 0.0102}),
        seeds=(),
        execution=_execution("prepare", "train", "evaluate"),
    )


def failing_gate() -> Result:
    """New raw data breaks expectations, a metric vanished, and the change would loosen the policy that judges it."""
    return replace(
        better_model(),
        head=Revision("june-data", "deadbeefcafe0123456789abcdef0123456789ab"),
        verdict=Verdict("failed", "3 of 7 gates fail: data checks pass"),
        comparison=Comparison(ROWS, 79_120, 64_007),
        metrics=(
            MetricChange(
                "roc_auc",
                "higher",
                0.68871,
                0.66203,
                -0.02668,
                -0.0291,
                -0.0243,
                "worse",
                "DeLong",
                "",
                0.68902,
                0.66234,
            ),
            MetricChange(
                "log_loss",
                "lower",
                0.54119,
                None,
                None,
                None,
                None,
                "unjudged",
                "",
                "the metrics file of head holds NaN",
            ),
            MetricChange("f1", "higher", 0.4312, None, None, None, None, "removed", "", "not in head's metrics file"),
        ),
        gates=(
            replace(GATES[0], measured="0.6620", passed=False),
            replace(GATES[1], measured="", passed=False, reason="cannot be evaluated: log_loss is NaN"),
            GATES[2],
            GATES[3],
            replace(GATES[4], measured="39 of 41", passed=False),
            *GATES[5:],
        ),
        stages=_stages(
            StageChange("ingest", "changed", (Reason("data", "data/raw/flights.csv"),)),
            StageChange("validate", "changed", (Reason("data", "data/flights.parquet"),)),
            StageChange("prepare", "changed", (Reason("data", "data/flights.parquet"),)),
            StageChange("train", "changed", (Reason("data", "data/train.parquet"),)),
            StageChange("evaluate", "changed", (Reason("data", "data/test.parquet"),)),
        ),
        params=(),
        files=(
            FileChange("lockgate.yaml", "policy", "changed"),
            FileChange(
                "data/raw/flights.csv", "data", "changed", 31_053_218, 33_870_004, _digest("raw0"), _digest("raw1")
            ),
            FileChange("data/raw/holidays.csv", "data", "added", None, 812, None, _digest("holi")),
            *_outputs("june"),
        ),
        checks=DataChecks(
            3,
            41,
            (
                CheckFailure(
                    "flights", "dep_time", "values are between 0 and 2400", "critical", 1_204, ("2460", "9999", "-1")
                ),
                CheckFailure("weather", "", "no duplicate rows", "warning", 12, failures_base=12),
            ),
        ),
        slices=(),
        seeds=(),
        notes=("log_loss of head is NaN: it cannot be compared.",),
        notes_of_base=("The model is opaque: loading it may run any code that it holds. Lockgate never loads it.",),
        execution=_execution(*STAGES),
        operating_point=None,
        data=(
            DataDiff(
                "data/train.parquet",
                221_000,
                244_737,
                "2013-01-01",
                "2013-08-31",
                "2013-01-01",
                "2013-09-30",
                (
                    ColumnShift("temp", 0.311, "median 52.3", "median 58.1"),
                    ColumnShift("carrier", 0.004, "UA 17.4 %", "UA 17.9 %"),
                ),
            ),
            DataDiff("data/test.parquet", None, None, note="120 MB: more than the 34 MB that are read"),
        ),
    )


def failing_stage() -> Result:
    """Train fell over: no figures of head, but the end of its log."""
    log = "\n".join(  # noqa: FLY002 - a log is read line by line
        [
            "reading data/train.parquet",
            "\x1b[32mfit\x1b[0m   0%|          | 0/100\rfit 100%|##########| 100/100",
            "Traceback (most recent call last):",
            '  File "src/flight_delay/train.py", line 41, in train',
            "    model.fit(frame[FEATURES], frame[LABEL])",
            "ValueError: could not convert string to float: '<b>@everyone</b> see #1'",
        ]
    )
    stages = (
        StageRun("ingest", "untouched", 0.0, 0),
        StageRun("validate", "untouched", 0.0, 0),
        StageRun("prepare", "ran", 2.2, 0),
        StageRun("train", "failed", 4.1, 0),
        StageRun("evaluate", "not reached", 0.0, 0),
    )
    return replace(
        carrier_hurt(),
        verdict=Verdict("failed", "stage train failed"),
        lock=LockStatus("local"),
        comparison=Comparison(ROWS, None, None),
        metrics=(),
        gates=(),
        slices=(),
        curves=(),
        checks=None,
        execution=Execution(stages, 8.9, 0, 61_400_000, "train", log),
    )


def first_commit() -> Result:
    """Nothing to compare with."""
    full = better_model()
    return replace(
        full,
        base=None,
        verdict=Verdict("passed", "5 of 5 gates hold; there is no base to compare with"),
        lock=LockStatus("local"),
        comparison=Comparison(None, ROWS, None),
        metrics=tuple(
            MetricChange(one.name, one.better, None, one.head, None, None, None, "new") for one in full.metrics
        ),
        gates=(*GATES[:2], *GATES[4:]),
        stages=tuple(StageChange(name, "added", (Reason("new", ""),)) for name in STAGES),
        params=(),
        files=(),
        slices=(),
        curves=tuple(replace(curve, base=()) for curve in CURVES),
        seeds=(),
        execution=None,
    )


def lock_differs() -> Result:
    """The author's lock claims a model that its inputs do not give."""
    return replace(
        better_model(),
        verdict=Verdict("failed", "the author's lock differs from what came out, for train and evaluate"),
        lock=LockStatus("differs", ("train", "evaluate")),
    )


def docs_only() -> Result:
    """A README's typo: nothing of the pipeline differs."""
    full = better_model()
    return replace(
        full,
        head=Revision("typo", "1234567890abcdef1234567890abcdef12345678"),
        verdict=Verdict("passed", "nothing of the pipeline differs; 7 of 7 gates hold"),
        lock=LockStatus("reproduced"),
        metrics=tuple(
            replace(one, head=one.base, change=0.0, low=0.0, high=0.0, judgement="noise") for one in full.metrics
        ),
        stages=_stages(),
        params=(),
        files=(),
        slices=(),
        curves=(),
        seeds=(),
        execution=_execution(),
    )


def huge() -> Result:
    """10,000 parameters, 2,000 slices, 300 metrics and gates: far more than a comment can hold."""
    full = failing_gate()
    return replace(
        full,
        metrics=tuple(replace(full.metrics[0], name=f"metric_{i}_{'x' * 90}") for i in range(300)),
        gates=tuple(
            replace(GATES[i % 7], rule=f"{GATES[i % 7].rule} number {i} {'and so on ' * 30}") for i in range(300)
        ),
        params=tuple(ParamChange("params.yaml", f"grid.{i}.{'|<`' * 30}", "1" * 400, "2" * 400) for i in range(10_000)),
        slices=tuple(
            replace(one, value=f"{one.value}{i}{'<' * 90}") for i in range(340) for one in _slices({"B6": -0.0312})
        ),
        notes=tuple(f"note {i}: {'@team ' * 60}" for i in range(500)),
        curves=CURVES * 20,
        execution=replace(full.execution, failed_stage="train", log="<!-- a very long line -->" * 20_000)
        if full.execution
        else None,
    )


def two_models() -> Results:
    """Of three models, two that a change touches, one of which fails."""
    one, other = replace(failing_gate(), model="cancellations:risk"), replace(better_model(), model="arrivals")
    loose = StageChange("compare", "changed", (Reason("data", "arrivals/metrics.json"),))
    return Results(
        other.base,
        other.head,
        replace(one.verdict, reason=f"cancellations:risk: {one.verdict.reason}"),
        other.lock,
        (other, one),
        ("delay",),
        ("fuel",),
        (*other.stages, loose),
        ("Head removes the model 'fuel' with its artifact: nothing of it is judged.",),
        other.execution,
    )


CLASSES = (
    ClassChange("owl", 120, 0.7, 0.6, 0.8, 0.81, 0.747, 0.689, -0.058, -0.081, -0.035, 0.001, "worse"),
    ClassChange("cat", 900, 0.9, 0.9, None, 0.95, 0.9, 0.924, 0.024, -0.001, 0.049, 0.06, "noise"),
    ClassChange(
        "emu", 4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4, -0.1, None, None, None, "unjudged", "4 rows of the class: too few"
    ),
)


def several_classes() -> Result:
    """A model of several classes, of which one got worse."""
    rows = Comparison(1024, 1024, 1024, kind="multiclass")
    confused = (Confused("owl", "cat", 20, 31), Confused("cat", "owl", 9, 9))
    return replace(better_model(), comparison=rows, classes=CLASSES, confused=confused)


def regression() -> Result:
    """A model of a number, with its residuals."""
    rows = Comparison(1000, 1000, 1000, kind="regression", target_base=240_148.0, target_head=240_148.0)
    curve = Curve(
        "Residuals by prediction", "prediction", "mean of target less prediction",
        ((100_000.0, 12_000.0), (300_000.0, -12_000.0)), ((100_000.0, 9_000.0), (300_000.0, -9_000.0)),
        rows_base=(500.0, 500.0), rows_head=(500.0, 500.0), level=0.0,
    )  # fmt: skip
    rmse = MetricChange("rmse", "lower", 33_949.0, 26_009.0, -7940.0, -8417.0, -7463.0, "better", "influence of rows")
    return replace(better_model(), comparison=rows, metrics=(rmse,), curves=(curve,), slices=(), operating_point=None)


SAMPLES = {
    sample.__name__: sample
    for sample in (
        better_model,
        noise,
        carrier_hurt,
        failing_gate,
        failing_stage,
        first_commit,
        lock_differs,
        docs_only,
        several_classes,
        regression,
        huge,
    )
}
