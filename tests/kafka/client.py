"""The tests' own Kafka client: what Lakemill reads is put there, and looked at, without any code of Lakemill.

usage: client.py BROKERS create TOPIC PARTITIONS [KEY=VALUE...]   makes a topic
       client.py BROKERS produce [KEY=VALUE...]                   sends what standard input says, see `produce`
       client.py BROKERS ends TOPIC                               {partition: [first, end]}
       client.py BROKERS offsets TOPIC                            {partition: [offset, ...]} of committed records
       client.py BROKERS read TOPIC                               committed records, one JSON object a line
       client.py BROKERS truncate TOPIC PARTITION=OFFSET...       deletes the records before an offset
       client.py BROKERS recreate TOPIC PARTITIONS                deletes a topic and makes another one of its name
       client.py BROKERS members GROUP                            {member: [[topic, partition], ...]}
       client.py BROKERS committed GROUP TOPIC                    {partition: offset}, what the group has reported
"""

import base64
import json
import sys

import confluent_kafka as kafka
from confluent_kafka import admin as administration

SECONDS = 60


def settings(pairs):
    return dict(pair.split("=", 1) for pair in pairs)


def result(futures):
    for future in futures.values():
        return future.result(SECONDS)


def create(admin, topic, partitions, *pairs):
    config = settings(pairs)
    new = administration.NewTopic(topic, int(partitions), replication_factor=1, config=config)
    result(admin.create_topics([new], operation_timeout=SECONDS))
    # Made is not yet served: wait until every partition has a leader that answers.
    consumer = reader(admin.brokers)
    for partition in range(int(partitions)):
        for attempt in range(SECONDS * 10):
            try:
                consumer.get_watermark_offsets(kafka.TopicPartition(topic, partition), timeout=1)
                break
            except kafka.KafkaException:
                admin.poll(0.1)
    return {}


def produce(admin, *pairs):
    """Lines of standard input: {"topic", "partition", "key", "value", "time_ms"} with base64 or null for key and
    value, or "begin", "commit", "abort" of a transaction (with the setting transactional.id)."""
    config = {"bootstrap.servers": admin.brokers, "linger.ms": 5, "message.max.bytes": 33554432}
    config.update(settings(pairs))
    producer = kafka.Producer(config)
    if "transactional.id" in config:
        producer.init_transactions(SECONDS)
    errors, sent = [], 0

    def delivered(error, _):
        if error is not None:
            errors.append(str(error))

    actions = {
        "begin": producer.begin_transaction,
        "commit": lambda: producer.commit_transaction(SECONDS),
        "abort": lambda: (producer.flush(SECONDS), errors.clear(), producer.abort_transaction(SECONDS)),
    }
    for line in sys.stdin:
        record = json.loads(line)
        if isinstance(record, str):
            actions[record]()
            continue
        key, value = (None if record[part] is None else base64.b64decode(record[part]) for part in ("key", "value"))
        extra = {} if record.get("time_ms") is None else {"timestamp": record["time_ms"]}
        while True:
            try:
                producer.produce(record["topic"], value, key, record["partition"], on_delivery=delivered, **extra)
                break
            except BufferError:
                producer.poll(0.1)
        sent += 1
        producer.poll(0)
    left = producer.flush(SECONDS)
    if errors or left:
        sys.exit(f"{len(errors)} records were refused ({errors[:1]}), {left} not delivered")
    return {"sent": sent}


def reader(brokers, group="reader"):
    return kafka.Consumer({
        "bootstrap.servers": brokers,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.message.max.bytes": 33554432,
    })


def partitions_of(consumer, topic):
    return sorted(consumer.list_topics(topic, SECONDS).topics[topic].partitions)


def ends(admin, topic):
    consumer = reader(admin.brokers)
    at = {p: kafka.TopicPartition(topic, p) for p in partitions_of(consumer, topic)}
    return {p: consumer.get_watermark_offsets(place, timeout=SECONDS) for p, place in at.items()}


def records(admin, topic):
    consumer = reader(admin.brokers)
    partitions = partitions_of(consumer, topic)
    consumer.assign([kafka.TopicPartition(topic, p, kafka.OFFSET_BEGINNING) for p in partitions])
    open_ones = set(partitions)
    while open_ones:
        message = consumer.poll(SECONDS)
        if message is None:
            sys.exit(f"no answer from {admin.brokers} for {SECONDS} s")
        error = message.error()
        if error is None:
            yield message
        elif error.code() == kafka.KafkaError._PARTITION_EOF:
            open_ones.discard(message.partition())
        else:
            sys.exit(str(error))


def offsets(admin, topic):
    seen = {p: [] for p in partitions_of(reader(admin.brokers), topic)}
    for message in records(admin, topic):
        seen[message.partition()].append(message.offset())
    return seen


def read(admin, topic):
    for message in records(admin, topic):
        print(json.dumps({
            "partition": message.partition(),
            "offset": message.offset(),
            "time_ms": message.timestamp()[1],
            "key": None if message.key() is None else message.key().decode(errors="replace"),
            "value": None if message.value() is None else message.value().decode(errors="replace"),
        }))


def truncate(admin, topic, *before):
    at = [kafka.TopicPartition(topic, int(p), int(offset)) for p, offset in settings(before).items()]
    for future in admin.delete_records(at).values():
        future.result(SECONDS)
    return {}


def recreate(admin, topic, partitions):
    result(admin.delete_topics([topic], operation_timeout=SECONDS))
    for attempt in range(SECONDS * 10):
        try:
            return create(admin, topic, partitions)
        except kafka.KafkaException as error:
            # The name is not free yet.
            if error.args[0].code() != kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            admin.poll(0.1)
    sys.exit(f"{topic} was not made anew within {SECONDS} s")


def members(admin, group):
    described = result(admin.describe_consumer_groups([group]))
    return {
        member.member_id: [[at.topic, at.partition] for at in member.assignment.topic_partitions]
        for member in described.members
    }


def committed(admin, group, topic):
    consumer = reader(admin.brokers, group)
    at = [kafka.TopicPartition(topic, p) for p in partitions_of(consumer, topic)]
    return {place.partition: place.offset for place in consumer.committed(at, SECONDS) if place.offset >= 0}


def main():
    commands = {f.__name__: f for f in (create, produce, ends, offsets, read, truncate, recreate, members, committed)}
    if len(sys.argv) < 3 or sys.argv[2] not in commands:
        sys.exit(__doc__)
    brokers, command, *arguments = sys.argv[1:]
    admin = administration.AdminClient({"bootstrap.servers": brokers})
    admin.brokers = brokers
    answer = commands[command](admin, *arguments)
    if answer is not None:
        print(json.dumps(answer))


main()
