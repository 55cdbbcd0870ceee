"""Is a model that was trained anew worth a pull request?"""

from typing import Literal

from lockgate.policy import Policy
from lockgate.retraining.champion import Duel
from lockgate.retraining.train import Trained

Outcome = Literal["proposed", "nothing new", "not better", "not there yet"]


def verdict(policy: Policy, trained: Trained, duel: Duel | None) -> tuple[Outcome, str]:
    """Say whether there is something to propose, and why."""
    asked = policy.retrain
    assert asked is not None  # noqa: S101 - there is no retraining without
    moves = ", ".join(f"{one.key} {one.before} → {one.after}" for one in trained.moves)
    if trained.same:
        return "nothing new", f"with {moves} every output has the bytes that it had"
    metric = asked.metric or policy.metrics[0].name
    if duel is None or asked.open == "always":
        return "proposed", f"{moves}: trained anew"
    try:
        change = duel.change(metric)
    except KeyError:
        return "proposed", f"{moves}: trained anew; {metric} cannot be computed for {duel.champion}"
    words = {"better": "is better than", "worse": "is worse than", "noise": "is not shown to differ from"}
    said = f"the model of {moves} {words.get(change.judgement, 'could not be judged against')} {duel.champion}"
    if change.low is not None and change.high is not None and change.change is not None:
        said += f" in {metric}: {change.change:+.4g}, 95 % interval {change.low:+.4g} to {change.high:+.4g}"
    wanted = ("better",) if asked.open == "better" else ("better", "noise", "unjudged")
    return ("proposed" if change.judgement in wanted else "not better"), said


def environment_of(policy: Policy) -> str | None:
    """Return the environment whose release is the champion: the policy's own word, else its last environment."""
    asked = policy.retrain
    if asked is not None and asked.environment is not None:
        return asked.environment
    return policy.environments[-1].name if policy.environments else None
