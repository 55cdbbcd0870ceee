"""The whole comment: the result, and around it what only the publishing half knows."""

import pytest
from tests.lockgate import samples

from lockgate.publishing.comment import Told, Written, text
from lockgate.publishing.measures import Measuring
from lockgate.rendering.markdown import LIMIT

MANY = tuple(f"folder/{'x' * 90}{number}.py" for number in range(400))


@pytest.mark.parametrize("sample", ["huge", "better_model"])
@pytest.mark.parametrize("patch", ["", "+ line of a lock\n" * 390, "p" * 300_000])
def test_a_comment_with_every_warning_is_no_longer_than_github_takes(sample: str, patch: str) -> None:
    result = samples.SAMPLES[sample]()
    assert result.base is not None
    told = Told(
        "a" * 40, "https://example.org/run", Measuring(MANY, MANY, MANY), withheld=MANY, unverified=MANY
    ).with_result(result, result.base, result.head)

    whole = text(told, Written(None, patch))

    assert len(whole.encode("utf-16-le")) // 2 <= LIMIT
    assert f"### {'❌' if sample == 'huge' else '✅'} flight-delay" in whole
    assert whole.count("[!WARNING]") >= 2
