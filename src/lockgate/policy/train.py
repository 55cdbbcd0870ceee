"""``train``: how the luck of training is told from a change."""

from dataclasses import dataclass
from typing import Any

from lockgate import policy_values as values
from lockgate.policy_values import Key, PolicyError


@dataclass(frozen=True, slots=True)
class Training:
    """How the luck of training is told from a change: the parameter that is the ``seed``, and how often a pull request
    repeats base's and head's training under other seeds (0: never)."""

    seed: str
    repeats: int = 0


@values.takes({"type": "integer", "minimum": 2})
def _repeats(place: str, value: Any) -> int:
    number = values.count(place, value)
    if number < 2:
        raise PolicyError(place, "must be 2 or more: one repeat shows no spread", value)
    return number


KEYS = {
    "seed": Key(values.text, help="the parameter that is the seed, such as train.seed"),
    "repeats": Key(_repeats, False, "how often a pull request repeats the training of base and of head"),
}

SECTION = Key(values.noun(Training, KEYS), False, "how the luck of training is told from a change")
OLDER = Key(values.text, False, "the older spelling of `train: {seed: …}`")


def with_older_seed(read: dict[str, Any]) -> dict[str, Any]:
    """Take the older key ``seed`` for ``train: {seed: …}``."""
    if "seed" not in read:
        return read
    seed = read.pop("seed")
    if "train" in read:
        raise PolicyError("seed", "stands in `train:` as well: leave the older of the two out", seed)
    return {**read, "train": Training(seed)}
