"""Says whether Delta tables hold exactly what was sent: reads the log by hand, file by file, in the order of its commits.

usage: oracle.py EXPECTED GONE PERCENT TABLE=OPS...

EXPECTED is a CSV file `partition,offset,fate,op,id,total` with a line for each record that was sent: fate is change, control,
dead (cannot be decoded), or poison (a transform fails on it). PERCENT is how many of 100 keys a canary gets, if there is one. GONE is a CSV file `table,partition,from,to`: records that the table cannot have, and must not. OPS are the ops of the changes that the table has to hold once each, such as `cru`, with a `*`
those of poison as well (another transform fails on it), or `dead` for dead letters: one of each, from the stage where it died. Prints one JSON object by table: `rows`, `missing`, `surplus` (doubled, or never sent), `disordered` (a row of a key that comes after a later one),
`beyond` (rows of a commit that are not in the ranges it names), `positions` (partition -> the last one that it says it holds), and
`commits`. All tables together: `mixed`, how many files have rows that another code made than the one that they name, as the rows
themselves say (column `variant`), or than the same batch has in another table, or keys of both sides of a canary.
"""

import json
import pathlib
import sys
import urllib.parse
import zlib

import polars as pl


def commits(table):
    """The actions of every commit, in order; no version may be missing."""
    names = sorted((table / "_delta_log").glob("[0-9]*.json"))
    for version, name in enumerate(names):
        assert int(name.stem) == version, f"{name}: version {version} is missing"
        yield [json.loads(line) for line in name.read_text().splitlines()]


def read(table, columns):
    """The rows in the order of commits, with the number of their commit; held positions; rows beyond their commit's ranges."""
    parts, positions, beyond, count, made = [], {}, 0, 0, []
    for number, actions in enumerate(commits(table)):
        count += 1
        info = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
        ranges = {p: (start, end) for _, p, start, end in info.get("lakemill.ranges", [])}
        for action in actions:
            if "txn" in action:
                # lakemill/tenant/pipeline/sink/topic/partition; what begins with an `@` or the like is not a sink's position.
                positions[action["txn"]["appId"]] = action["txn"]["version"]
            if "add" in action:
                path = table / urllib.parse.unquote(action["add"]["path"])
                rows = pl.read_parquet(path, columns=None)
                if "variant" in rows.columns:
                    # Of a canary and the code beside it, each file names its own.
                    own = (action["add"].get("tags") or {}).get("lakemill.digests")
                    digests = own.split(",") if own else info.get("lakemill.digests", [])
                    variants = tuple(rows["variant"].unique().to_list())
                    made.append((info.get("lakemill.checkpoint"), tuple(digests), variants, hashes(rows) if own else None))
                rows = columns(rows).with_columns(commit=pl.lit(number))
                for partition, (start, end) in ranges.items():
                    of = rows.filter(pl.col("partition") == partition)
                    beyond += of.filter((pl.col("offset") < start) | (pl.col("offset") >= end)).height
                beyond += rows.filter(~pl.col("partition").is_in(list(ranges))).height
                parts.append(rows)
            assert "remove" not in action, "nobody removes files here"
    rows = pl.concat(parts) if parts else None
    return rows, positions, beyond, count, made


def first_of(rows, names):
    there = [pl.col(name) for name in names if name in rows.columns]
    return pl.coalesce(there) if there else pl.lit(None)


def of_changes(rows):
    return rows.select(
        partition=pl.col("_partition").cast(pl.Int32),
        offset=pl.col("_offset").cast(pl.Int64),
        op=pl.col("_op"),
        id=first_of(rows, ["after_id", "before_id", "id"]).cast(pl.Int64),
        total=first_of(rows, ["after_total", "before_total", "total"]).cast(pl.Float64),
    )


def of_letters(rows):
    return rows.select(
        partition=pl.col("partition").cast(pl.Int32),
        offset=pl.col("offset").cast(pl.Int64),
        op=pl.col("stage"),
        id=pl.lit(0).cast(pl.Int64),
        total=pl.lit(0.0),
    )


def hashes(rows):
    """What says on which side of a canary a key is."""
    return {zlib.crc32(b'{"id":%d}' % key) % 100 for key in of_changes(rows)["id"].unique().to_list()}


def left(expected, gone, table):
    """What the table can have."""
    for _, partition, start, end in gone.filter(pl.col("table") == str(table)).iter_rows():
        inside = (pl.col("partition") == partition) & (pl.col("offset") >= start) & (pl.col("offset") < end)
        expected = expected.filter(~inside)
    return expected


def judge(expected, table, ops, codes):
    if ops == "dead":
        stages = {"dead": "decode", "poison": "transform"}
        columns, order, wanted = of_letters, ["op"], expected.filter(pl.col("fate").is_in(list(stages)))
        wanted = wanted.with_columns(op=pl.col("fate").replace(stages), id=pl.lit(0).cast(pl.Int64), total=pl.lit(0.0))
    else:
        fates = ["change", "poison"] if "*" in ops else ["change"]
        columns, order, wanted = of_changes, ["id"], expected.filter(pl.col("fate").is_in(fates) & pl.col("op").is_in(list(ops)))
    rows, positions, beyond, count, made = read(table, columns) if table.exists() else (None, {}, 0, 0, [])
    codes.extend(made)
    keys = ["partition", "offset", "op", "id", "total"]
    wanted = wanted.select(keys)
    if rows is None:
        return {"rows": 0, "missing": wanted.height, "surplus": 0, "disordered": 0, "beyond": 0, "positions": {}, "commits": count}
    counted = rows.group_by(keys).agg(found=pl.len())
    both = wanted.with_columns(sent=pl.lit(1)).join(counted, on=keys, how="full", coalesce=True, nulls_equal=True)
    missing = both.filter(pl.col("found").is_null()).height
    surplus = both.select((pl.col("found").fill_null(0) - pl.col("sent").fill_null(0)).clip(0).sum()).item()
    # The rows of each key come in the order of its offsets, the letters of each stage in that of the partition's.
    before = [pl.col(name).shift().over("partition", *order).alias(f"{name}_before") for name in ["offset", "commit"]]
    disordered = rows.with_columns(before).filter(pl.col("offset") <= pl.col("offset_before"))
    return {
        "rows": rows.height,
        "missing": missing,
        "surplus": int(surplus or 0),
        "disordered": disordered.height,
        "beyond": beyond,
        "positions": positions,
        "commits": count,
        "example": both.filter(pl.col("found").fill_null(0) != pl.col("sent").fill_null(0)).head(3).to_dicts()
        + disordered.head(3).to_dicts(),
    }


def mixed(codes, percent):
    """Files whose rows say that another code made them, or that have keys of both sides; codes are (batch, digests, variants, and beside a
    canary the hashes of its keys)."""
    of_digests, of_batch, sides, wrong = {}, {}, {}, 0
    for batch, digests, variants, keys in codes:
        wrong += len(variants) != 1 or of_digests.setdefault(digests, variants) != variants
        if keys is None:
            wrong += of_batch.setdefault(batch, variants) != variants
        else:
            # The hashes below the percentage are the canary's.
            sides.setdefault((batch, digests), set()).update(key < percent for key in keys)
    wrong += sum(len(side) > 1 for side in sides.values())
    # Nor do two codes have one side.
    both = [(batch, *side) for (batch, _), side in sides.items()]
    return wrong + len(both) - len(set(both)) + len({batch for batch, _ in sides} & set(of_batch))


def main():
    schema = {"partition": pl.Int32, "offset": pl.Int64, "fate": pl.String, "op": pl.String, "id": pl.Int64, "total": pl.Float64}
    expected = pl.read_csv(sys.argv[1], schema=schema, has_header=True)
    ranges = {"table": pl.String, "partition": pl.Int32, "from": pl.Int64, "to": pl.Int64}
    gone = pl.read_csv(sys.argv[2], schema=ranges, has_header=True)
    verdicts, codes = {}, []
    for argument in sys.argv[4:]:
        table, ops = argument.rsplit("=", 1)
        verdicts[table] = judge(left(expected, gone, table), pathlib.Path(table), ops, codes)
    print(json.dumps({"tables": verdicts, "mixed": mixed(codes, int(sys.argv[3]))}))


main()
