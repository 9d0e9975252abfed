"""Compares a bronze table, as DuckDB reads it, with what the oracle expects, cell by cell."""

import json
from dataclasses import dataclass

import duckdb
import duckdb_extensions

from cells import columns_of, same, same_shown
from kinds import Change


@dataclass(frozen=True)
class Difference:
    """What is wrong, and where: `kind` is the column's type, or `table` if the rows as such are wrong."""

    kind: str
    variant: str
    what: str
    table: int
    expected: str
    found: str

    def line(self):
        return f"t{self.table} {self.variant} {self.kind}: {self.what}: expected {self.expected}, found {self.found}"


def shortened(value, most=160):
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text)})"


class Reader:
    def __init__(self):
        self.connection = duckdb.connect()
        duckdb_extensions.import_extension("delta", con=self.connection)
        self.connection.execute("load delta; set timezone = 'UTC'")

    def read(self, path):
        """Columns by name, in the order of the records' offsets."""
        found = columns_of(self.connection.execute("select * from delta_scan(?)", [str(path)]).to_arrow_table())
        order = sorted(range(len(found["_offset"])), key=found["_offset"].__getitem__)
        return {name: [cells[n] for n in order] for name, cells in found.items()}


def judge(table, modes, variant, events, path, reader):
    """`variant` is inline (types from the schema part), declared, or infer."""
    differences = []

    def differs(kind, what, expected, found):
        differences.append(Difference(kind, variant, what, table.number, shortened(expected), shortened(found)))

    found = reader.read(path)
    ops, wanted = found["_op"], [event.op for event in events]
    if ops != wanted:
        differs("table", "rows", "".join(wanted), "".join(ops))
        return differences, 0
    names = {f"{image}_{column.name}" for image in ("before", "after") for column in table.columns}
    for name in found.keys() - names - {"_op", "_offset", "_unchanged", "_operation", "_cdc_timestamp", "_processed_at"}:
        differs("table", "a column", "none", name)

    unchanged = [set(json.loads(text)) if text else set() for text in found["_unchanged"]]
    compared = 0
    for number, column in enumerate(table.columns):
        kind = column.kind
        compare, convert = (same_shown, kind.wire) if variant == "infer" else (same, kind.cell)
        if variant == "declared":
            convert = kind.declared_cell or kind.cell
        for image_name in ("before", "after"):
            name = f"{image_name}_{column.name}"
            # A column that never shows a value need not be there.
            cells = found.get(name, [None] * len(events))
            for row, event in enumerate(events):
                image = event.before if image_name == "before" else event.after
                cell, marked = cells[row], name in unchanged[row]
                where = f"{image_name} of row {row} ({event.op})"
                compared += 1
                if image is None or image.texts[number] is None:
                    if cell is not None or marked:
                        differs(kind.name, where, None, cell)
                    continue
                if image_name == "before" and event.key_only and number >= table.key_width:
                    # Debezium fills what must not be null with a value of its own.
                    if not column.required and (cell is not None or marked):
                        differs(kind.name, where + ", of which only the key is known", None, cell)
                    continue
                expected = convert(image.texts[number], Change(modes, image.streamed))
                if image_name == "after" and event.kept[number]:
                    if cell is not None or marked != kind.marked(modes):
                        how = "unchanged" if kind.marked(modes) else "null"
                        differs(kind.name, where + ", left out by the source", how, "unchanged" if marked else cell)
                elif event.wide and cell is None and marked:
                    pass
                elif marked or not compare(expected, cell):
                    differs(kind.name, where, expected, "unchanged" if marked else cell)
    return differences, compared
