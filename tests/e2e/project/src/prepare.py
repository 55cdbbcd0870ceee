"""Scale the distance."""

import re
from pathlib import Path

scale = float(re.search(r"scale: (\S+)", Path("params.yaml").read_text())[1])
with Path("data/ready.csv").open("w") as out:
    for row in Path("data/raw.csv").read_text().splitlines():
        number, carrier, distance, late = row.split(",")
        out.write(f"{number},{carrier},{float(distance) * scale:.5f},{late}\n")
