"""The months asked for, one after the other."""

import re

months = int(re.search(r"months: (\d+)", open("params.yaml").read())[1])
with open("data/raw.csv", "w") as out:
    for month in range(1, months + 1):
        out.write(open(f"source/{month:02}.csv").read())
