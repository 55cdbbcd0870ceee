"""Where the stages leave their outputs, relative to the repository's root: the same names as in ``dvc.yaml``."""

from pathlib import Path

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
MODEL = Path("models/flight-delay.skops")
COUNTS = Path("models/baselines.json")
LOGISTIC = Path("models/logistic-regression.json")
REPORTS = Path("reports")
