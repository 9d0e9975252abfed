"""Reads a Delta table with three readers and says whether they see the same.

usage: read_table.py TABLE [--rows FILE]

Prints one JSON object: `rows`, `version`, `types` (column -> type), `columns` (column -> checksum), `table` (a checksum
of whole rows) as delta-rs sees them, and `differences`, a list of sentences about what polars or DuckDB see otherwise.
Checksums do not depend on the order of rows. `--rows` writes the rows as JSON lines: timestamps as microseconds, dates
as days, decimals as text, binary as hex, and floats as text in a column that has one that is not finite.
"""

import argparse
import hashlib
import json

import deltalake
import duckdb
import duckdb_extensions
import polars
import pyarrow as pa
import pyarrow.compute as pc


def by_delta_rs(path):
    return deltalake.DeltaTable(path).to_pyarrow_table()


def by_polars(path):
    return polars.scan_delta(path).collect().to_arrow()


def by_duckdb(path):
    connection = duckdb.connect()
    duckdb_extensions.import_extension("delta", con=connection)
    connection.execute("load delta; set timezone = 'UTC'")
    return connection.execute("select * from delta_scan(?)", [str(path)]).to_arrow_table()


def plain(column):
    """The column in the one type that all readers can be brought to, and that type's name."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_timestamp(kind):
        zone = "timestamp" if kind.tz else "timestamp without zone"
        return column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64()), zone
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).cast(pa.int32()), "date"
    if pa.types.is_decimal(kind):
        return column.cast(pa.large_string()), f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_floating(kind) and not pc.all(pc.is_finite(column)).as_py() and column.null_count < len(column):
        # JSON has no NaN and no infinity: such a column is text.
        return column.cast(pa.large_string()), str(kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return column, str(kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.large_string()), "text"
    if pa.types.is_null(kind):
        return column.cast(pa.large_string()), "text"
    cells = [None if cell is None else bytes(cell).hex() for cell in column.to_pylist()]
    return pa.array(cells, pa.large_string()), "binary"


def checksum(texts):
    digest = hashlib.sha256()
    for chunk in texts.take(pc.sort_indices(texts)).cast(pa.large_binary()).to_pylist():
        digest.update(b"\x01null" if chunk is None else b"\x02" + chunk)
        digest.update(b"\x1e")
    return digest.hexdigest()[:16]


def look(table):
    """Counts, types and checksums of an Arrow table, and the table in plain types."""
    names = sorted(table.column_names)
    columns = {name: plain(table.column(name)) for name in names}
    texts = {name: cells.cast(pa.large_string()) for name, (cells, _) in columns.items()}
    # A null must not look like a text: every value gets a mark, and null is replaced by another one.
    mark, null, nothing, between = (pa.scalar(text, pa.large_string()) for text in ("=", "-", "", "\x1f"))
    marked = [pc.fill_null(pc.binary_join_element_wise(mark, text, nothing), null) for text in texts.values()]
    rows = pc.binary_join_element_wise(*marked, between)
    seen = {
        "rows": table.num_rows,
        "types": {name: kind for name, (_, kind) in columns.items()},
        "columns": {name: checksum(text) for name, text in texts.items()},
        "table": checksum(rows),
    }
    return seen, pa.table({name: cells for name, (cells, _) in columns.items()})


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("table")
    arguments.add_argument("--rows")
    arguments = arguments.parse_args()

    seen, cells = look(by_delta_rs(arguments.table))
    differences = []
    for reader, read in [("polars", by_polars), ("DuckDB", by_duckdb)]:
        other, _ = look(read(arguments.table))
        for what in ("rows", "types", "columns", "table"):
            if other[what] != seen[what]:
                differences.append(f"{what}: delta-rs sees {seen[what]}, {reader} sees {other[what]}")
    if arguments.rows:
        polars.from_arrow(cells).write_ndjson(arguments.rows)
    version = deltalake.DeltaTable(arguments.table).version()
    print(json.dumps({**seen, "version": version, "differences": differences}))


main()
