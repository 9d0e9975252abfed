"""Differential test: random tables of a real PostgreSQL, through a real Debezium in every mode, into bronze tables, which DuckDB
reads back and which must be what the database itself wrote down, cell by cell.

usage: main.py --dir DIR --lakemill FILE --guest FILE [--seed N] [--tables N] [--settings N] [--keep]

Starts PostgreSQL, Kafka and Debezium in DIR and stops them. Each of the settings has two connectors, with the schema part and
without it; each table is read three times: with the types of its schema part, with declared columns, and with columns that
are inferred. Prints every kind of difference once with an example, all of them into DIR/differences.txt, and a line of sums;
fails if there is one.
"""

import argparse
import collections
import concurrent.futures
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

import judge
import kinds
import oracle
import tables as t

ROOT = pathlib.Path(__file__).resolve().parents[3]

# How long anything may take that is waited for.
LIMIT_S = 900


def settings(count):
    """Nine settings in which every pair of modes of decimals, times and bytes occurs; the first three have each mode once."""
    decimals, times, binaries = ["precise", "string", "double"], ["adaptive", "connect", "adaptive_time_microseconds"], ["bytes", "base64", "hex"]
    made = []
    for shift in range(3):
        for n in range(3):
            made.append(kinds.Modes(decimals[n], times[(n + shift) % 3], binaries[(n + 2 * shift) % 3], ["numeric", "string"][(n + shift) % 2],
                                    ["json", "map"][(n + shift // 2) % 2]))
    return made[:count]


def wait_until(what, ask):
    end = time.monotonic() + LIMIT_S
    while not ask():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {LIMIT_S} s")


class Servers:
    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def script(self, name, *arguments, **more):
        done = subprocess.run([ROOT / "scripts" / name, *map(str, arguments)], capture_output=True, text=True, **more)
        if done.returncode != 0:
            raise SystemExit(f"{name} {arguments[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def sql(self, text):
        return self.script("postgres.sh", "sql", self.folder / "postgres", "-tA", "-f", "-", input=text)

    def start(self):
        self.script("postgres.sh", "up", self.folder / "postgres")
        self.brokers = self.script("kafka.sh", "up", self.folder / "kafka").strip()

    def connect(self, all_settings):
        """A pair of connectors for each of the settings: topics on.N.* have the schema part, off.N.* do not."""
        configs = {}
        port = (self.folder / "postgres/port").read_text().strip()
        for number, modes in enumerate(all_settings):
            for part in ("on", "off"):
                name = f"{part}{number}"
                configs[name] = {
                    "topic.prefix": f"{part}.{number}", "slot.name": name, "publication.name": name,
                    "publication.autocreate.mode": "filtered", "schema.include.list": f"m{number}", "provide.transaction.metadata": "false", "errors.max.retries": "0",
                    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
                    "value.converter.schemas.enable": str(part == "on").lower(), **modes.options(),
                }
        (_, first), *others = configs.items()
        rest = self.script("debezium.sh", "up", self.folder / "debezium", self.folder / "kafka", self.folder / "postgres",
                           *(f"{key}={value}" for key, value in first.items())).strip()
        common = dict(line.split("=", 1) for line in (self.folder / "debezium/connector.properties").read_text().splitlines())
        assert common["database.port"] == port
        for name, config in others:
            request = urllib.request.Request(f"http://{rest}/connectors/{name}/config", json.dumps({**common, **config, "name": name}).encode(),
                                             {"Content-Type": "application/json"}, method="PUT")
            urllib.request.urlopen(request, timeout=60).read()
        slots = f"select count(*) >= {len(configs)} from pg_replication_slots where confirmed_flush_lsn is not null;"
        self.rest = rest

        def ask():
            self.expect_running()
            return self.sql(slots).strip() == "t"

        wait_until("all connectors have their slots", ask)

    def flush(self, all_settings):
        """Until every change is in Kafka: Debezium confirms a position once that is so."""
        last = self.sql("select pg_current_wal_lsn();").strip()
        done = f"select bool_and(confirmed_flush_lsn > '{last}') from pg_replication_slots;"
        marks = "\n".join(f"insert into m{number}.finished values (1);" for number in range(len(all_settings)))

        def ask():
            self.sql(marks)
            self.expect_running()
            return self.sql(done).strip() == "t"

        wait_until("all changes are in Kafka", ask)

    def expect_running(self):
        for name, status in json.loads(urllib.request.urlopen(f"http://{self.rest}/connectors?expand=status", timeout=60).read()).items():
            for task in status["status"]["tasks"]:
                if task["state"] == "FAILED":
                    sys.exit(f"connector {name} failed: {task['trace'][:3000]}")

    def stop_sources(self):
        self.script("debezium.sh", "down", self.folder / "debezium")
        self.script("postgres.sh", "remove", self.folder / "postgres")


def pipeline(folder, guest, brokers, table, modes, variant):
    """The pipeline file of a table, as JSON, which is YAML."""
    topic = f"{'on' if variant == 'inline' else 'off'}.{table.setting}.{table.schema}." + re.sub("[^a-zA-Z0-9._-]", "_", as_utf16(table.name))
    schema = variant
    if variant == "declared":
        row = []
        for column in table.columns:
            data_type, form = column.kind.declared(modes)
            row.append({"name": column.name, "type": data_type, **form})
        schema = {"row": row}
    return {
        "pipeline": f"t{table.number}",
        "source": {"kafka": {"brokers": brokers, "topics": [topic]}, "schema": schema},
        "state": {"path": "./state"},
        "transforms": [{"component": str(guest)}],
        "sinks": {"changes": {"delta": {"path": "./bronze", "metadata": ["op", "offset", "unchanged"]}}},
        "dead_letters": {"delta": {"path": "./dead"}},
        "error_budget": {"share_max": 1.0, "per_minute_max": 1_000_000},
    }


def as_utf16(text):
    """A character for each unit of UTF-16: Debezium replaces those, not characters."""
    return "".join(c if ord(c) < 2**16 else "\ud83d\ude42" for c in text)


def run(lakemill, folder, description):
    folder.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(json.dumps(description, indent=1))
    done = subprocess.run([lakemill, "run", folder / "pipeline.yaml", "--until-caught-up", "--json"], capture_output=True, text=True)
    (folder / "run.log").write_text(done.stderr)
    return done


def dead_reasons(folder):
    import polars
    rows = polars.read_delta(str(folder / "dead"))
    return collections.Counter(rows["reason"].to_list()) if "reason" in rows.columns else rows.columns


def check(arguments, folder, brokers, table, modes, variant, events, reader):
    """Runs one table through Lakemill and judges what came out."""
    here = folder / "tables" / f"t{table.number}-{variant}"
    done = run(arguments.lakemill, here, pipeline(here, arguments.guest, brokers, table, modes, variant))
    wrong = lambda what, found: judge.Difference("table", variant, what, table.number, "a run without a fault", judge.shortened(found, 1000))
    if done.returncode != 0:
        return [wrong("run", (done.stderr or done.stdout)[-900:])], 0
    differences, compared = [], 0
    if (here / "dead/_delta_log").exists():
        differences += [wrong("dead letters", f"{count}: {reason}") for reason, count in dead_reasons(here).items()]
    try:
        more, compared = judge.judge(table, modes, variant, events, here / "bronze", reader())
        differences += more
    except Exception as error:
        differences.append(wrong("reading", repr(error)))
    if not differences and not arguments.keep:
        shutil.rmtree(here)
    return differences, compared


def report(folder, found, all_settings, tables):
    """Every kind of difference once, with how often it was seen."""
    kinds_seen = collections.defaultdict(list)
    with open(folder / "differences.txt", "w") as file:
        for difference in found:
            modes = all_settings[tables[difference.table].setting]
            file.write(f"{difference.line()} [{modes}]\n")
            what = re.sub(r"\d+", "N", difference.what) if difference.kind != "table" else difference.what
            kinds_seen[difference.variant, difference.kind, what if difference.kind == "table" else ""].append((difference, modes))
    for (variant, kind, what), all_of_it in sorted(kinds_seen.items()):
        difference, modes = all_of_it[0]
        of_modes = ", ".join(sorted({f"{m.decimal}/{m.time}/{m.binary}" for _, m in all_of_it}))
        print(f"{variant}, {kind} {what}: {len(all_of_it)} × ({of_modes})\n    {difference.line()}")


def fill(servers, tables, seed, all_settings, step):
    """Makes the tables and the changes, and leaves them in Kafka's topics and, as the database wrote them down, in changes.jsonl."""
    folder = servers.folder
    writers = [t.Writer(table, seed, all_settings[table.setting]) for table in tables]
    servers.start()
    step("PostgreSQL and Kafka")
    schemas = "\n".join(f"create schema m{n}; create table m{n}.finished (n integer);" for n in range(len(all_settings)))
    before = "\n".join([t.PRELUDE, kinds.PRELUDE, schemas, *map(t.definition, tables), t.script(writers, 3, False, seed), "truncate oracle.changes;",
                        *map(t.snapshot, tables)])
    changes = t.script(writers, 12, True, seed)
    (folder / "before.sql").write_text(before)
    (folder / "changes.sql").write_text(changes)
    servers.sql(before)
    step("tables")
    servers.connect(all_settings)
    step("connectors")
    servers.sql(changes)
    step("changes")
    (folder / "changes.jsonl").write_text(servers.sql(oracle.DUMP).strip("\n"))
    servers.flush(all_settings)
    step("all of them in Kafka")
    servers.stop_sources()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dir", "lakemill", "guest"):
        arguments.add_argument(f"--{name}", type=pathlib.Path, required=True)
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments.add_argument("--tables", type=int, default=24)
    arguments.add_argument("--settings", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--keep", action="store_true", help="keep the broker with its topics, and the tables without differences")
    arguments.add_argument("--again", action="store_true", help="with the seed of the last run, which had --keep: on its topics")
    arguments.add_argument("--variants", default="inline,declared,infer")
    arguments = arguments.parse_args()
    folder, arguments.lakemill, arguments.guest = arguments.dir.resolve(), arguments.lakemill.resolve(), arguments.guest.resolve()
    shutil.rmtree(folder / "tables" if arguments.again else folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)

    seed, all_settings = arguments.seed, settings(arguments.settings)
    print(f"seed {seed}, {arguments.tables} tables, {len(all_settings)} settings", flush=True)
    tables = t.generate(seed, arguments.tables, all_settings)
    clock = time.monotonic()

    def step(what):
        nonlocal clock
        print(f"  {what}: {time.monotonic() - clock:.0f} s", flush=True)
        clock = time.monotonic()

    servers = Servers(folder)
    try:
        if arguments.again:
            servers.brokers = servers.script("kafka.sh", "up", folder / "kafka").strip()
        else:
            fill(servers, tables, seed, all_settings, step)
        dumped = oracle.read_changes((folder / "changes.jsonl").read_text().split("\n"))
        local = threading.local()

        def reader():
            if not hasattr(local, "reader"):
                local.reader = judge.Reader()
            return local.reader

        found, compared = [], 0
        with concurrent.futures.ThreadPoolExecutor(arguments.threads) as pool:
            jobs = []
            for table in tables:
                events = oracle.events(table, dumped[table.number])
                for variant in arguments.variants.split(","):
                    jobs.append(pool.submit(check, arguments, folder, servers.brokers, table, all_settings[table.setting], variant, events, reader))
            for job in jobs:
                differences, cells = job.result()
                found += differences
                compared += cells
        step("Lakemill and DuckDB")
    finally:
        servers.stop_sources()
        if not arguments.keep:
            servers.script("kafka.sh", "down", folder / "kafka")
    report(folder, found, all_settings, tables)
    print(f"seed {seed}: {len(tables)} tables, {len(jobs)} bronze tables, {compared} cells compared, {len(found)} differences")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
