"""What the policy says of each kind of model, and what it refuses with the place of the mistake."""

import jsonschema
import pytest

from lockgate.evaluation.gate_digests import gate_digest
from lockgate.policy import OF_KIND, STATISTICS, Interval, PolicyError, Probabilities, json_schema, read_policy
from lockgate.strict_yaml import load

METRIC = "{file: m.json, key: %s, better: %s, statistic: %s%s}"
BINARY = "{file: p.csv, key: [id], label: late, score: p}"
CLASSES = "{kind: multiclass, file: p.csv, key: [id], label: animal, predicted: said, probabilities: {prefix: p_}}"
NUMBERS = "{kind: regression, file: p.csv, key: [id], label: price, prediction: said, interval: {low: a, high: b}}"
NEEDS = {
    "quantile_loss": ", quantile: 0.9",
    "mean": ", column: loss",
    **dict.fromkeys(("precision", "recall", "f1", "roc_auc"), ", class: cat"),
}


def policy(predictions: str, statistic: str = "", more: str = "", rest: str = "", better: str = "") -> str:
    better = better or STATISTICS.get(statistic) or "higher"  # type: ignore[call-overload]
    metric = METRIC % (statistic or "x", better, statistic or "null", more)
    return f"model: m\nmetrics:\n  one: {metric}\npredictions: {predictions}\n{rest}"


@pytest.mark.parametrize(
    ("kind", "statistic"), [(kind, statistic) for kind, those in OF_KIND.items() for statistic in those]
)
def test_every_statistic_of_a_kind_is_taken_and_completed_by_the_schema(kind: str, statistic: str) -> None:
    of_kind = {
        "binary": BINARY,
        "multiclass": CLASSES,
        "regression": NUMBERS,
        "other": "{kind: other, file: p.csv, key: [id]}",
    }
    more = "" if kind == "binary" and statistic != "mean" else NEEDS.get(statistic, "")
    text = policy(of_kind[kind], statistic, more)

    assert read_policy(text).metric("one").statistic == statistic
    jsonschema.validate(load(text, "lockgate.yaml"), json_schema())


def test_the_columns_of_each_kind_are_read() -> None:
    classes = read_policy(policy(CLASSES)).predictions
    named = read_policy(policy(CLASSES.replace("{prefix: p_}", "{cat: p1, 2: p2, true: p3}"))).predictions
    numbers = read_policy(policy(NUMBERS)).predictions
    apart = read_policy(policy(BINARY.replace("score", "labels: y.csv, positive: yes, score"))).predictions

    assert classes is not None
    assert (classes.kind, classes.predicted, classes.probabilities) == ("multiclass", "said", Probabilities("p_"))
    assert named is not None
    assert named.probabilities == Probabilities("", (("cat", "p1"), ("2", "p2"), ("true", "p3")))
    assert numbers is not None
    assert (numbers.prediction, numbers.interval) == ("said", Interval("a", "b", 0.9))
    assert apart is not None
    assert (apart.positive, apart.files, apart.kind) == ("yes", ("p.csv", "y.csv"), "binary")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (policy("{kind: ranking, file: p.csv, key: [id]}"), "predictions.kind", "must be one of binary, multiclass"),
        (policy("{file: p.csv, key: [id], label: y}"), "predictions.score", "the kind `binary` needs it"),
        (
            policy("{kind: regression, file: p.csv, key: [id], label: y}"),
            "predictions.prediction",
            "`regression` needs",
        ),
        (policy("{kind: multiclass, file: p.csv, key: [id], label: y}"), "predictions.predicted", "name it, or the"),
        (
            policy(NUMBERS.replace("prediction: said", "prediction: s, score: s")),
            "predictions.score",
            "kind `binary`, and",
        ),
        (
            policy(CLASSES.replace("predicted", "positive: a, predicted")),
            "predictions.positive",
            "this is `multiclass`",
        ),
        (policy(CLASSES.replace("{prefix: p_}", "{cat: p_cat}")), "predictions.probabilities", "two classes or more"),
        (policy(CLASSES.replace("{prefix: p_}", "p_")), "predictions.probabilities", "must be `{prefix: …}`"),
        (policy(NUMBERS.replace("high: b", "high: b, coverage: 1")), "predictions.interval.coverage", "below 1"),
        (policy(NUMBERS.replace("high: b", "hihg: b")), "predictions.interval.hihg", "unknown key"),
        (policy("{kind: other, file: p.csv, key: [id], labels: y.csv}"), "predictions.labels", "has no label"),
        (policy(NUMBERS, "roc_auc"), "metrics.one.statistic", "is none of the kind `regression`, which has rmse"),
        (policy(BINARY, "rmse"), "metrics.one.statistic", "is none of the kind `binary`"),
        (policy(CLASSES, "recall"), "metrics.one.class", "recall is of one class"),
        (policy(BINARY, "recall", ", class: cat"), "metrics.one.class", "belongs to the kind `multiclass` alone"),
        (
            policy(CLASSES.replace(", probabilities: {prefix: p_}", ""), "log_loss"),
            "metrics.one.statistic",
            "needs `pred",
        ),
        (
            policy(CLASSES, "accuracy", ", threshold: 0.3"),
            "metrics.one.threshold",
            "belongs to the kind `binary` alone",
        ),
        (policy(NUMBERS.replace(", interval: {low: a, high: b}", ""), "coverage"), "metrics.one.statistic", "ends"),
        (policy(NUMBERS, "quantile_loss"), "metrics.one.quantile", "quantile_loss needs it"),
        (policy(NUMBERS, "quantile_loss", ", quantile: 1"), "metrics.one.quantile", "below 1"),
        (policy(NUMBERS, "mean"), "metrics.one.column", "mean needs it"),
        (policy(NUMBERS, "rmse", ", column: loss"), "metrics.one.column", "belongs to the statistic mean or quantile"),
        (policy(NUMBERS, "rmse", better="higher"), "metrics.one.better", "rmse is better lower"),
        (policy(NUMBERS, rest="operating_point: {threshold: 0.5}"), "operating_point", "belongs to a binary model"),
    ],
)
def test_what_does_not_fit_the_kind_is_refused_with_its_line(text: str, place: str, said: str) -> None:
    with pytest.raises(PolicyError, match="line ") as caught:
        read_policy(text)

    assert caught.value.place == place
    assert said in str(caught.value)
    assert caught.value.position is not None


def test_coverage_and_means_are_better_the_way_that_the_policy_says() -> None:
    for statistic, more in (("coverage", ""), ("mean", ", column: loss")):
        for better in ("higher", "lower"):
            assert read_policy(policy(NUMBERS, statistic, more, better=better)).metric("one").better == better


def test_no_statistic_is_taken_from_a_name_where_the_kind_is_said_or_the_word_is_new() -> None:
    for name, predictions in (("accuracy", CLASSES), ("log_loss", NUMBERS), ("f1", BINARY), ("rmse", BINARY)):
        text = f"model: m\nmetrics: {{{name}: {{file: m.json, key: x, better: lower}}}}\npredictions: {predictions}\n"
        text = text.replace("lower", "higher") if name in ("accuracy", "f1") else text
        metric = read_policy(text).metric(name)
        assert (metric.statistic, metric.assumed) == (None, False)


def test_a_gate_of_another_class_quantile_column_or_kind_is_another_gate() -> None:
    gate = "gates: [{kind: no-regression, metric: one, margin: 0.1}]\n"
    texts = [
        policy(CLASSES, "recall", ", class: cat", gate),
        policy(CLASSES, "recall", ", class: dog", gate),
        policy(BINARY, "recall", "", gate),
        policy(NUMBERS, "quantile_loss", ", quantile: 0.9", gate),
        policy(NUMBERS, "quantile_loss", ", quantile: 0.1", gate),
        policy(NUMBERS, "quantile_loss", ", quantile: 0.1, column: q", gate),
        policy(CLASSES, "accuracy", "", gate),
        policy(BINARY, "accuracy", "", gate),
    ]
    read = [read_policy(text) for text in texts]

    assert len({gate_digest(one.gates[0], one) for one in read}) == len(texts)
