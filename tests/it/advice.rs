//! The advice in refusals, followed: each provokes an error, does what it says, and is accepted.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::places;
use lakemill_tests::process::{Finished, Lakemill};

/// A pipeline file that is fine, beside `flatten.wasm` and `clean.wasm`.
const GOOD: &str = "\
pipeline: orders
source:
  kafka: { brokers: 'localhost:9092', topics: [shop.public.orders] }
transforms:
  - component: ./clean.wasm
    config: { tax_rate: 0.2 }
sinks:
  orders: { delta: { path: ./lake/orders } }
dead_letters: { delta: { path: ./lake/_dead } }
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for guest in ["flatten", "clean"] {
            std::fs::copy(places::guest(guest)?, folder.path().join(format!("{guest}.wasm")))?;
        }
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn lakemill(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Finished> {
        let given = |command: &mut Command| {
            command.current_dir(self.path()).envs(variables.iter().copied());
        };
        Lakemill::start_with(arguments, given)?.finish()
    }

    fn validate(&self, text: &str, variables: &[(&str, &str)]) -> Result<Finished> {
        std::fs::write(self.path().join("pipeline.yaml"), text)?;
        self.lakemill(&["validate", "pipeline.yaml"], variables)
    }
}

/// What a refusal says, and edits of [`GOOD`]: the mistake, and what the refusal says to write in its place; one of several.
type Advice<'a> = (&'a str, (&'a str, &'a str), &'a [(&'a str, &'a str)]);

fn edited(text: &str, (old, new): (&str, &str)) -> Result<String> {
    ensure!(text.contains(old), "no `{old}` in\n{text}");
    Ok(text.replacen(old, new, 1))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of refusals")]
fn what_a_refusal_of_a_file_says_to_write_is_accepted() -> Result<()> {
    let folder = Folder::new()?;
    folder.validate(GOOD, &[])?.expect(0, &[])?;
    let brokers = "brokers: 'localhost:9092'";
    let all: &[Advice<'_>] = &[
        ("3:39: unknown key `topcis`: did you mean `topics`?", ("topics:", "topcis:"), &[("topcis", "topics")]),
        (
            "unknown choice `lates`: did you mean `latest`?",
            (brokers, "start: lates, brokers: h"),
            &[("lates,", "latest,")],
        ),
        (
            "`soon` is not a time span: write 200ms, 10s, 5m or 1h",
            ("sinks:", "watermark: { delay: soon }\nsinks:"),
            &[("soon", "200ms"), ("soon", "10s"), ("soon", "5m"), ("soon", "1h")],
        ),
        (
            "`lots` is not a size: write 64MiB, 500KB or a number of bytes",
            ("sinks:", "batch: { bytes_max: lots }\nsinks:"),
            &[("lots", "64MiB"), ("lots", "500KB"), ("lots", "1000")],
        ),
        (
            "10:20: `batch.rows_max` is 0: it must be from 1 to 1000000",
            ("dead_letters:", "# a comment\nbatch: { rows_max: 0 }\ndead_letters:"),
            &[("max: 0", "max: 1"), ("max: 0", "max: 1000000")],
        ),
        (
            "`yesterday` is not a time: write it like 2026-01-31T12:00:00Z",
            (brokers, "start: { timestamp: yesterday }, brokers: h"),
            &[("yesterday", "2026-01-31T12:00:00Z")],
        ),
        ("`pipeline` is there twice: keep one", ("sinks:", "pipeline: a\nsinks:"), &[("pipeline: a\n", "")]),
        (
            "the name `Orders!` must be 1 to 64 characters of a-z, 0-9, _ and -",
            ("pipeline: orders", "pipeline: Orders!"),
            &[("Orders!", "a-z_0-9")],
        ),
        (
            "`sinks.orders` needs exactly one of `delta`, `parquet` and `console`, or the word `discard`",
            ("{ delta: { path: ./lake/orders } }", "{}"),
            &[
                ("{}", "{ delta: { path: x } }"),
                ("{}", "{ parquet: { path: x } }"),
                ("{}", "{ console: {} }"),
                ("{}", "discard"),
            ],
        ),
        (
            "`drop` is no sink: write `{ delta: { path: ./lake/orders } }`, or `discard`",
            ("{ delta: { path: ./lake/orders } }", "drop"),
            &[("drop", "{ delta: { path: ./lake/orders } }"), ("drop", "discard")],
        ),
        (
            "have the same path `./lake/orders`: each needs its own",
            ("./lake/_dead", "./lake/orders"),
            &[("./lake/orders", "./lake/other")],
        ),
        (
            "8:28: `sinks.orders.delta.path`: s3://bucket/orders: s3 is not supported yet; give a folder of the local file system, as a path or a \
             file:// URL",
            ("./lake/orders", "s3://bucket/orders"),
            &[("s3://bucket/orders", "/bucket/orders"), ("s3://bucket/orders", "file:///bucket/orders")],
        ),
        (
            "5:16: component ./claen.wasm: there is no such file; did you mean clean.wasm",
            ("clean.wasm", "claen.wasm"),
            &[("claen.wasm", "clean.wasm")],
        ),
        (
            "8:3: `sinks.order`: no component writes an output of that name: did you mean `orders`? There are: orders",
            ("  orders:", "  order:"),
            &[("order:", "orders:")],
        ),
        (
            "5:16: component clean writes the output `orders`, but `sinks` has no entry of that name: add one, or throw its rows away with \
             `orders: discard`; no component writes xyz",
            ("  orders:", "  xyz:"),
            &[("  xyz:", "  orders:"), ("  xyz: { delta: { path: ./lake/orders } }", "  orders: discard")],
        ),
        (
            "8:3: `sinks.extra`: no component writes an output of that name.",
            ("  orders:", "  extra: { console: {} }\n  orders:"),
            &[("  extra: { console: {} }\n", "")],
        ),
        (
            "6:15: component ./clean.wasm: the component refuses its configuration: `config` has no setting `taxrate`; it has `dropped`, \
             `tax_rate`, `columns`; did you mean `tax_rate`?",
            ("tax_rate", "taxrate"),
            &[("taxrate", "tax_rate")],
        ),
        (
            "6:25: component ./clean.wasm: the component refuses its configuration: `config.tax_rate` must be a number, not \"0.2\"",
            ("0.2", "'0.2'"),
            &[("'0.2'", "0.2")],
        ),
        (
            "6:13: component ./clean.wasm: it imports `lakemill:transform/config@0.1.0`, which the pipeline file does not grant: write `grants: [config]` for this transform",
            ("    config:", "    grants: []\n    config:"),
            &[("grants: []", "grants: [config]")],
        ),
        (
            "property `sasl.pasword`: No such configuration property",
            (brokers, "brokers: h, properties: { sasl.pasword: x }"),
            &[("sasl.pasword", "sasl.password")],
        ),
        (
            "property `sasl.mechanism`: OAUTHBEARER isn't supported; use SCRAM-SHA-512, PLAIN or TLS certificates",
            (brokers, "brokers: h, properties: { sasl.mechanism: OAUTHBEARER }"),
            &[
                ("OAUTHBEARER", "SCRAM-SHA-512"),
                ("OAUTHBEARER", "PLAIN"),
                (
                    "sasl.mechanism: OAUTHBEARER",
                    "security.protocol: ssl, ssl.certificate.location: c, ssl.key.location: k",
                ),
            ],
        ),
        (
            "property `group.id` is not yours to set: set `group`",
            (brokers, "brokers: h, properties: { group.id: x }"),
            &[("properties: { group.id: x }", "group: x")],
        ),
        (
            "property `auto.offset.reset` is not yours to set: set `start`, and `on_data_loss`",
            (brokers, "brokers: h, properties: { auto.offset.reset: latest }"),
            &[("properties: { auto.offset.reset: latest }", "start: latest, on_data_loss: continue")],
        ),
        (
            "property `bootstrap.servers` is not yours to set: set `brokers`",
            (brokers, "brokers: h, properties: { bootstrap.servers: x }"),
            &[(", properties: { bootstrap.servers: x }", "")],
        ),
        (
            "`source` needs exactly one of `kafka` and `files`",
            ("  kafka:", "  files: { paths: [a] }\n  kafka:"),
            &[("  files: { paths: [a] }\n", "")],
        ),
        (
            "`transforms` is empty: name at least one component",
            ("transforms:\n  - component: ./clean.wasm\n    config: { tax_rate: 0.2 }", "transforms: []"),
            &[("transforms: []", "transforms: [{ component: clean.wasm }]")],
        ),
        (
            "`sinks` is empty: say where each output of the transforms goes",
            ("sinks:\n  orders: { delta: { path: ./lake/orders } }", "sinks: {}"),
            &[("sinks: {}", "sinks: { orders: { delta: { path: ./lake/orders } } }")],
        ),
    ];
    let followed = |(says, mistake, remedies): &Advice<'_>| -> Result<()> {
        let wrong = edited(GOOD, *mistake)?;
        let refused = folder.validate(&wrong, &[])?;
        refused.expect(2, &["error: pipeline.yaml:"]).with_context(|| wrong.clone())?;
        let said = refused.stderr.replace("error: pipeline.yaml:", "");
        ensure!(said.contains(says), "{wrong}\nsays {said}instead of {says}");
        for remedy in *remedies {
            let mended = edited(&wrong, *remedy)?;
            folder.validate(&mended, &[])?.expect(0, &["is valid"]).with_context(|| format!("{says}\n{mended}"))?;
        }
        Ok(())
    };
    all_hold(all.iter().map(followed))
}

/// Shows all that do not hold, and not only the first.
fn all_hold(results: impl Iterator<Item = Result<()>>) -> Result<()> {
    let wrong: Vec<String> = results.filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n----\n"));
    Ok(())
}

#[test]
fn types_that_a_refusal_lists_are_accepted() -> Result<()> {
    let folder = Folder::new()?;
    let with = |of: &str| {
        let (old, new) = ("transforms:", format!("  schema: {{ row: [{{ name: id, type: \"{of}\" }}] }}\ntransforms:"));
        edited(GOOD, (old, &new))
    };
    let refused = folder.validate(&with("bigint")?, &[])?;
    refused.expect(2, &["`bigint` is not a type; write "])?;
    let list =
        refused.stderr.split("; write ").nth(1).and_then(|rest| rest.split(" with ").next()).context("a list")?;
    let list = list.replace("decimal(precision,scale)", "decimal(12;2)");
    let types: Vec<&str> = list.trim().split([',', ' ']).filter(|word| !word.is_empty() && *word != "or").collect();
    ensure!(types.len() >= 10, "{types:?}");
    for of in types {
        folder.validate(&with(&of.replace(';', ","))?, &[])?.expect(0, &[]).with_context(|| of.to_owned())?;
    }
    Ok(())
}

#[test]
fn references_are_written_as_refusals_say() -> Result<()> {
    let folder = Folder::new()?;
    std::fs::write(folder.path().join("rate"), "0.25\n")?;
    let with = |rate: &str| edited(GOOD, ("{ tax_rate: 0.2 }", &format!("{{ tax_rate: \"{rate}\" }}")));
    let there = [("LAKEMILL_TEST_RATE", "0.3")];
    let all = [
        (
            "${LAKEMILL_TEST_RATE}",
            "6:26: `${LAKEMILL_TEST_RATE}` names nothing; did you mean `${env:LAKEMILL_TEST_RATE}`?",
            "${env:LAKEMILL_TEST_RATE|number}",
        ),
        ("$env{LAKEMILL_TEST_RATE}", "did you mean `${env:LAKEMILL_TEST_RATE}`?", "${env:LAKEMILL_TEST_RATE|number}"),
        ("${ENV:LAKEMILL_TEST_RATE}", "did you mean `${env:LAKEMILL_TEST_RATE}`?", "${env:LAKEMILL_TEST_RATE|number}"),
        (
            "${env:LAKEMILL_TEST_RATE:-1}",
            "write ${env:LAKEMILL_TEST_RATE}; there are no defaults",
            "${env:LAKEMILL_TEST_RATE|number}",
        ),
        (
            "${env:LAKEMILL_TEST_RATE|int}",
            "write `|number`, `|boolean`, or neither",
            "${env:LAKEMILL_TEST_RATE|number}",
        ),
        ("${File:rate}", "did you mean `${file:rate}`?", "${file:rate|number}"),
    ];
    let followed = |(mistake, says, remedy): &(&str, &str, &str)| -> Result<()> {
        let refused = folder.validate(&with(mistake)?, &there)?;
        refused.expect(2, &[says, "pipeline.yaml:6:26: "]).with_context(|| (*mistake).to_owned())?;
        folder.validate(&with(remedy)?, &there)?.expect(0, &[]).with_context(|| (*mistake).to_owned())
    };
    all_hold(all.iter().map(followed))?;
    // A text where a number is wanted says where.
    folder
        .validate(&with("${env:LAKEMILL_TEST_RATE}")?, &there)?
        .expect(2, &["6:25: ", "must be a number", "|number"])?;
    // Not set: set it, or leave it out.
    let text = with("${env:LAKEMILL_TEST_RATE|number}")?;
    folder.validate(&text, &[])?.expect(2, &["6:26: ", "LAKEMILL_TEST_RATE is not set", "--no-env"])?;
    folder.validate(&text, &there)?.expect(0, &[])?;
    // In a path, a topic, a number; and a `${` that is one.
    let text = edited(GOOD, ("./lake/orders", "${env:LAKEMILL_TEST_RATE}"))?;
    let text = edited(&text, ("path: ${env:LAKEMILL_TEST_RATE}", "path: \"$${x}/${env:LAKEMILL_TEST_RATE}\""))?;
    folder.validate(&text, &[])?.expect(2, &["8:35: ", "is not set"])?;
    folder.validate(&text, &there)?.expect(0, &[])?;
    let no_env = folder.lakemill(&["validate", "pipeline.yaml", "--no-env"], &[])?;
    no_env.expect(0, &["is valid"])?;
    let text =
        edited(GOOD, ("sinks:", "batch: { rows_max: \"${env:LAKEMILL_TEST_ROWS}\", latency_ms_max: no }\nsinks:"))?;
    folder.validate(&text, &[("LAKEMILL_TEST_ROWS", "5000")])?.expect(2, &["7:65: ", "found `no`"])?;
    let text = edited(&text, ("no }", "5 }"))?;
    folder.validate(&text, &[("LAKEMILL_TEST_ROWS", "5000")])?.expect(0, &[])?;
    let many = folder.validate(&text, &[("LAKEMILL_TEST_ROWS", "very-many")])?;
    many.expect(2, &["7:20: ", "${env:LAKEMILL_TEST_ROWS}"])?;
    ensure!(!many.said().contains("very-many"), "{}", many.said());
    Ok(())
}

#[test]
fn broken_yaml_is_shown_with_its_line_and_what_to_do() -> Result<()> {
    let folder = Folder::new()?;
    type Case<'a> = ((&'a str, &'a str), (&'a str, &'a str), &'a str, &'a str);
    let all: [Case<'_>; 11] = [
        (
            ("  - component", " - component"),
            (" - component", "  - component"),
            "6:5",
            "indented by 4 spaces, and line 5 above it, by 3, has its value already",
        ),
        (
            ("    config:", "   config:"),
            ("   config:", "    config:"),
            "6:4",
            "indented by 3 spaces: with the lines above it, it can only be 4",
        ),
        (("    config:", "     config:"), ("     config:", "    config:"), "6:6", "has its value already"),
        (
            ("    config:", "\tconfig:"),
            ("\tconfig:", "    config:"),
            "6:1",
            "a tab in the indentation: YAML takes spaces only",
        ),
        (("orders: {", "orders: a: {"), ("orders: a: {", "orders: {"), "8:12", "a second `: ` in one line"),
        (("orders } }", "orders }"), ("orders }", "orders } }"), "9:1", "its `}` is missing"),
        (
            ("[shop.public.orders]", "[shop.public.orders"),
            ("public.orders", "public.orders]"),
            "3:47",
            "a `[` is closed by `}`",
        ),
        (
            ("'localhost:9092'", "'localhost:9092"),
            ("'localhost:9092", "'localhost:9092'"),
            "3:21",
            "quotation mark is not closed",
        ),
        (("./lake/orders", "@lake/orders"), ("@lake/orders", "\"@lake/orders\""), "8:28", "put quotes around it"),
        (("0.2", "${env:HOME}"), ("${env:HOME}", "0.2"), "6:26", "put quotes around \"${...}\""),
        (("sinks:", "sinks"), ("sinks", "sinks:"), "7:1", "a `:` is missing: write `key: value`"),
    ];
    let shown = |(mistake, remedy, place, says): &Case<'_>| -> Result<()> {
        let wrong = edited(GOOD, *mistake)?;
        let refused = folder.validate(&wrong, &[])?;
        refused.expect(2, &["error: pipeline.yaml:", "^"]).with_context(|| wrong.clone())?;
        let said = &refused.stderr;
        ensure!(said.contains(says) && said.contains(&format!("pipeline.yaml:{place}: ")), "{wrong}\nsays {said}");
        folder.validate(&edited(&wrong, *remedy)?, &[])?.expect(0, &[]).with_context(|| said.clone())
    };
    all_hold(all.iter().map(shown))
}

#[test]
fn a_file_that_is_not_there_may_be_another_one() -> Result<()> {
    let folder = Folder::new()?;
    folder.validate(GOOD, &[])?.expect(0, &[])?;
    let refused = folder.lakemill(&["validate", "pipline.yaml"], &[])?;
    let home = folder.path().display().to_string();
    refused.expect(2, &["error: pipline.yaml: ", "did you mean pipeline.yaml", &home])?;
    folder.lakemill(&["validate", "pipeline.yaml"], &[])?.expect(0, &[])?;
    let refused = folder.lakemill(&["validate", "conf/pipeline.yaml"], &[])?;
    refused.expect(2, &["there is no folder", &format!("{home}/conf")])
}

#[test]
fn what_the_command_line_says_to_write_works() -> Result<()> {
    let folder = Folder::new()?;
    folder.validate(GOOD, &[])?.expect(0, &[])?;
    // A level of the log.
    let refused = folder.lakemill(&["validate", "pipeline.yaml"], &[("LAKEMILL_LOG", "bogus")])?;
    refused.expect(2, &["LAKEMILL_LOG has `bogus`", "off, error, warn, info, debug, trace"])?;
    for level in ["off", "debug", "info,lakemill_ingest=debug,wasmtime=info"] {
        folder.lakemill(&["validate", "pipeline.yaml"], &[("LAKEMILL_LOG", level)])?.expect(0, &[]).context(level)?;
    }
    // A component that needs no configuration, and one by hand.
    folder.lakemill(&["inspect", "clean.wasm"], &[])?.expect(0, &["output orders"])?;
    let refused = folder.lakemill(&["inspect", "clean.wasm", "--config", "{\"tax\": 1}"], &[])?;
    refused.expect(0, &["no description: ", "`config` has no setting `tax`", "--config"])?;
    folder
        .lakemill(&["inspect", "clean.wasm", "--config", "tax_rate=1"], &[])?
        .expect(2, &["write --config '{\"tax_rate\": 0.2}'"])?;
    let given = folder.lakemill(&["inspect", "clean.wasm", "--config", "{\"tax_rate\": 0.2}"], &[])?;
    given.expect(0, &["output orders"])?;
    // The pipeline file's configuration is used where there is one.
    folder.validate(&edited(GOOD, ("tax_rate: 0.2", "taxes: 1"))?, &[])?.expect(2, &["`taxes`"])?;
    folder.lakemill(&["inspect", "clean.wasm"], &[])?.expect(0, &["no description: ", "`taxes`"])?;
    folder.lakemill(&["inspect", "flatten.wasm"], &[])?.expect(0, &["output changes"])?;
    // A folder without a transform.
    folder.lakemill(&["build"], &[])?.expect(2, &["`lakemill new NAME` makes a transform"])?;
    folder.lakemill(&["new", "My_Orders"], &[])?.expect(2, &["lower-case letters, digits and hyphens"])?;
    folder.lakemill(&["new", "my-orders"], &[])?.expect(0, &[])?;
    folder.lakemill(&["new", "my-orders"], &[])?.expect(2, &["choose another name"])?;
    folder.lakemill(&["new", "my-orders-2"], &[])?.expect(0, &[])
}

/// The pipeline of [`GOOD`] over a file, so that it runs.
fn over_files(folder: &Folder) -> Result<String> {
    std::fs::write(
        folder.path().join("events.jsonl"),
        r#"{"op":"c","before":null,"after":{"id":1,"status":"new","email":"a@b.c","total":10.5},"source":{"ts_ms":1},"ts_ms":1}"#.to_owned() + "\n",
    )?;
    edited(
        GOOD,
        (
            "kafka: { brokers: 'localhost:9092', topics: [shop.public.orders] }",
            "files: { paths: [events.jsonl], topic: shop.public.orders }",
        ),
    )
}

#[test]
fn options_may_come_before_the_file() -> Result<()> {
    let folder = Folder::new()?;
    std::fs::write(folder.path().join("pipeline.yaml"), over_files(&folder)?)?;
    for options in [
        &["--watch"][..],
        &["--watch=poll"],
        &["--watch=notify", "--shadow"],
        &["--shadow"],
        &["--canary", "10"],
        &["--watch", "--until-caught-up"],
    ] {
        for before in [true, false] {
            let arguments = match before {
                true => [&["run"], options, &["pipeline.yaml"]].concat(),
                false => [&["run", "pipeline.yaml"], options].concat(),
            };
            folder.lakemill(&arguments, &[])?.expect(0, &[]).with_context(|| arguments.join(" "))?;
        }
    }
    folder.lakemill(&["run", "--watch=often", "pipeline.yaml"], &[])?.expect(2, &["notify", "poll"])
}

#[test]
fn an_output_can_be_thrown_away() -> Result<()> {
    let folder = Folder::new()?;
    let text = edited(&over_files(&folder)?, ("{ delta: { path: ./lake/orders } }", "discard"))?;
    std::fs::write(folder.path().join("pipeline.yaml"), text)?;
    let report = folder.lakemill(&["run", "pipeline.yaml", "--json"], &[])?.report()?;
    ensure!(report["rows_in"] == 1 && report["rows_out"] == 1 && report["rows_dead"] == 0, "{report}");
    ensure!(!folder.path().join("lake/orders").exists(), "a table was made");
    Ok(())
}

/// The state folder of a pipeline is found whatever else is wrong with its file, and without its secrets.
#[test]
fn a_running_pipeline_is_asked_without_its_secrets() -> Result<()> {
    let folder = Folder::new()?;
    let text = edited(GOOD, ("0.2", "\"${env:LAKEMILL_TEST_RATE|number}\""))?;
    std::fs::write(folder.path().join("pipeline.yaml"), text + "unknown: 1\n")?;
    for command in ["status", "reload", "resume", "promote", "rollback", "tap"] {
        folder
            .lakemill(&[command, "pipeline.yaml"], &[])?
            .expect(3, &["`orders` does not run here"])
            .context(command)?;
    }
    std::fs::write(folder.path().join("pipeline.yaml"), "pipeline: ${env:LAKEMILL_TEST_NAME}\n")?;
    folder.lakemill(&["status", "pipeline.yaml"], &[])?.expect(2, &["pipeline.yaml:1:11", "is not set"])?;
    folder.lakemill(&["status", "pipeline.yaml"], &[("LAKEMILL_TEST_NAME", "x")])?.expect(3, &["`x` does not run"])
}
