//! The application ids of Delta `txn` actions, which hold a pipeline's positions. Pure names: never what they hold.
//!
//! ```text
//! lakemill/<tenant>/<pipeline>/<sink>/<topic>/<partition>   rows before this offset are in the table
//! lakemill/<tenant>/<pipeline>/done/<topic>/<partition>     rows before this offset are in every sink of the pipeline
//! lakemill/<tenant>/<pipeline>/epoch/<topic>/<partition>    how often the partition was taken over
//! ```
//!
//! Names are percent-encoded byte by byte but for `A-Z a-z 0-9 - . _ ~` (RFC 3986's unreserved characters), so that `/` only
//! separates; a sink that is called `done` or `epoch` has its first letter encoded, too. So an id reads back in one way.

use std::fmt::Write as _;

use lakemill_model::TopicPartition;

const ROOT: &str = "lakemill";
const DONE: &str = "done";
const EPOCH: &str = "epoch";

/// Which number of a partition an id stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppIdKind {
    /// What the named sink holds.
    Held(String),
    /// What every sink of the pipeline holds.
    Done,
    /// Who owns it.
    Epoch,
}

/// An application id, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppId {
    /// Whose pipeline.
    pub tenant: String,
    /// Which pipeline.
    pub pipeline: String,
    /// Which number.
    pub kind: AppIdKind,
    /// Of what.
    pub partition: TopicPartition,
}

impl AppId {
    /// Reads an id; `None` if it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        if parts.next()? != ROOT {
            return None;
        }
        let (tenant, pipeline) = (decode(parts.next()?)?, decode(parts.next()?)?);
        let kind = match parts.next()? {
            DONE => AppIdKind::Done,
            EPOCH => AppIdKind::Epoch,
            sink => AppIdKind::Held(decode(sink)?),
        };
        let partition = TopicPartition::new(decode(parts.next()?)?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { tenant, pipeline, kind, partition })
    }
}

/// The ids of one sink of one pipeline.
#[derive(Clone, Debug)]
pub(crate) struct AppIds {
    pipeline: String,
    sink: String,
}

impl AppIds {
    pub(crate) fn new(tenant: &str, pipeline: &str, sink: &str) -> Self {
        let pipeline = format!("{ROOT}/{}/{}", encode(tenant), encode(pipeline));
        let sink = match sink {
            DONE | EPOCH => format!("%{:02X}{}", sink.as_bytes()[0], &sink[1..]),
            _ => encode(sink),
        };
        Self { pipeline, sink }
    }

    /// What all ids of the pipeline begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}/", self.pipeline)
    }

    pub(crate) fn held(&self, tp: &TopicPartition) -> String {
        self.id(&self.sink, tp)
    }

    pub(crate) fn done(&self, tp: &TopicPartition) -> String {
        self.id(DONE, tp)
    }

    pub(crate) fn epoch(&self, tp: &TopicPartition) -> String {
        self.id(EPOCH, tp)
    }

    fn id(&self, kind: &str, tp: &TopicPartition) -> String {
        format!("{}/{kind}/{}/{}", self.pipeline, encode(&tp.topic), tp.partition)
    }
}

fn encode(name: &str) -> String {
    percent_encode(name, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// `text` with every byte that is not `plain` as `%` and two hex digits.
pub(crate) fn percent_encode(text: &str, plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        let mut bytes = [0; 4];
        let bytes = letter.encode_utf8(&mut bytes).bytes();
        if bytes.clone().all(&plain) {
            out.push(letter);
        } else {
            bytes.for_each(|byte| write!(out, "%{byte:02X}").expect("a String takes everything"));
        }
    }
    out
}

/// A name as [`encode`] writes it, and nothing else: unlike in `blame::decode`, every `%` begins a byte.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_readable() {
        let ids = AppIds::new("default", "orders", "orders");
        let tp = TopicPartition::new("shop.public.orders", 7);
        assert_eq!(ids.held(&tp), "lakemill/default/orders/orders/shop.public.orders/7");
        assert_eq!(ids.done(&tp), "lakemill/default/orders/done/shop.public.orders/7");
        assert_eq!(ids.epoch(&tp), "lakemill/default/orders/epoch/shop.public.orders/7");
        assert!(ids.held(&tp).starts_with(&ids.prefix()));
    }

    #[test]
    fn any_name_reads_back_and_no_two_ids_are_the_same() {
        let names = &["a", "a/b", "a%2Fb", "done", "epoch", "%64one", "lakemill", "", " ", "münchen", "100%", "a//b"];
        let triples =
            names.iter().flat_map(|p| names.iter().flat_map(move |s| names.iter().map(move |t| (*p, *s, *t))));
        let mut seen = std::collections::HashSet::new();
        for (pipeline, sink, topic) in triples {
            let ids = AppIds::new("t/x", pipeline, sink);
            let tp = TopicPartition::new(topic, 3);
            let expected = |kind| {
                let (tenant, pipeline, partition) = ("t/x".to_owned(), pipeline.to_owned(), tp.clone());
                Some(AppId { tenant, pipeline, kind, partition })
            };
            assert_eq!(AppId::parse(&ids.held(&tp)), expected(AppIdKind::Held(sink.to_owned())));
            assert_eq!(AppId::parse(&ids.done(&tp)), expected(AppIdKind::Done));
            assert_eq!(AppId::parse(&ids.epoch(&tp)), expected(AppIdKind::Epoch));
            assert!(seen.insert(ids.held(&tp)), "{} stands for two things", ids.held(&tp));
        }
    }

    #[test]
    fn other_peoples_ids_are_not_ours() {
        for id in [
            "",
            "spark",
            "lakemill",
            "lakemill/t/p/s/topic",
            "lakemill/t/p/s/topic/x",
            "lakemill/t/p/s/a/1/2",
            "lakemill/t/p/s/%zz/1",
            "lakemill/t/p/s/%/1",
            "lakemill/t/p/s/%FF/1",
            "other/t/p/s/topic/1",
        ] {
            assert_eq!(AppId::parse(id), None, "{id}");
        }
    }
}
