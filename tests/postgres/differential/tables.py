"""Random tables and what happens to them, as SQL, from a seed. The database itself writes down every change, cell by cell,
in the table oracle.changes, which is unlogged, so that no connector sees it."""

import random
from dataclasses import dataclass, field

import kinds
from values import quoted

# Debezium 3.3 writes names with other letters than those of ASCII, or with backticks, in the stream otherwise than in the snapshot
# (each byte of UTF-8 as a character of its own; without the backticks), and Delta has no names with ` ,;{}()=`.
NAMES = ["UPPER", "CamelCase", "select", "order", "a.b", "a-b", 'quo"te', "it's", "back\\slash", "50%", "$1", "@x", "#", "x" * 57, "ts_ms", "op", "before",
         "after", "source", "schema", "payload", "status", "aggregate_type", "type", "ddl", "__deleted", "__op", "_offset", "_op", "key", "value", "null",
         "true", "1st", "[0]", "a/b", "a:b", "<b>", "&", "?", "*", "~", "^", "|", "transaction", "__debezium_unavailable_value", "event_count",
         "data_collections", "after_", "before_x", "id", "message", "!", "'", '"', "\\", "%25", "+", "..", "/", "-", "_unchanged"]
# Debezium 3.3 cannot select from a table whose name has a quotation mark.
TABLE_NAMES = [name for name in NAMES if '"' not in name]

# From so many bytes on a value of a column with storage `external` is stored apart, whatever else the row has; and a row
# whose other values have no more than that keeps all of them.
APART, TOGETHER = 2_100, 1_900


def identifier(name):
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Column:
    name: str
    kind: kinds.Kind
    required: bool = False
    # Has values that are stored apart.
    large: bool = False


@dataclass
class Table:
    number: int
    name: str
    # Which of the settings of a connector; the schema's name is made of it.
    setting: int
    columns: list
    # How many of the first columns are the key; the table may lack a primary key nevertheless.
    key_width: int
    has_key: bool
    full: bool
    left_out: list = field(default_factory=list)

    @property
    def schema(self):
        return f"m{self.setting}"

    @property
    def path(self):
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    @property
    def keys(self):
        return self.columns[: self.key_width]


KEYS = {
    "integer": lambda n: str(n),
    "bigint": lambda n: str(n + 2**40),
    "text": lambda n: quoted(f"kéy '{n}'"),
    "uuid": lambda n: quoted("%032x" % (n * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)) + "::uuid",
    "numeric(10,2)": lambda n: f"{n}.50",
    "timestamptz": lambda n: f"(timestamptz '2026-01-01 00:00:00+00' + {n} * interval '1 second')",
}


def generate(seed, count, settings):
    """`count` tables; every kind of column comes once before one comes again."""
    r = random.Random(seed)
    every = kinds.all_kinds()
    by_name = {kind.name: kind for kind in every}
    deck, tables = [], []
    for number in range(count):
        names, taken = [], set()
        for name in r.sample(NAMES, len(NAMES)):
            if name.lower() not in taken:
                taken.add(name.lower())
                names.append(name)
        keys = r.choice([["bigint"], ["integer"], ["text"], ["uuid"], ["integer", "text"], ["numeric(10,2)"], ["timestamptz", "integer"]])
        columns = [Column(names.pop(), by_name[kind], required=True) for kind in keys]
        for _ in range(r.randint(1, 12)):
            if not deck:
                deck = r.sample(every, len(every))
            kind = deck.pop()
            large = kind.large is not None and r.random() < 0.5
            columns.append(Column(names.pop(), kind, required=not large and r.random() < 0.1, large=large))
        has_key = r.random() < 0.85
        left_out = [(names.pop(), sql) for sql in r.sample(kinds.LEFT_OUT, r.choice([0, 0, 1]))]
        name = f"t{number}_{r.choice(TABLE_NAMES)}"[:40]
        tables.append(Table(number, name, number % len(settings), columns, len(keys), has_key, not has_key or r.random() < 0.3, left_out))
    return tables


PRELUDE = """
\\set QUIET on
set client_min_messages = warning;
set oracle.touched = '';
create schema oracle;
create unlogged table oracle.changes (n bigserial, tbl integer, op text, old text[], new text[], kept boolean[], together integer);
-- As many characters as asked for, which no compression shortens to less than a half, the same each time.
create function large(seed integer, size integer) returns text language sql immutable as
  $$ select left(string_agg(md5(i::text || '/' || seed::text), ''), size) from generate_series(1, size / 32 + 1) i $$;
"""


def readings(table, row):
    return [column.kind.read.replace("{c}", f"{row}{identifier(column.name)}") for column in table.columns]


def definition(table):
    """The table, and the trigger that writes down what happens to it."""
    lines = [f"  {identifier(c.name)} {c.kind.sql}{' not null' if c.required else ''}" for c in table.columns]
    lines += [f"  {identifier(name)} {sql}" for name, sql in table.left_out]
    if table.has_key:
        lines.append(f"  primary key ({', '.join(identifier(c.name) for c in table.keys)})")
    sql = [f"create table {table.path} (\n" + ",\n".join(lines) + "\n);"]
    for column in table.columns:
        if column.large:
            sql.append(f"alter table {table.path} alter column {identifier(column.name)} set storage external;")
    if table.full:
        sql.append(f"alter table {table.path} replica identity full;")
    old, new = readings(table, "old."), readings(table, "new.")
    untouched = "position('," + "{n}" + ",' in current_setting('oracle.touched')) = 0"
    kept = [f"pg_column_size(old.{identifier(c.name)}) > {APART} and {untouched.format(n=n)}" if c.large else "false"
            for n, c in enumerate(table.columns)]
    sizes = [f"case when pg_column_size(new.{identifier(c.name)}) <= {APART} then pg_column_size(new.{identifier(c.name)}) else 20 end" for c in table.columns]
    together = " + ".join(f"coalesce({size}, 0)" for size in sizes)
    sql.append(f"""create function oracle.t{table.number}() returns trigger language plpgsql as $trigger$ begin
  insert into oracle.changes (tbl, op, old, new, kept, together) values ({table.number}, lower(left(tg_op, 1)),
    case when tg_op <> 'INSERT' then array[{", ".join(old)}] end,
    case when tg_op <> 'DELETE' then array[{", ".join(new)}] end,
    case when tg_op = 'UPDATE' then array[{", ".join(kept)}] end,
    case when tg_op <> 'DELETE' then {together} end);
  return null;
end $trigger$;
create trigger oracle after insert or update or delete on {table.path} for each row execute function oracle.t{table.number}();""")
    return "\n".join(sql)


def snapshot(table):
    """What a snapshot of now finds, in the order of a scan."""
    return (f"insert into oracle.changes (tbl, op, new) select {table.number}, 'r', array[{', '.join(readings(table, ''))}] "
            f"from {table.path} order by ctid;")


class Writer:
    """Statements on one table; knows which of its rows live."""

    def __init__(self, table, seed, modes):
        self.table, self.modes = table, modes
        self.r = random.Random(f"{seed}/{table.number}")
        self.live, self.next = [], 1

    def value(self, column, streamed):
        r, kind = self.r, column.kind
        if not column.required and r.random() < 0.15:
            return "null"
        if column.large and r.random() < 0.6:
            return kind.large(r, r.choice([8_000, 8_000, 20_000, 100_000]))
        return kind.values(r, self.modes, streamed)

    def key(self, number):
        return [KEYS[column.kind.name](number) for column in self.table.keys]

    def where(self, number):
        return " and ".join(f"{identifier(c.name)} = {v}" for c, v in zip(self.table.keys, self.key(number)))

    def insert(self, streamed):
        table = self.table
        number, self.next = self.next, self.next + 1
        self.live.append(number)
        rest = [self.value(column, streamed) for column in table.columns[table.key_width:]]
        names = ", ".join(identifier(c.name) for c in table.columns)
        return f"insert into {table.path} ({names}) values ({', '.join(self.key(number) + rest)});"

    def change(self, streamed):
        r, table = self.r, self.table
        choice, touched = r.random(), []
        if not self.live or choice < 0.3:
            return self.insert(streamed)
        number = r.choice(self.live)
        if choice < 0.42:
            self.live.remove(number)
            return f"delete from {table.path} where {self.where(number)};"
        if choice < 0.52:
            new, self.next = self.next, self.next + 1
            self.live.remove(number)
            self.live.append(new)
            sets = [f"{identifier(c.name)} = {v}" for c, v in zip(table.keys, self.key(new))]
        elif choice < 0.6:
            sets = [f"{identifier(table.columns[-1].name)} = {identifier(table.columns[-1].name)}"]
        else:
            touched = r.sample(range(table.key_width, len(table.columns)), r.randint(1, len(table.columns) - table.key_width))
            sets = [f"{identifier(table.columns[n].name)} = {self.value(table.columns[n], streamed)}" for n in touched]
        # Which columns get a value of their own; a column that is set to itself keeps what is stored.
        return f"set oracle.touched = ',{','.join(map(str, touched))},';\nupdate {table.path} set {', '.join(sets)} where {self.where(number)};"


def script(writers, rounds, streamed, seed):
    """Changes of all tables between each other, some in transactions of several."""
    r = random.Random(f"{seed}/{streamed}")
    lines, left = [], 0
    for _ in range(rounds):
        for writer in r.sample(writers, len(writers)):
            if left == 0 and r.random() < 0.2:
                left = r.randint(2, 12)
                lines.append("begin;")
            lines.append(writer.change(streamed) if streamed else writer.insert(streamed))
            if left > 0:
                left -= 1
                if left == 0:
                    lines.append("commit;")
    if left > 0:
        lines.append("commit;")
    return "\n".join(lines)
