"""What the proposing pull request says: each line and why, what the last changes would have got, what is open."""

from lockgate.adoption.history import WouldHave
from lockgate.adoption.proposal import Proposal
from lockgate.formatting import count
from lockgate.rendering.escape import code, shorten, text

TITLE = "Propose Lockgate for this repository"
TRAILER = "Proposed-by: lockgate init"
_OUTCOMES = {
    "passed": "✅ passed",
    "failed": "❌ failed",
    "attention": "⚠️ passed, with a look",
    "unknown": "cannot say",
}


def describe(proposal: Proposal, history: tuple[WouldHave, ...], *, pulls: bool, workflows: bool) -> str:
    """Return the description as Markdown."""
    parts = [_introduction(workflows=workflows), _lines(proposal)]
    if history:
        parts.append(_history(history, pulls=pulls))
    if proposal.open:
        parts.append("## Open\n\n" + "\n".join(f"- {text(one)}" for one in proposal.open))
    parts.append(_afterwards(workflows=workflows))
    return "\n\n".join(parts) + f"\n\n{TRAILER}\n"


def _introduction(*, workflows: bool) -> str:
    first = (
        "With this merged, each pull request re-runs the stages that it changes, and one comment says what changed, "
        "whether it is more than noise, and which gates hold."
        if workflows
        else "With this merged, `lockgate report` and `lockgate check` say what a change did, and whether it is noise."
    )
    return (
        f"{first}\n\nNothing is commented, committed or judged until it is merged (GitHub may run the check itself "
        "on this pull request). Change any line here, on this branch; close the pull request if you do not want it. "
        "`lockgate init --remove` takes it back later."
    )


def _lines(proposal: Proposal) -> str:
    grouped: dict[tuple[str, str], list[str]] = {}
    for line in proposal.lines:
        grouped.setdefault((line.file, line.why), []).append(line.says)
    rows = [
        f"| {code(file)} | {'<br>'.join(code(shorten(says, 160)) for says in several)} | {text(why)} |"
        for (file, why), several in grouped.items()
    ]
    return "## Each line, and why\n\n| file | line | why |\n|---|---|---|\n" + "\n".join(rows)


def _history(history: tuple[WouldHave, ...], *, pulls: bool) -> str:
    what = "merged pull requests" if pulls else "changes of the pipeline"
    rows = [
        f"| {text(shorten(one.merged.title, 80))} | {code(one.merged.commit[:10])} | {_OUTCOMES[one.outcome]} "
        f"| {text(shorten(one.reason, 200))} |"
        for one in history
    ]
    return (
        f"## What the last {count(len(history), what.removesuffix('s'), what)} would have got\n\n"
        "From what their commits recorded, nothing was run.\n\n"
        "| change | commit | verdict | why |\n|---|---|---|---|\n" + "\n".join(rows)
    )


def _afterwards(*, workflows: bool) -> str:
    if not workflows:
        return "## Afterwards\n\n`lockgate doctor` says what else is missing."
    return (
        "## Afterwards\n\n"
        "1. Merge, and open a pull request that changes a parameter: the comment comes by itself.\n"
        "2. `lockgate doctor` tests the way from end to end and says what is missing, with the command that mends it: "
        "where the store is, who may write to it, which status to require.\n"
        "3. `lockgate setup-git` in each clone lets git merge `dvc.lock` without conflicts."
    )
