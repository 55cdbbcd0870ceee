"""No distance may be negative."""

import json

bad = [row for row in open("data/raw.csv") if "," in row and float(row.split(",")[2]) < 0]
results = [
    {
        "rule": "distance is positive",
        "column": "distance",
        "severity": "critical",
        "success": not bad,
        "failures": len(bad),
        "examples": [row.strip() for row in bad[:3]],
    }
]
tables = [{"table": "flights", "expectations": 1, "results": results}]
json.dump({"tables": tables, "success": not bad}, open("reports/validation.json", "w"), indent=1)
