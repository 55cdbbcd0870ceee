"""No distance may be negative."""

import json
from pathlib import Path

bad = [row for row in Path("data/raw.csv").read_text().splitlines() if float(row.split(",")[2]) < 0]
results = [
    {
        "rule": "distance is positive",
        "column": "distance",
        "severity": "critical",
        "success": not bad,
        "failures": len(bad),
        "examples": bad[:3],
    }
]
tables = [{"table": "flights", "expectations": 1, "results": results}]
Path("reports/validation.json").write_text(json.dumps({"tables": tables, "success": not bad}, indent=1))
