"""A model is what it was trained with."""

import json
import re

text = open("params.yaml").read()
rows = sum(1 for _ in open("data/ready.csv"))
model = {key: float(re.search(rf"{key}: (\S+)", text)[1]) for key in ("noise", "seed")}
json.dump({**model, "rows": rows}, open("models/model.json", "w"))
