//! From the text of a record to its payload and the layout that fits it.

use std::sync::Arc;

use lakemill_model::RawRecord;

use super::{Alone, Run, SchemaMode, Stop, inline_layout, key};
use crate::control::ControlKind;
use crate::framing::{Frame, split};
use crate::layout::Layout;
use crate::reason::Reason;
use crate::scan::{Broken, Cursor, Kind};

/// A record whose payload was found.
pub(super) struct Opened<'a> {
    pub payload: Cursor<'a>,
    /// What must follow it.
    pub closing: fn(&mut Cursor<'a>) -> Result<(), Broken>,
    pub layout: Arc<Layout>,
    /// The schema part, if it was looked at.
    pub schema: Option<&'a str>,
    /// Whether the value is `{"payload": …}`.
    pub alone: Alone,
}

impl<'a> Run<'a> {
    /// Takes a frame that begins like the last one of its topic to be the same.
    pub(super) fn open_like_the_last(
        &self,
        record: &RawRecord,
        value: &'a str,
        key: Option<&str>,
    ) -> Option<Opened<'a>> {
        let topic = &self.topics[usize::from(record.topic)];
        let is_alike =
            !topic.prefix.is_empty() && value.starts_with(&*topic.prefix) && key::schema(key) == &*topic.key_schema;
        let layout = topic.inline.clone().filter(|_| is_alike)?;
        let mut payload = Cursor::new(value, self.decoder.config.depth_max);
        payload.seek(topic.prefix.len());
        Some(Opened { payload, closing: close_frame, layout, schema: None, alone: Alone(false) })
    }

    /// Finds the payload and the layout that fits it.
    pub(super) fn open(
        &mut self,
        index: usize,
        record: &RawRecord,
        value: &'a str,
        key: Option<&'a str>,
    ) -> Result<Opened<'a>, Stop> {
        let depth_max = self.decoder.config.depth_max;
        let mut cursor = Cursor::new(value, depth_max);
        let frame = split(value, depth_max)?;
        if let Frame::Framed { payload, .. } = frame {
            cursor.seek(payload);
        }
        let alone = match frame {
            Frame::Framed { alone, .. } => alone,
            Frame::Bare => Alone(false),
        };
        // A row may have one column, `payload`, that is null: then its key is no frame.
        if cursor.kind()? == Kind::Null && (alone == Alone(false) || key::is_alone(key, depth_max)) {
            if frame == Frame::Bare {
                cursor.skip()?;
                cursor.end()?;
            }
            return Err(Stop::Control(ControlKind::Tombstone, None));
        }
        match frame {
            Frame::Bare => {
                let layout = self.bare(index, record)?;
                Ok(Opened { payload: cursor, closing: Cursor::end, layout, schema: None, alone })
            }
            Frame::Framed { schema: None, .. } => {
                let layout = self.bare(index, record)?;
                Ok(Opened { payload: cursor, closing: nothing, layout, schema: None, alone })
            }
            Frame::Framed { schema: Some(schema), payload, schema_first, .. } => {
                let layout = Arc::new(inline_layout(schema, key, self.decoder.config.out_of_range)?);
                let topic = &mut self.topics[usize::from(record.topic)];
                let layout = topic.inline.clone().filter(|known| **known == *layout).unwrap_or(layout);
                topic.inline = Some(layout.clone());
                if schema_first {
                    topic.prefix = value[..payload].into();
                    topic.key_schema = key::schema(key).into();
                }
                Ok(Opened { payload: cursor, closing: nothing, layout, schema: Some(schema), alone })
            }
        }
    }

    /// The layout of records without a schema part.
    fn bare(&mut self, index: usize, record: &RawRecord) -> Result<Arc<Layout>, Stop> {
        let at = usize::from(record.topic);
        if let Some(layout) = &self.topics[at].bare {
            return Ok(layout.clone());
        }
        let layout = match (&self.decoder.config.mode, &self.decoder.declared) {
            (SchemaMode::Inline, _) => {
                return Err(Reason::Schema(
                    "no schema part, but `source.schema: inline` says that every record brings one".into(),
                )
                .into());
            }
            (_, Some(declared)) => declared.clone(),
            (_, None) => match self.decoder.known(&self.raw.topics()[at]) {
                Some(known) => known,
                None => {
                    // All that the batch has: what an order of records shows first is to make no difference.
                    let sample = self.decoder.sample(self.raw, index, record.topic, usize::MAX);
                    self.decoder
                        .inferred(&self.raw.topics()[at], sample.schema(crate::infer::By::Batch))
                        .map_err(Stop::Error)?
                }
            },
        };
        self.topics[at].bare = Some(layout.clone());
        Ok(layout)
    }
}

/// After a payload that was found by its prefix: the end of the frame.
fn close_frame(cursor: &mut Cursor<'_>) -> Result<(), Broken> {
    cursor.space();
    if !cursor.take(b'}') {
        return cursor.broken("expected } after the payload");
    }
    cursor.end()
}

/// After a payload whose frame has been read to its end already.
#[allow(clippy::unnecessary_wraps, reason = "one of several that are chosen from")]
fn nothing(_: &mut Cursor<'_>) -> Result<(), Broken> {
    Ok(())
}
