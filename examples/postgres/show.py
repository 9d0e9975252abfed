"""Prints the bronze table. usage: show.py TABLE [COLUMN...]"""

import sys

import polars

table = polars.read_delta(sys.argv[1])
columns = sys.argv[2:] or ["_op", "_event_time", "before_id", "after_id", "after_status", "after_total", "_unchanged"]
with polars.Config(tbl_rows=40, tbl_cols=len(columns), tbl_width_chars=160, fmt_str_lengths=24):
    print(table.sort("_partition", "_offset").select(columns))
counts = table.group_by("_op").len().sort("_op")
print(f"{table.height} changes:", ", ".join(f"{n} {op}" for op, n in counts.iter_rows()))
