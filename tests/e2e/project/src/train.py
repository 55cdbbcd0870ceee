"""A model is what it was trained with."""

import json
import re
from pathlib import Path

text = Path("params.yaml").read_text()
rows = len(Path("data/ready.csv").read_text().splitlines())
model = {key: float(re.search(rf"{key}: (\S+)", text)[1]) for key in ("noise", "seed")}
Path("models/model.json").write_text(json.dumps({**model, "rows": rows}))
