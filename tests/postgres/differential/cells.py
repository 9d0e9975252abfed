"""Cells: what a value of the database is in a bronze table, and whether a cell that was read is that value.

Expected cells are None, bool, int, float, str, bytes, Decimal, or one of the classes here. Nothing is rounded and nothing
is compared as text that has a value: 1.50 and 1.5 are the same decimal, -0.0 and 0.0 are not the same double.
"""

import base64
import json
import math
import struct
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

# The first and last day, and microsecond, that every reader of Delta tables can hold: 0001-01-01 and 9999-12-31.
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
DAY_US = 86_400_000_000
FIRST_US, LAST_US = FIRST_DAY * DAY_US, (LAST_DAY + 1) * DAY_US - 1


@dataclass(frozen=True)
class Date:
    """Days since 1970-01-01."""

    days: int


@dataclass(frozen=True)
class Timestamp:
    """Microseconds since 1970-01-01T00:00:00Z."""

    us: int


@dataclass(frozen=True)
class Time:
    """Microseconds since midnight; a column has them as int64, JSON text as HH:MM:SS.ffffff."""

    us: int


@dataclass(frozen=True)
class Real:
    """A number of 32 bits, as its shortest decimal text."""

    text: str

    def value(self):
        return struct.unpack("<f", struct.pack("<f", float(self.text)))[0] if is_finite(self.text) else float(self.text)


@dataclass(frozen=True)
class Json:
    """A text whose JSON is this value; leaves may be cells, and may stand within it as text or as what it says."""

    value: object


def is_finite(text):
    return math.isfinite(float(text))


def civil(days):
    """Year (0 is 1 BC), month and day of a day since 1970-01-01, in the proleptic Gregorian calendar."""
    shifted = days + 719_468
    era, of_era = divmod(shifted, 146_097)
    of_cycle = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * of_cycle + of_cycle // 4 - of_cycle // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return of_cycle + era * 400 + (month <= 2), month, day


def clamp_days(days):
    return Date(min(max(days, FIRST_DAY), LAST_DAY))


def clamp_us(us):
    return Timestamp(min(max(us, FIRST_US), LAST_US))


def iso_date(days):
    return "%04d-%02d-%02d" % civil(days)


def iso_time(us, digits=6):
    """HH:MM:SS with as many digits of the second as asked for, cut off."""
    seconds, fraction = divmod(us, 1_000_000)
    text = "%02d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)
    return text + (".%06d" % fraction)[: digits + 1] if digits else text


def java_instant(us, digits):
    """Of a timestamp with zone: as java.time prints it, with a sign before years of more than four digits."""
    days, rest = divmod(us, DAY_US)
    year, month, day = civil(days)
    sign = "+" if year > 9999 else "-" if year < 0 else ""
    return "%s%04d-%02d-%02dT%sZ" % (sign, abs(year), month, day, iso_time(rest, digits))


def columns_of(table):
    """The cells of each column of an Arrow table: dates, timestamps and reals as classes of this module."""
    return {name: cells(table.column(name)) for name in table.column_names}


def cells(column):
    kind = column.type
    if pa.types.is_timestamp(kind):
        return [us if us is None else Timestamp(us) for us in column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64()).to_pylist()]
    if pa.types.is_date(kind):
        return [days if days is None else Date(days) for days in column.cast(pa.date32()).cast(pa.int32()).to_pylist()]
    if pa.types.is_float32(kind):
        return [x if x is None else RealFound(x) for x in column.to_pylist()]
    return column.to_pylist()


@dataclass(frozen=True)
class RealFound:
    """A number of a column of 32-bit floats."""

    value: float


def parsed(text):
    """JSON without any rounding; fails on text that is none."""
    return json.loads(text, parse_float=Decimal, parse_int=int)


def same_float(a, b):
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


def same_number(expected, found):
    """Whether a text of `found` is one of the expected number; those of Java have more digits than are needed."""
    if isinstance(expected, Real):
        return same_float(expected.value(), Real(repr(found)).value())
    return same_float(expected, found)


def decimal_of(found):
    """A number, or a text of one."""
    if isinstance(found, bool) or not isinstance(found, (int, str, Decimal)):
        return None
    try:
        return Decimal(found)
    except ArithmeticError:
        return None


def same(expected, found):
    """Whether a cell of a typed column is what is expected."""
    if expected is None or found is None:
        return expected is None and found is None
    match expected:
        case Json(value):
            try:
                return isinstance(found, str) and same_json(value, parsed(found))
            except ValueError:
                return False
        case Time(us):
            return type(found) is int and found == us
        case Real():
            return isinstance(found, RealFound) and same_float(expected.value(), found.value)
        case Decimal():
            number = decimal_of(found)
            return number is not None and (number == expected or (number.is_nan() and expected.is_nan()))
        case float():
            return type(found) is float and same_float(expected, found)
    return type(found) is type(expected) and found == expected


def same_json(expected, found):
    """Whether a value within a JSON text is what is expected: times and dates as ISO 8601, decimals as a number or text."""
    match expected:
        case None | bool() | str():
            return type(found) is type(expected) and found == expected
        case int():
            return type(found) is int and found == expected
        case float() | Real():
            text = expected.text if isinstance(expected, Real) else repr(expected)
            if not is_finite(text):
                return found == {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(float(text))]
            if isinstance(found, bool) or not isinstance(found, (int, Decimal)):
                return False
            return same_number(expected, float(found))
        case Decimal():
            number = decimal_of(found)
            return number is not None and number == expected
        case Json(value):
            return same(expected, found) or same_json(value, found)
        case bytes():
            return found == base64.b64encode(expected).decode()
        case Date(days):
            return found == iso_date(days)
        case Time(us):
            return isinstance(found, str) and us == time_of(found)
        case Timestamp(us):
            return isinstance(found, str) and us == instant_of(found)
        case list():
            return isinstance(found, list) and len(found) == len(expected) and all(map(same_json, expected, found))
        case dict():
            return isinstance(found, dict) and found.keys() == expected.keys() and all(
                same_json(value, found[name]) for name, value in expected.items()
            )
    raise TypeError(f"no JSON: {expected!r}")


def time_of(text):
    hours, minutes, seconds = text.split(":")
    return int((int(hours) * 3600 + int(minutes) * 60 + Decimal(seconds)) * 1_000_000)


def instant_of(text):
    """Of `2026-01-31T12:00:00.5Z`, with or without its Z, in years 0001 to 9999."""
    date, time = text.removesuffix("Z").split("T")
    year, month, day = map(int, date.split("-"))
    return (days_of(year, month, day)) * DAY_US + time_of(time)


def days_of(year, month, day):
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    era, of_era = divmod(year, 400)
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + (153 * month + 2) // 5 + day - 1 - 719_468


def same_shown(wire, found):
    """Whether the cell of an inferred column is the JSON value that was written, whatever type the column has."""
    if wire is None or found is None:
        return wire is None and found is None
    match wire:
        case bool() | str():
            if type(found) is float and isinstance(wire, str):
                return wire in ("NaN", "Infinity", "-Infinity") and same_float(float(wire), found)
            return type(found) is type(wire) and found == wire
        case int():
            return decimal_of(found) == wire or (type(found) is float and found == wire and abs(wire) <= 2**53)
        case float() | Real():
            text = wire.text if isinstance(wire, Real) else repr(wire)
            if not is_finite(text):
                name = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(float(text))]
                return found == name or (type(found) is float and same_float(float(text), found))
            if isinstance(found, bool) or not isinstance(found, (int, float, str, Decimal)):
                return False
            return same_number(wire, found if type(found) is float else float(decimal_of(found) or math.nan))
        case Json():
            return same(wire, found)
        case list() | dict():
            try:
                return isinstance(found, str) and same_json(wire, parsed(found))
            except ValueError:
                return False
    raise TypeError(f"no JSON: {wire!r}")
