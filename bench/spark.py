"""The job of the `clean` transform as Spark Structured Streaming: Kafka to a Delta table. Run by bench/spark.sh.

usage: spark.py append|latency BROKERS TOPIC OUT JARS [SECONDS]

append reads what the topic has and stops; latency runs for SECONDS. Prints one JSON object: events, seconds from the start of the
query to its end (the JVM's own start is left out), the memory that the JVM needed at most.
"""

import glob
import json
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

ROW = (
    "struct<id: bigint, customer_id: bigint, total: double, status: string, email: string, note: string, quantity: int,"
    " created_at: bigint, paid: boolean, sku: string, region: string, discount: double>"
)
EVENT = f"struct<before: {ROW}, after: {ROW}, op: string, source: struct<ts_ms: bigint>>"


def session(jars):
    return (
        SparkSession.builder.master("local[2]")
        .appName("lakemill-bench")
        .config("spark.jars", ",".join(sorted(glob.glob(f"{jars}/*.jar"))))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.driver.memory", "8g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )


def clean(records):
    """The same rows as transforms/clean: what leaves the filter becomes a delete, what enters it a create."""
    event = records.select(F.from_json(F.col("value").cast("string"), EVENT).alias("e"), "timestamp", "partition", "offset")
    kept = lambda image: F.coalesce(F.col(f"e.{image}.status") != "cancelled", F.lit(True))
    was, now, op = kept("before"), kept("after"), F.col("e.op")
    becomes = (
        F.when(op.isin("c", "r") & now, op)
        .when((op == "u") & now & was, "u")
        .when((op == "u") & now & ~was, "c")
        .when((op == "u") & ~now & was, "d")
        .when((op == "d") & was, "d")
    )
    row = F.when(op == "d", F.col("e.before")).otherwise(F.col("e.after"))
    rows = event.withColumn("_op", becomes).where("_op is not null").withColumn("row", row)
    masked = F.expr("concat(substring(email, 1, 1), '***', substring(email, instr(email, '@')))")
    return (
        rows.select(
            "row.*",
            "_op",
            F.timestamp_millis(F.col("e.source.ts_ms")).alias("_event_time"),
            F.col("timestamp").alias("_kafka_time"),
            F.col("partition").alias("_partition"),
            F.col("offset").alias("_offset"),
        )
        .withColumn("email", masked)
        .withColumn("gross", F.col("total") * 1.2)
    )


def memory_mib():
    """The largest resident set of the JVM."""
    pid = SparkSession.active()._jvm.java.lang.ProcessHandle.current().pid()
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))


def main():
    mode, brokers, topic, out, jars, *rest = sys.argv[1:]
    spark = session(jars)
    spark.sparkContext.setLogLevel("ERROR")
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", 500_000)
        .load()
    )
    sink = clean(records).writeStream.format("delta").option("checkpointLocation", f"{out}/checkpoint")
    sink = sink.trigger(availableNow=True) if mode == "append" else sink.trigger(processingTime="0 seconds")
    started = time.time()
    query = sink.start(f"{out}/orders")
    print("started", file=sys.stderr, flush=True)
    query.awaitTermination(None if mode == "append" else float(rest[0]))
    seconds = time.time() - started
    events = sum(progress["numInputRows"] for progress in query.recentProgress)
    rate = round(events / seconds)
    print(json.dumps({"kind": "spark", "events": events, "seconds": round(seconds, 2), "events_per_s": rate, "memory_mib": memory_mib()}))


main()
