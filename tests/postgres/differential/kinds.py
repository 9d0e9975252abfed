"""Every type that Debezium 3.3 takes from PostgreSQL: how a column of it is declared, what is put into it, how the database
is asked for its exact value, what JSON Debezium writes for that in which mode, and what the bronze table must then hold.

What Debezium itself loses is told here, where it does, as seen on a real server; it is applied to what is expected, or such
values are not made: `name`, bit[] and arrays of more than one dimension arrive as null, time[] without microseconds, dates
before Christ within arrays and in snapshots as dates after, timestamps before 1583 in snapshots in the Julian calendar, money
through a double in snapshots, an array of ltree, tsvector or an enum with a null element as null.
"""

import base64
import json
import struct
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Callable

import values as v
from cells import DAY_US, Date, Json, Real, Time, Timestamp, clamp_days, clamp_us, iso_time, java_instant

# There are numerics of 131,072 digits before the point.
sys.set_int_max_str_digits(0)

# As it is printed: a cast to text takes spaces away from char(n), and puts a mask on inet.
PRINTED = "case when {c} is not null then format('%s', {c}) end"

# What Debezium 3.3 writes for a date's infinities: in a snapshot, and in the stream.
DATE_INFINITIES = {("infinity", False): -622_191_234, ("-infinity", False): -625_821_272,
                   ("infinity", True): -2_147_472_692, ("-infinity", True): -2_147_472_691}
INFINITIES_US = {"infinity": 9_223_372_036_825_200_000, "-infinity": -9_223_372_036_832_400_000}


@dataclass(frozen=True)
class Modes:
    """Settings of a connector, by the names of Debezium's options."""

    decimal: str
    time: str
    binary: str
    interval: str
    hstore: str

    def options(self):
        return {
            "decimal.handling.mode": self.decimal,
            "time.precision.mode": self.time,
            "binary.handling.mode": self.binary,
            "interval.handling.mode": self.interval,
            "hstore.handling.mode": self.hstore,
        }


@dataclass(frozen=True)
class Change:
    """Where a value is seen: the connector's modes, and whether in the stream or in the snapshot."""

    modes: Modes
    streamed: bool


@dataclass(frozen=True)
class Kind:
    name: str
    # The SQL type.
    sql: str
    # (random numbers, Modes, streamed) -> an SQL expression.
    values: Callable
    # (text, Change) -> the JSON value that Debezium writes.
    wire: Callable
    # (text, Change) -> the cell of a column whose type the schema part gives.
    cell: Callable
    # SQL of the exact value as text; {c} is the column.
    read: str = "{c}::text"
    # What declares the column where there is no schema part: Modes -> (type, more keys).
    declared: Callable = lambda modes: ("text", {})
    # (text, Change) -> the cell of the column so declared, where that is not `cell`.
    declared_cell: Callable | None = None
    # What Debezium writes for an unchanged value that is stored apart: Modes -> whether it is marked; else it is null.
    marked: Callable = lambda modes: True
    # (random numbers, number of bytes) -> an SQL expression of a value that is stored apart.
    large: Callable | None = None
    # Whether an array of it is taken, and the values that survive in one.
    in_array: Callable | None = None
    # Whether an array with a null element survives; else it is null as a whole.
    array_nulls: bool = True
    # In arrays, Debezium marks an unchanged value that is stored apart.
    array_marked: Callable = lambda modes: False


def text_kind(name, sql, values, **more):
    return Kind(name, sql, values, lambda t, at: t, lambda t, at: t, **{"in_array": values, **more})


def int_kind(name, sql, low, high, declared, **more):
    values = v.integers(low, high)
    number = lambda t, at: int(t)
    return Kind(name, sql, values, number, number, declared=lambda modes: (declared, {}), in_array=values, **more)


# ---- numbers


def two_complement(number):
    length = (number + (number < 0)).bit_length() // 8 + 1
    return base64.b64encode(number.to_bytes(length, "big", signed=True)).decode()


def unscaled(text, scale):
    sign, digits, exponent = Decimal(text).as_tuple()
    number = int("".join(map(str, digits))) * (-1 if sign else 1)
    shift = scale + exponent
    assert shift >= 0 or number % 10**-shift == 0, (text, scale)
    return number * 10**shift if shift >= 0 else number // 10**-shift


def decimal_kind(name, sql, precision, scale, **more):
    """numeric(p,s). Debezium 3.3 gives a negative scale as the eleven bits that PostgreSQL keeps it in: -2 is 2046."""
    shown_scale = scale % 2048

    def wire(t, at):
        if at.modes.decimal == "double":
            return float(t)
        if at.modes.decimal == "string":
            return t.upper() if t == "NaN" or scale >= 0 else t + "." + "0" * shown_scale
        return two_complement(unscaled(t, shown_scale))

    def cell(t, at):
        if at.modes.decimal == "double":
            return float(t)
        # As text it keeps its digits, and NaN its name.
        return wire(t, at) if at.modes.decimal == "string" and scale >= 0 else Decimal(t)

    fits = precision <= 38 and 0 <= scale <= precision

    def declared(modes):
        if modes.decimal == "double":
            return "float64", {}
        if modes.decimal == "string":
            # NaN is no decimal.
            return (f"decimal({precision},{scale})", {"form": "text"}) if fits and not has_nan else ("text", {})
        return (f"decimal({precision},{scale})", {"form": "base64"}) if fits else ("text", {})

    def declared_cell(t, at):
        if at.modes.decimal == "string":
            return Decimal(t) if fits and not has_nan else wire(t, at)
        return cell(t, at) if fits or at.modes.decimal == "double" else wire(t, at)

    has_nan = precision != 38
    values = v.decimals(precision, scale)
    values = values if has_nan else v.without_nan(values)
    return Kind(name, sql, values, wire, cell, declared=declared, declared_cell=declared_cell, marked=lambda modes: modes.decimal == "string",
                in_array=None if scale < 0 else v.without_nan(values), **more)


def free_decimal():
    def wire(t, at):
        if at.modes.decimal == "double":
            return float(t)
        if at.modes.decimal == "string":
            return t.upper()
        # Debezium takes zeros at the end away.
        _, digits, exponent = Decimal(t).as_tuple()
        number = "".join(map(str, digits))
        scale = -exponent - len(number) + len(number.rstrip("0")) if Decimal(t) else 0
        return {"scale": max(scale, 0), "value": two_complement(unscaled(t, max(scale, 0)))}

    def cell(t, at):
        if at.modes.decimal == "double":
            return float(t)
        return t.upper() if at.modes.decimal == "string" else Decimal(t)

    def declared(modes):
        return {"double": ("float64", {}), "string": ("text", {}), "precise": ("json", {})}[modes.decimal]

    def declared_cell(t, at):
        return Json(wire(t, at)) if at.modes.decimal == "precise" else cell(t, at)

    return Kind("numeric", "numeric", v.free_decimals, wire, cell, declared=declared, declared_cell=declared_cell,
                marked=lambda modes: modes.decimal == "string", large=v.large_decimal, in_array=v.without_nan(v.free_decimals))


def money():
    def wire(t, at):
        if at.modes.decimal == "double":
            return float(t)
        return t if at.modes.decimal == "string" else two_complement(unscaled(t, 2))

    def cell(t, at):
        if at.modes.decimal == "double":
            return float(t)
        return t if at.modes.decimal == "string" else Decimal(t)

    declared = {"double": ("float64", {}), "string": ("decimal(38,2)", {"form": "text"}), "precise": ("decimal(38,2)", {"form": "base64"})}
    return Kind("money", "money", v.money, wire, cell, read="{c}::numeric::text", declared=lambda modes: declared[modes.decimal],
                declared_cell=lambda t, at: float(t) if at.modes.decimal == "double" else Decimal(t))


def double(t, at):
    return float(t)


def real(t, at):
    return Real(t)


# ---- dates and times


def date_days(t, at):
    return DATE_INFINITIES[t, at.streamed] if "infinity" in t else int(t)


def date_cell(t, at):
    days = {"infinity": 2**40, "-infinity": -(2**40)}.get(t)
    return clamp_days(int(t) if days is None else days)


DATE_SQL = "case when isfinite({c}) then ({c} - date '1970-01-01')::text else {c}::text end"
MICROS_SQL = "(extract(epoch from {c}) * 1000000)::numeric(40,0)::text"
TIMESTAMP_SQL = "case when isfinite({c}) then " + MICROS_SQL + " else {c}::text end"


def in_millis(digits, modes):
    """Whether a time or timestamp of so many digits of the second is written in milliseconds."""
    return modes.time == "connect" or digits <= 3


def timestamp_wire(digits):
    def wire(t, at):
        us = INFINITIES_US[t] if "infinity" in t else int(t)
        if in_millis(digits, at.modes):
            return us // 1000
        # After the year 292,277 the seconds are more than 64 bits of microseconds hold: they stay at the most, and the rest of
        # the second is added in 64 bits.
        seconds, rest = divmod(us, 1_000_000)
        return (min(seconds * 1_000_000, 2**63 - 1) + rest + 2**63) % 2**64 - 2**63

    return wire


def timestamp_cell(digits):
    def cell(t, at):
        if "infinity" in t:
            return clamp_us(INFINITIES_US[t])
        written = timestamp_wire(digits)(t, at)
        return clamp_us(written * 1000 if in_millis(digits, at.modes) else written)

    return cell


def timestamp(name, sql, digits):
    declared = lambda modes: ("timestamp", {"form": "ms" if in_millis(digits, modes) else "us", "years": [-300_000, 300_000]})
    return Kind(name, sql, v.timestamps(digits), timestamp_wire(digits), timestamp_cell(digits), read=TIMESTAMP_SQL,
                declared=declared, in_array=v.array_timestamps(digits))


def zoned(name, sql, digits):
    wire = lambda t, at: t if "infinity" in t else java_instant(int(t), digits)
    cell = lambda t, at: clamp_us(INFINITIES_US[t] if "infinity" in t else int(t))
    return Kind(name, sql, v.zoned_timestamps(digits), wire, cell, read=TIMESTAMP_SQL,
                declared=lambda modes: ("timestamp", {"form": "iso"}), in_array=v.array_zoned(digits))


def time(name, sql, digits):
    def millis(modes):
        return modes.time == "connect" or (digits <= 3 and modes.time == "adaptive")

    wire = lambda t, at: int(t) // 1000 if millis(at.modes) else int(t)
    cell = lambda t, at: Time(int(t) // 1000 * 1000 if millis(at.modes) else int(t))
    return Kind(name, sql, v.times(digits), wire, cell, read=MICROS_SQL,
                declared=lambda modes: ("int64", {}), declared_cell=wire, in_array=v.array_times(min(digits, 3)))


def zoned_time_wire(t, at):
    us = int(t) % DAY_US
    text = iso_time(us).rstrip("0").rstrip(".")
    return text + "Z"


def interval():
    def micros(t):
        years, months, days, hours, minutes, seconds = json.loads(t)
        # Debezium's arithmetic, in the same doubles.
        in_days = ((int(years) * 12) + int(months)) * (365.25 / 12.0) + int(days)
        in_seconds = (((in_days * 24 + int(hours)) * 60) + int(minutes)) * 60 + float(seconds)
        return max(-(2**63), min(2**63 - 1, int(in_seconds * 1e6)))

    def iso(t):
        years, months, days, hours, minutes, seconds = json.loads(t)
        second = Decimal(seconds).normalize()
        return f"P{years}Y{months}M{days}DT{hours}H{minutes}M{second:f}S"

    wire = lambda t, at: micros(t) if at.modes.interval == "numeric" else iso(t)
    parts = "extract(year from {c})::text,extract(month from {c})::text,extract(day from {c})::text,"
    parts += "extract(hour from {c})::text,extract(minute from {c})::text,extract(second from {c})::text"
    declared = lambda modes: ("int64", {}) if modes.interval == "numeric" else ("text", {})
    return Kind("interval", "interval", v.intervals, wire, wire, read=f"case when {{c}} is not null then json_build_array({parts})::text end",
                declared=declared)


# ---- bytes, bits, documents


def bytes_wire(t, at):
    return t if at.modes.binary == "hex" else base64.b64encode(bytes.fromhex(t)).decode()


def bytes_cell(t, at):
    return bytes.fromhex(t) if at.modes.binary == "bytes" else bytes_wire(t, at)


def bytea():
    return Kind("bytea", "bytea", v.byteas, bytes_wire, bytes_cell, read="encode({c}, 'hex')",
                declared=lambda modes: ("bytes", {"form": "hex" if modes.binary == "hex" else "base64"}),
                declared_cell=lambda t, at: bytes.fromhex(t),
                # Debezium 3.3 marks nothing in base64: null.
                marked=lambda modes: modes.binary != "base64", large=v.large_bytea, in_array=v.byteas,
                array_marked=lambda modes: modes.binary == "bytes")


def bits(t):
    """Little endian, without zeros at the end, as Debezium writes bits."""
    return int(t, 2).to_bytes((len(t) + 7) // 8, "little").rstrip(b"\0") if t else b""


def bit_kind(name, sql, values, **more):
    return Kind(name, sql, values, lambda t, at: base64.b64encode(bits(t)).decode(), lambda t, at: bits(t),
                declared=lambda modes: ("bytes", {}), **more)


def hstore():
    def wire(t, at):
        # In mode json the document is within a text, where only the value counts.
        return json.loads(t) if at.modes.hstore == "map" else Json(json.loads(t))

    return Kind("hstore", "hstore", v.hstores, wire, lambda t, at: Json(json.loads(t)), read="hstore_to_json({c})::text",
                declared=lambda modes: ("json", {}), large=v.large_hstore, in_array=v.hstores)


def point():
    def value(t):
        x, y = map(float, json.loads(t))
        wkb = struct.pack("<BIdd", 1, 1, x, y)
        return {"x": x, "y": y, "wkb": base64.b64encode(wkb).decode(), "srid": None}

    return Kind("point", "point", v.points, lambda t, at: value(t), lambda t, at: Json(value(t)),
                read="case when {c} is not null then json_build_array(({c})[0]::text, ({c})[1]::text)::text end", declared=lambda modes: ("json", {}))


def document(name, sql, values, large):
    # The very text; a column of the type json takes any JSON.
    return Kind(name, sql, values, lambda t, at: t, lambda t, at: t, declared=lambda modes: ("json", {}), large=large, in_array=values,
                array_marked=lambda modes: True)


# ---- arrays


def array_of(kind):
    element = kind.read.replace("{c}", "e")
    read = f"(select coalesce(json_agg({element} order by n), '[]')::text from unnest({{c}}) with ordinality as u(e, n))"
    read = f"case when {{c}} is not null then {read} end"

    def each(convert):
        return lambda t, at: [None if e is None else convert(e, at) for e in json.loads(t)]

    # Dates of arrays are read as in snapshots.
    def still(convert):
        return lambda t, at: each(convert)(t, Change(at.modes, False))

    def large(r, size):
        element = kind.in_array(r, Modes("precise", "", "", "", ""), False)
        return f"array_fill(({element})::{kind.sql}, array[{3_000 if len(element) < 60 else 300}])"

    cell = still(kind.cell)
    return Kind(f"{kind.name}[]", f"{kind.sql}[]", v.arrays(kind.in_array, kind.sql, kind.array_nulls), still(kind.wire),
                lambda t, at: Json(cell(t, at)), read=read, declared=lambda modes: ("json", {}),
                # No schema part says what its elements are.
                declared_cell=lambda t, at: Json(still(kind.wire)(t, at)),
                marked=kind.array_marked, large=large)


def all_kinds():
    yes = lambda modes: True
    texts = [
        text_kind("text", "text", v.texts(None), large=v.large_text, array_marked=yes),
        text_kind("varchar", "varchar", v.texts(None), large=v.large_text, array_marked=yes),
        text_kind("varchar(12)", "varchar(12)", v.texts(12), array_marked=yes),
        text_kind("char(5)", "char(5)", v.texts(5), read=PRINTED, array_marked=yes),
        text_kind("char", "char", v.texts(1), read=PRINTED, array_marked=yes),
        text_kind('"char"', '"char"', v.texts_ascii(1), in_array=None),
        text_kind("citext", "citext", v.texts(None), large=v.large_text),
        text_kind("xml", "xml", v.xmls, large=v.large_xml, in_array=None),
        text_kind("ltree", "ltree", v.ltrees, array_nulls=False),
        text_kind("tsvector", "tsvector", v.tsvectors, array_nulls=False),
        text_kind("enum", "mood", v.moods, array_nulls=False),
        text_kind("domain of varchar", "short", v.texts(8), in_array=None),
        text_kind("uuid", "uuid", v.uuids, array_marked=yes),
        text_kind("inet", "inet", v.inets, read=PRINTED),
        text_kind("cidr", "cidr", v.cidrs),
        text_kind("macaddr", "macaddr", v.macs(6)),
        text_kind("macaddr8", "macaddr8", v.macs(8)),
    ]
    texts += [
        text_kind(name, name, v.ranges(name))
        for name in ("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange")
    ]
    numbers = [
        int_kind("smallint", "smallint", -(2**15), 2**15 - 1, "int32"),
        int_kind("integer", "integer", -(2**31), 2**31 - 1, "int32", array_marked=yes),
        int_kind("bigint", "bigint", -(2**63), 2**63 - 1, "int64", array_marked=yes),
        int_kind("oid", "oid", 0, 2**32 - 1, "int64"),
        int_kind("domain of integer", "above", -100, 2**31 - 1, "int32"),
        Kind("real", "real", v.reals, real, real, declared=lambda modes: ("float32", {}), in_array=v.reals),
        Kind("double", "double precision", v.doubles, double, double, declared=lambda modes: ("float64", {}), in_array=v.doubles),
        free_decimal(),
        money(),
        decimal_kind("numeric(10,2)", "numeric(10,2)", 10, 2),
        decimal_kind("numeric(5)", "numeric(5)", 5, 0),
        decimal_kind("numeric(38,10)", "numeric(38,10)", 38, 10),
        decimal_kind("numeric(38,38)", "numeric(38,38)", 38, 38),
        decimal_kind("numeric(60,20)", "numeric(60,20)", 60, 20),
        decimal_kind("numeric(500,2)", "numeric(500,2)", 500, 2),
        decimal_kind("numeric(600,300)", "numeric(600,300)", 600, 300),
        decimal_kind("numeric(2,5)", "numeric(2,5)", 2, 5),
        decimal_kind("numeric(5,-2)", "numeric(5,-2)", 5, -2),
        decimal_kind("domain of numeric", "price", 10, 2),
    ]
    times = [
        Kind("date", "date", v.dates, date_days, date_cell, read=DATE_SQL, declared=lambda modes: ("date", {"form": "days", "years": [-5000, 6_000_000]}),
             in_array=v.array_dates, array_marked=lambda modes: modes.time != "connect"),
        *(time(f"time({n})", f"time({n})", n) for n in (0, 3, 6)),
        time("time", "time", 6),
        text_kind("timetz", "timetz", v.zoned_times(6), read=MICROS_SQL, in_array=v.array_zoned_times),
        *(timestamp(f"timestamp({n})", f"timestamp({n})", n) for n in range(7)),
        timestamp("timestamp", "timestamp", 6),
        *(zoned(f"timestamptz({n})", f"timestamptz({n})", n) for n in (0, 3)),
        zoned("timestamptz", "timestamptz", 6),
        interval(),
    ]
    times = [k if k.name != "timetz" else Kind(**{**vars(k), "wire": zoned_time_wire, "cell": zoned_time_wire}) for k in times]
    bytes_and_bits = [
        bytea(),
        Kind("bit(1)", "bit(1)", v.bit_strings(1, 1), lambda t, at: t == "1", lambda t, at: t == "1",
             declared=lambda modes: ("boolean", {})),
        bit_kind("bit(12)", "bit(12)", v.bit_strings(12, 12)),
        bit_kind("varbit(20)", "varbit(20)", v.bit_strings(0, 20)),
        bit_kind("varbit", "varbit", v.bit_strings(0, 100), marked=lambda modes: False, large=v.large_bits),
        Kind("boolean", "boolean", v.booleans, lambda t, at: t == "true", lambda t, at: t == "true",
             declared=lambda modes: ("boolean", {}), in_array=v.booleans),
    ]
    documents = [document("json", "json", v.jsons, v.large_json), document("jsonb", "jsonb", v.jsonbs, v.large_json), hstore(), point()]
    kinds = texts + numbers + times + bytes_and_bits + documents
    arrays = [array_of(kind) for kind in kinds if kind.in_array and not kind.name.startswith("domain")]
    integers = next(kind for kind in kinds if kind.name == "integer")
    arrays.append(Kind(**{**vars(array_of(integers)), "name": "domain of integer[]", "sql": "several", "marked": lambda modes: False}))
    return kinds + arrays


# Types that Debezium leaves out: such a column is not in its events, and not in the table.
LEFT_OUT = ["pair", "pair[]", "box", "line", "lseg", "path", "circle", "polygon", "tsquery", "pg_lsn", "xid8", "jsonpath",
            "int4multirange", "interval[]", "xml[]", "money[]", "point[]", "name[]", "varbit[]", "regclass", "pg_snapshot"]

# What the columns' types need.
PRELUDE = """
create extension hstore; create extension ltree; create extension citext;
create type mood as enum ('sad', 'so so', 'hap"py', 'größer');
create type pair as (a integer, b text);
create domain above as integer check (value >= -100);
create domain price as numeric(10,2);
create domain short as varchar(8);
create domain several as integer[];
"""
