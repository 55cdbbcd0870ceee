"""A model is how much noise it sees the truth through."""

import json
from pathlib import Path

import yaml

train = yaml.safe_load(Path("params.yaml").read_text())["train"]
Path("models").mkdir(exist_ok=True)
Path("models/model.json").write_text(json.dumps(train))
