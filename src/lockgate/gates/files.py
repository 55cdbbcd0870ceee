"""``data-checks``, ``model-size``, ``metrics-present``: what is asked of files rather than of figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lockgate import policy_values as values
from lockgate.formatting import count, size
from lockgate.gates.gate import NO_BASE, Gate, GateInputs, key, plain
from lockgate.result import GateOutcome

if TYPE_CHECKING:
    from lockgate.policy import Policy


@dataclass(frozen=True)
class DataChecksPass(Gate):
    """No critical expectation of the validation file failed."""

    kind = "data-checks"
    about = "No critical expectation of the file `validation:` failed. Warnings are shown and pass."
    example = "{kind: data-checks}"

    def sentence(self, policy: "Policy") -> str:  # noqa: ARG002
        """Return the rule in words."""
        return "data checks pass"

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Count what failed."""
        checks = inputs.checks
        if checks is None or checks.note:
            return self.not_evaluated(policy, checks.note if checks else "there is no validation file")
        if not checks.expectations:
            return self.not_evaluated(policy, "the validation file holds no expectation")
        critical = [failure for failure in checks.failed if failure.severity == "critical"]
        warnings = len(checks.failed) - len(critical)
        told = f"{count(checks.expectations, 'expectation')}, {len(critical):,} critical failed"
        first = f"{critical[0].table}: {critical[0].rule}" if critical else ""
        headline = f"{count(len(critical), 'critical data check')} failed: {first}"
        reason = first or (count(warnings, "warning") if warnings else "")
        return self.outcome(policy, told, not critical, reason, headline=headline)


@dataclass(frozen=True)
class ModelSize(Gate):
    """The model artifact has at most this many bytes."""

    at_most: int = key(values.size, "a size such as `20 MB`")

    kind = "model-size"
    about = "The model artifact has at most this size."
    example = "{kind: model-size, at_most: 20 MB}"

    def sentence(self, policy: "Policy") -> str:  # noqa: ARG002
        """Return the rule in words."""
        return f"model at most {size(self.at_most)}"

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Compare the size that the lock records."""
        if inputs.model_bytes is None:
            return self.not_evaluated(policy, inputs.no_model or "the size of the model is not known")
        told = size(inputs.model_bytes)
        if inputs.model_bytes != self.at_most and told == size(self.at_most):
            told = count(inputs.model_bytes, "byte")
        headline = f"the model has {told}; at most {size(self.at_most)} is allowed"
        return self.outcome(policy, told, inputs.model_bytes <= self.at_most, headline=headline)


@dataclass(frozen=True)
class ModelGrowth(Gate):
    """The model artifact is at most ``at_most`` times as large as base's."""

    at_most: float = key(values.amount, "the largest ratio of head's size to base's")

    kind = "model-growth"
    about = "The model artifact is at most `at_most` times as large as base's."
    example = "{kind: model-growth, at_most: 1.5}"
    compares = True

    def sentence(self, policy: "Policy") -> str:  # noqa: ARG002
        """Return the rule in words."""
        return f"model at most {plain(self.at_most)} times as large as base's"

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Compare the sizes that the two locks record."""
        if inputs.model_bytes is None:
            return self.not_evaluated(policy, inputs.no_model or "the size of the model is not known")
        if not inputs.has_base or not inputs.base_model_bytes:
            reason = "base has no model of a known size" if inputs.has_base else NO_BASE
            return self.outcome(policy, size(inputs.model_bytes), passed=True, reason=reason)
        ratio = inputs.model_bytes / inputs.base_model_bytes
        told = f"{ratio:.3g} times as large: {size(inputs.model_bytes)}, base has {size(inputs.base_model_bytes)}"
        headline = f"the model is {told}; at most {plain(self.at_most)} times is allowed"
        return self.outcome(policy, told, ratio <= self.at_most, headline=headline)


@dataclass(frozen=True)
class TrainingTime(Gate):
    """A stage takes at most ``at_most`` times as long as base's did on the same machine."""

    stage: str = key(values.text, "the stage of dvc.yaml that trains")
    at_most: float = key(values.amount, "the largest ratio of head's seconds to base's")
    unshown: Literal["fail", "look"] = key(
        values.one_of("fail", "look"),
        "base's time is not known on the machine that ran head: `fail`, or `look` (a person looks)",
        "fail",
    )

    kind = "training-time"
    about = (
        "The stage takes at most `at_most` times as long as base's did. Times are compared on one machine only: base's "
        "is known where that machine ran it before. Seconds are the word of the run, so in a pull request they turn "
        "nothing green unless the policy says `unverified: allow`. A stage whose entry in dvc.lock is base's holds."
    )
    example = "{kind: training-time, stage: train, at_most: 2, unshown: look}"
    compares = True

    def sentence(self, policy: "Policy") -> str:  # noqa: ARG002
        """Return the rule in words."""
        return f"stage {self.stage} takes at most {plain(self.at_most)} times as long as base's"

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Compare the seconds that the run told."""
        if not inputs.has_base:
            return self.outcome(policy, "", passed=True, reason=NO_BASE)
        if self.stage in inputs.unchanged:
            return self.outcome(policy, "", passed=True, reason="the stage did not change")
        run = (
            next((one for one in inputs.execution.stages if one.name == self.stage), None) if inputs.execution else None
        )
        missing = ""
        if inputs.execution is None:
            missing = "nothing was run for this report"
        elif run is None or run.status != "ran":
            missing = f"stage {self.stage} did not run"
        elif not run.seconds_base:
            missing = "base was not run on this machine, so its time is not known"
        if missing or run is None or run.seconds_base is None:
            if self.unshown == "fail":
                return self.not_evaluated(policy, missing)
            headline = f"it is not known whether stage {self.stage} takes longer than before: {missing}"
            return self.outcome(policy, "", passed=True, reason=missing, look=True, headline=headline)
        ratio = run.seconds / run.seconds_base
        told = f"{ratio:.3g} times as long: {run.seconds:.1f} s, base took {run.seconds_base:.1f} s"
        headline = f"stage {self.stage} took {told}; at most {plain(self.at_most)} times is allowed"
        return self.outcome(policy, told, ratio <= self.at_most, headline=headline)


@dataclass(frozen=True)
class MetricsPresent(Gate):
    """Every metric of the policy is in head's files, as a finite number."""

    kind = "metrics-present"
    about = "Every metric of the policy is in head's files, as a finite number."
    example = "{kind: metrics-present}"

    def sentence(self, policy: "Policy") -> str:  # noqa: ARG002
        """Return the rule in words."""
        return "every metric of the policy is there"

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Count the metrics without a value."""
        metrics = inputs.metrics
        missing = [change for change in metrics if change.head is None]
        told = f"{len(metrics) - len(missing)} of {len(metrics)}"
        reasons = dict.fromkeys(change.note or f"{change.name} has no value" for change in missing)
        said = "; ".join(list(reasons)[:3])
        headline = f"{count(len(missing), 'metric')} without a value: {said}"
        return self.outcome(policy, told, not missing, said, headline=headline)


@dataclass(frozen=True)
class MetricsComplete(MetricsPresent):
    """The older name of :class:`MetricsPresent`."""

    kind = "metrics-complete"
    example = "{kind: metrics-complete}"
    replaced_by = "metrics-present"
