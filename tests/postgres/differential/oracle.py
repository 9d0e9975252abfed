"""What each bronze table must hold: the changes that the database wrote down, as Debezium tells them."""

import json
from dataclasses import dataclass

from tables import TOGETHER


@dataclass
class Image:
    """A row: the exact texts of its cells, and whether the change came by the stream."""

    texts: list
    streamed: bool


@dataclass
class Event:
    op: str
    before: Image | None
    after: Image | None
    # For each column: the source left the cell out, since its value is stored apart and was not changed.
    kept: list
    # Only the key of `before` is known; the other cells are null, or Debezium's own filling where they must not be.
    key_only: bool = False
    # The row is so wide that any of its cells may have been stored apart.
    wide: bool = False


def events(table, changes):
    """`changes` is what the database wrote down for this table, in order: (op, old, new, kept, together); op `r` is a row that
    the snapshot found."""
    made = []
    nothing = [False] * len(table.columns)
    for op, old, new, kept, together in changes:
        before = Image(old, True) if old else None
        after = Image(new, op != "r") if new else None
        # Where the whole row is its identity, the database writes every value again.
        kept = nothing if table.full or not kept else kept
        wide = together is not None and together > TOGETHER and not table.full
        if op in "ri":
            made.append(Event("r" if op == "r" else "c", None, after, nothing))
        elif op == "d":
            made.append(Event("d", before, None, nothing, key_only=not table.full))
        elif table.has_key and old[: table.key_width] != new[: table.key_width]:
            made.append(Event("d", before, None, nothing, key_only=not table.full))
            made.append(Event("c", None, after, kept, wide=wide))
        else:
            made.append(Event("u", before if table.full else None, after, kept, wide=wide))
    return made


def read_changes(lines):
    """By table, of the lines of `DUMP`."""
    changes = {}
    for line in lines:
        # COPY escapes the backslashes, of which JSON's own text has some, and nothing else that JSON has.
        number, op, old, new, kept, together = json.loads(line.replace("\\\\", "\\"))
        changes.setdefault(number, []).append((op, old, new, kept, together))
    return changes


# Not a plain select: psql leaves characters out that it takes for none, such as U+10FFFF.
DUMP = "copy (select json_build_array(tbl, op, old, new, kept, together) from oracle.changes order by n) to stdout;"

