//! Kafka as a source, against real clusters: the embedded one always, and a broker of Apache Kafka where
//! `LAKEMILL_TEST_BROKERS` names one (topics with unique names are made there).

mod broker;
mod driver;
mod embedded;
mod group;
