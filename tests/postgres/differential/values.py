"""SQL expressions of random values, those at the edges of their types first of all.

Each maker has the form (random numbers, modes, streamed) -> SQL, where `streamed` says that the value is written when the
snapshot is over: what Debezium's snapshots lose by themselves is made only then.
"""

import json


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def typed(text, sql):
    return f"{quoted(text)}::{sql}"


def one_of(choices, sql):
    return lambda r, modes, streamed: typed(r.choice(choices), sql)


def integers(low, high):
    edges = [low, high, 0, 1, -1 if low < 0 else 2]
    edges += [n for n in (2**53, 2**53 + 1, -(2**53) - 1) if low <= n <= high]

    def make(r, modes, streamed):
        number = r.choice(edges) if r.random() < 0.5 else r.randint(low, high) >> r.randrange(40)
        return f"'{max(low, min(high, number))}'"

    return make


def digits(r, count):
    return "".join(r.choice("0123456789") for _ in range(count))


def decimals(precision, scale):
    def make(r, modes, streamed):
        if modes.decimal != "precise" and r.random() < 0.1:
            return "'NaN'"
        number = r.choice(["9" * precision, "0", "1", digits(r, r.randint(1, precision)), digits(r, precision)])
        sign = r.choice(["", "-"])
        return f"'{sign}{number}e{-scale}'"

    return make


def without_nan(values):
    def make(r, modes, streamed):
        while True:
            value = values(r, modes, streamed)
            if "NaN" not in value:
                return value

    return make


def free_decimals(r, modes, streamed):
    if modes.decimal != "precise" and r.random() < 0.1:
        return "'NaN'"
    whole, fraction = r.choice([(0, 0), (1, 0), (1, 2), (18, 0), (19, 0), (20, 20), (38, 0), (40, 0), (0, 40), (5, 35), (300, 0), (700, 300), (0, 20)])
    if whole == fraction == 0:
        return r.choice(["'0'", "'0.000'", "'-0'", "'1e30'", "'1e-30'", "'100'", "'1.10'"])
    number = f"{digits(r, whole) or '0'}" + (f".{digits(r, fraction)}" if fraction else "")
    return f"'{r.choice(['', '-'])}{number}'"


def money(r, modes, streamed):
    edges = ["999999.99", "-999999.99", "0", "0.01", "-0.01"]
    edges += ["99999999999999.99", "92233720368547758.07", "-92233720368547758.08"] if streamed else []
    # Through a double, 1.10 is 1.1 in a snapshot with decimals as text.
    some = f"{r.randint(-10**8, 10**8) / 10 + 0.01:.2f}"
    return f"'{r.choice(edges) if r.random() < 0.5 else some}'::numeric::money"


def reals(r, modes, streamed):
    edges = ["NaN", "Infinity", "-Infinity", "0", "-0", "3.4028235e38", "-3.4028235e38", "1e-45", "1.17549435e-38", "16777217", "0.1", "1e7", "1e-7", "1e21"]
    return f"'{r.choice(edges) if r.random() < 0.6 else r.uniform(-1000, 1000)}'"


def doubles(r, modes, streamed):
    edges = ["NaN", "Infinity", "-Infinity", "0", "-0", "1.7976931348623157e308", "-1.7976931348623157e308", "5e-324", "2.2250738585072014e-308",
             "9007199254740993", "0.1", "0.30000000000000004", "1e7", "1e-7", "1e21", "1e22", "123456789012345680"]
    return f"'{r.choice(edges) if r.random() < 0.6 else r.uniform(-1, 1) * 10 ** r.randint(-20, 20)}'"


def booleans(r, modes, streamed):
    return r.choice(["true", "false"])


TEXTS = ["", " ", "null", "NULL", "NaN", "Infinity", "true", "0", "-1.50", "{}", "[]", '{"a": 1}', '""', "it's", 'say "no"', "back\\slash", "tab\there",
         "two\nlines", "\u0001\u001f\u007f", "größe", "漢字", "🙂👩‍👩‍👧", "\u2028", "e\u0301", "\ufeffbom", "trail  ", "  lead", "a,b;c{}()=", "%41", "\\u0041", "\\x00",
         "2026-01-31", "infinity", "__debezium_unavailable", "\U0010ffff", "</script>"]


def texts(most):
    def make(r, modes, streamed):
        text = r.choice(TEXTS)
        return quoted(text if most is None else text[:most])

    return make


def texts_ascii(most):
    return lambda r, modes, streamed: quoted(r.choice("aZ0\"'{~"))


def large_text(r, size):
    return f"large({r.randrange(10**6)}, {size})"


def large_bytea(r, size):
    return f"decode(large({r.randrange(10**6)}, {size}), 'hex')"


def large_xml(r, size):
    return f"('<a>' || large({r.randrange(10**6)}, {size}) || '</a>')::xml"


def large_json(r, size):
    return f"('{{\"a\": \"' || large({r.randrange(10**6)}, {size}) || '\"}}')::json"


def large_hstore(r, size):
    return f"hstore('k', large({r.randrange(10**6)}, {size}))"


def large_bits(r, size):
    return f"(('x' || large({r.randrange(10**6)}, {size}))::varbit)"


def large_decimal(r, size):
    return f"('1' || translate(large({r.randrange(10**6)}, {min(size * 2, 130_000)}), 'abcdef', '{digits(r, 6)}'))::numeric"


def xmls(r, modes, streamed):
    return typed(r.choice(["<a/>", "<a b=\"1\">x</a>", "text", "<ü>ß &amp; &lt;</ü>", "<a><![CDATA[x]]></a>", "<!-- c --><a/>"]), "xml")


def ltrees(r, modes, streamed):
    return typed(r.choice(["", "a", "a.b.c", "Top.Science_1.x9"]), "ltree")


def tsvectors(r, modes, streamed):
    return typed(r.choice(["", "fat:2A cat:1", "'it''s':1,2B", "a b c", "größe:3C"]), "tsvector")


def moods(r, modes, streamed):
    return typed(r.choice(["sad", "so so", 'hap"py', "größer"]), "mood")


def uuids(r, modes, streamed):
    edges = ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]
    number = "%032x" % r.getrandbits(128)
    return typed(r.choice(edges) if r.random() < 0.3 else number, "uuid")


def inets(r, modes, streamed):
    return typed(r.choice(["0.0.0.0", "255.255.255.255", "192.168.1.5/24", "10.1.2.3/32", "::", "::1/64", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4", "fe80::1/10"]), "inet")


def cidrs(r, modes, streamed):
    return typed(r.choice(["0.0.0.0/0", "10.0.0.0/8", "192.168.1.0/24", "1.2.3.4/32", "::/0", "2001:db8::/32", "::1/128"]), "cidr")


def macs(length):
    sql = "macaddr" if length == 6 else "macaddr8"
    return lambda r, modes, streamed: typed(":".join("%02x" % r.choice([0, 255, r.randrange(256)]) for _ in range(length)), sql)


RANGES = {
    "int4range": ["empty", "(,)", "[1,5)", "[-2147483648,2147483647)", "(,7]", "[3,3]"],
    "int8range": ["empty", "(,)", "[-9223372036854775808,9223372036854775807)", "[9007199254740993,)"],
    "numrange": ["empty", "(,)", "[1.10,2.50]", "(-1e30,1e-30)", "[0,)"],
    "tsrange": ["empty", "(,)", "[2026-01-01,2026-01-02 00:00:00.5)", "[-infinity,infinity]", "[0001-01-01,9999-12-31)"],
    "tstzrange": ["empty", "(,)", "[2026-01-01 00:00+02,infinity)", "[1999-12-31 23:59:59.999999+00,)"],
    "daterange": ["empty", "(,)", "[2026-01-01,2026-02-01]", "[-infinity,infinity)", "[0044-03-15 BC,)"],
}


def ranges(sql):
    return one_of(RANGES[sql], sql)


def dates(r, modes, streamed):
    edges = ["infinity", "-infinity", "0001-01-01", "9999-12-31", "10000-01-01", "5874897-12-31", "1970-01-01", "1969-12-31", "2000-02-29", "1582-10-04",
             "1582-10-15", "1900-03-01"]
    edges += ["4714-11-24 BC", "0044-03-15 BC", "0001-12-31 BC", "1582-10-10"] if streamed else []
    return f"date '{r.choice(edges)}'" if r.random() < 0.7 else f"(date '2026-01-01' + {r.randint(-150_000, 100_000)})"


def array_dates(r, modes, streamed):
    return f"date '{r.choice(['infinity', '-infinity', '9999-12-31', '10000-01-01', '1970-01-01', '1969-12-31', '2000-02-29', '1583-01-01'])}'"


TIMESTAMPS = ["infinity", "-infinity", "9999-12-31 23:59:59", "10000-01-01", "1970-01-01", "1969-12-31 23:59:59.999999", "2026-01-31 12:34:56.789123",
              "2000-02-29 23:59:59.000001", "1600-01-01 00:00:00.5", "1969-12-31 23:59:59.9994", "2262-04-12 00:00:00"]
FAR = ["9999-12-31 23:59:59.999999", "294276-12-31 23:59:59.9"]
# What a snapshot takes for a date of the Julian calendar.
EARLY = ["0001-01-01", "4714-11-24 00:00:00 BC", "0044-03-15 12:00:00 BC", "0001-12-31 23:59:59.999999 BC", "1582-10-10 01:02:03.000004", "1500-02-28 01:02:03.004"]


def timestamp_text(r, digits, streamed, zone):
    # Rounded up to fewer digits the last second of all would be too late.
    edges = TIMESTAMPS + (FAR if digits == 6 else []) + (EARLY if streamed else [])
    if r.random() < 0.3:
        return f"{r.randint(1600, 2500)}-{r.randint(1, 12):02}-{r.randint(1, 28):02} {r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}.{r.randrange(10**6):06}" + zone
    text = r.choice(edges)
    if "infinity" in text or not zone:
        return text
    body, before_christ = (text.removesuffix(" BC"), " BC" if text.endswith(" BC") else "")
    return (body if " " in body else body + " 00:00:00") + zone + before_christ


def timestamps(digits):
    return lambda r, modes, streamed: typed(timestamp_text(r, digits, streamed, ""), f"timestamp({digits})")


def zoned_timestamps(digits):
    return lambda r, modes, streamed: typed(timestamp_text(r, digits, streamed, "+00"), f"timestamptz({digits})")


def array_timestamps(digits):
    return lambda r, modes, streamed: typed(timestamp_text(r, digits, False, ""), f"timestamp({digits})")


def array_zoned(digits):
    def make(r, modes, streamed):
        # Debezium makes a year of the end of time of -infinity in an array.
        text = timestamp_text(r, digits, False, "+00")
        return typed("infinity" if text == "-infinity" else text, f"timestamptz({digits})")

    return make


TIMES = ["00:00:00", "24:00:00", "23:59:59.999999", "12:34:56.789123", "00:00:00.000001", "23:59:59", "01:02:03.5"]


def time_text(r, digits):
    text = r.choice(TIMES)
    whole, _, fraction = text.partition(".")
    return whole + ("." + fraction[:digits] if fraction and digits else "")


def times(digits):
    return lambda r, modes, streamed: typed(time_text(r, digits), f"time({digits})")


def array_times(digits):
    # Debezium makes the first moment of the day of the last one in an array.
    return lambda r, modes, streamed: typed(time_text(r, digits).replace("24:", "00:"), f"time({digits})")


def array_zoned_times(r, modes, streamed):
    return typed(time_text(r, 0).replace("24:", "00:") + r.choice(["+00", "+05:30", "-03"]), "timetz")


def zoned_times(digits):
    return lambda r, modes, streamed: typed(time_text(r, digits) + r.choice(["+00", "+05:30", "-15:59", "+15:59", "-03"]), "timetz")


def intervals(r, modes, streamed):
    edges = ["0", "1 year 2 months 3 days 04:05:06.789123", "-1 year 2 months", "1 mon -1 day", "00:00:00.000001", "-00:00:00.5", "178000000 years",
             "-178000000 years", "100 hours", "1 day -00:00:01", "-5 days 3 hours", "60 minutes 90 seconds"]
    return typed(r.choice(edges), "interval")


def byteas(r, modes, streamed):
    return "'\\x" + r.choice(["", "00", "ff", "00ff10", "deadbeef" * 8, "%040x" % r.getrandbits(160)]) + "'::bytea"


def bit_strings(least, most):
    def make(r, modes, streamed):
        length = r.randint(least, most)
        bits = r.choice(["0" * length, "1" * length, "".join(r.choice("01") for _ in range(length))])
        return f"B'{bits}'"

    return make


JSONS = ["null", "true", "0", "-1.50", "1e400", "12345678901234567890.12345678901234567890", '""', '"x"', '"\\u00fc\\n\\""', "[]", "{}", '[1, [2, {"a": null}]]',
         '{"b": 1.10,  "a": "ü🙂"}', '{"": 0}', "[" * 40 + "]" * 40]


def jsons(r, modes, streamed):
    return typed(r.choice(JSONS + ['  {"a" : 1, "a" : 2}  ', "[1,\n2]"]), "json")


def jsonbs(r, modes, streamed):
    return typed(r.choice(JSONS), "jsonb")


def hstores(r, modes, streamed):
    return typed(r.choice(["", "a=>1", 'a=>1, "b c"=>NULL', '"q\\"u"=>"ü", x=>""']), "hstore")


def points(r, modes, streamed):
    return f"point({r.choice(['0', '1.5', '-2', '1e300', '0.1'])}, {r.choice(['0', '-0.25', '123456.789'])})"


def arrays(values, sql, nulls):
    def make(r, modes, streamed):
        count = r.choice([0, 1, 1, 2, 3, 5])
        elements = ["null" if nulls and r.random() < 0.15 else values(r, modes, streamed) for _ in range(count)]
        return f"array[{', '.join(elements)}]::{sql}[]"

    return make
