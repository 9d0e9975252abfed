//! `lakemill-bench`: measures the product as a user runs it, against a broker that is there. One verb a measurement; each
//! prints JSON lines, which bench/RESULTS.md quotes. `make bench` starts the broker and runs them all.

mod commits;
mod latency;
mod native;
mod pipeline;
mod produce;
mod save;
mod swap;
mod throughput;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    /// `host:port` of the broker.
    #[arg(long, global = true, default_value = "127.0.0.1:9092")]
    brokers: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Writes events into a new topic of 4 partitions and prints the topic's name.
    Produce(produce::Args),
    /// Runs `lakemill run --until-caught-up` and the native twin by turns over a topic; events/s, memory, stages.
    Throughput(throughput::Args),
    /// Runs a pipeline under a steady load; Kafka timestamp to commit.
    Latency(latency::Args),
    /// Saves a transform's Rust file again and again: from the save to the first commit by the new code.
    Save(save::Args),
    /// Replaces the component of a running pipeline again and again: what commits are apart where the code changes.
    Swap(swap::Args),
    /// Writes a steady load into a topic that is there.
    Load(latency::LoadArgs),
    /// The native twin itself: `clean` compiled into this process in place of its component.
    Native(native::Args),
}

fn main() -> anyhow::Result<()> {
    lakemill_cli::memory::settle();
    let cli = Cli::parse();
    match cli.verb {
        Verb::Produce(args) => {
            println!("{}", produce::produce(&cli.brokers, &args)?);
            Ok(())
        }
        Verb::Throughput(args) => throughput::run(&cli.brokers, &args),
        Verb::Latency(args) => latency::run(&cli.brokers, &args),
        Verb::Save(args) => save::run(&cli.brokers, &args),
        Verb::Swap(args) => swap::run(&cli.brokers, &args),
        Verb::Load(args) => latency::run_load(&cli.brokers, &args),
        Verb::Native(args) => native::run(&args),
    }
}
