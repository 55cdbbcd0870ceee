"""What came out, for the person who just ran the pipeline: every figure beside the baselines, and where to look next.

Not a stage: it reads ``reports/metrics.json`` and prints. ``make run`` ends with it.
"""

import json
import sys

from flight_delay.errors import StageError, run_stage
from flight_delay.metrics import FIGURES
from flight_delay.paths import MODEL, REPORTS

NEXT = f"""
the model      {MODEL}
figures        {REPORTS}/metrics.json, {REPORTS}/slices.json; `dvc plots show` draws the curves
what changed   `lockgate report --format html --output report.html`
next           change a number in params.yaml, then `make run`; or `dvc exp run -S train.learning_rate=0.2`
"""


def table(metrics: dict[str, dict[str, float | None]]) -> str:
    """Return the figures as an aligned table: a row a figure, the model and its baselines in columns."""
    names = list(metrics[FIGURES[0]])
    names.sort(key=lambda name: name != "model")
    head = [f"{'':18}", *(f"{name.replace('_', ' '):>24}" for name in names)]
    rows = [[f"{key.replace('_', ' '):18}", *(_cell(metrics[key][name]) for name in names)] for key in FIGURES]
    return "\n".join("".join(row) for row in [head, *rows])


def _cell(value: float | None) -> str:
    return f"{'not defined' if value is None else f'{value:.4f}':>24}"


def main() -> None:
    """Print the table and where to look next."""
    path = REPORTS / "metrics.json"
    if not path.exists():
        raise StageError(f"{path}: there is no such file. `make run` makes it.")
    metrics = json.loads(path.read_text(encoding="utf-8"))
    rows = metrics["rows"]
    trained, tested = f"{rows['train']:,}", f"{rows['test']:,}"
    sys.stdout.write(f"\ntrained on {trained} flights, judged on {tested} later ones:\n\n{table(metrics)}\n{NEXT}")


if __name__ == "__main__":
    sys.exit(run_stage(main))
