"""Reads a table of the benchmark with delta-rs and polars, whoever wrote it. Run by bench/spark.sh.

usage: table.py sums TABLE         rows and the sum of `gross`, as one JSON object
       table.py latency TABLE [S]  `_kafka_time` of each row to the moment when its commit was in place (the log entry's time),
                                   without the rows of the first S seconds (10): p50, p99, max in milliseconds
"""

import json
import pathlib
import sys

import polars


def sums(table):
    rows = polars.scan_delta(table).select(polars.len().alias("rows"), polars.col("gross").sum().round(2)).collect()
    return rows.to_dicts()[0]


def latency(table, skipped_s=10):
    found = []
    for entry in sorted(pathlib.Path(table, "_delta_log").glob("*.json")):
        written_ms = entry.stat().st_mtime_ns // 1_000_000
        for action in map(json.loads, entry.read_text().splitlines()):
            if "add" in action:
                times = polars.read_parquet(f"{table}/{action['add']['path']}", columns=["_kafka_time"])["_kafka_time"]
                times = times.dt.timestamp("ms")
                found.append(polars.DataFrame({"at": times, "took": written_ms - times}))
    all_rows = polars.concat(found)
    steady = all_rows.filter(polars.col("at") >= all_rows["at"].min() + skipped_s * 1000)["took"]
    at = lambda quantile: int(steady.quantile(quantile, "nearest"))
    return {"rows": len(steady), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": steady.max(), "commits": len(found)}


def main():
    verb, table, *rest = sys.argv[1:]
    print(json.dumps(sums(table) if verb == "sums" else latency(table, *map(int, rest))))


main()
