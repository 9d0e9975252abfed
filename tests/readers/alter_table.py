"""Makes a Delta table the way another writer does: with the columns of an existing one, without rows, and some columns of another type.

alter_table.py TABLE LIKE [COLUMN=TYPE...]: TYPE is one of pyarrow's, such as string or int32.
"""

import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

table, like, *changes = sys.argv[1:]
changed = dict(change.split("=") for change in changes)
schema = pa.schema(DeltaTable(like).schema().to_arrow())
unknown = set(changed) - set(schema.names)
assert not unknown, f"no such columns: {unknown}"
fields = [pa.field(f.name, pa.type_for_alias(changed[f.name]) if f.name in changed else f.type, f.nullable) for f in schema]
write_deltalake(table, pa.Table.from_batches([], pa.schema(fields)), mode="overwrite", schema_mode="overwrite")
