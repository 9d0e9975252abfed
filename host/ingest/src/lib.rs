//! Sources of records: Kafka (the only door to rdkafka) and files.
