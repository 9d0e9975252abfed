//! The records' way out of librdkafka: a queue of our own that the partitions feed, emptied by a callback per
//! record.
//!
//! `BaseConsumer::poll` takes a lock, two clock readings and an allocation per record; a queue's callback
//! takes the lock once for all that wait (measured: 0.56 instead of 0.88 us of the reader's time per record
//! of 741 bytes). Rebalances, logs and answers to commits still come by `BaseConsumer::poll`: this queue
//! holds records, ends of partitions and their errors only.
//!
//! And what rdkafka has no call for: the ids of topics, and the ends of partitions for a client that is no consumer. All `unsafe` of the crate is here.

use std::ffi::{CStr, CString, c_int, c_void};
use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use lakemill_model::{RecordRef, TopicPartition};
use rdkafka::bindings as rd;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::connection::{Connection, Witness};

/// What a partition has to say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fetched<'a> {
    /// A record.
    Record(RecordRef<'a>),
    /// There is nothing to read before `next`, and nothing after it yet: the position past control records,
    /// records of aborted transactions, and those that compaction removed.
    End { topic: &'a str, partition: i32, next: i64 },
    /// It can't be read.
    Failed { topic: &'a str, partition: i32, code: RDKafkaErrorCode, reason: &'a str },
}

/// A queue of librdkafka that only we read.
pub(super) struct RecordQueue {
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// The queue belongs to this client and must go first.
    consumer: Arc<Connection>,
}

// SAFETY: librdkafka's queues are guarded by their own locks (INTRODUCTION.md, "Threads and callbacks").
#[expect(unsafe_code, reason = "a handle of a library that is thread-safe")]
unsafe impl Send for RecordQueue {}

impl RecordQueue {
    /// A queue that nothing feeds yet.
    #[expect(unsafe_code, reason = "rdkafka has no safe call for it")]
    pub fn new(consumer: Arc<Connection>) -> Self {
        // SAFETY: the client is alive; it outlives the queue because we hold it.
        let queue = unsafe { rd::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).expect("librdkafka aborts if it has no memory");
        Self { queue, consumer }
    }

    /// Makes `tp` feed this queue instead of the consumer's. To be called before the partition is assigned
    /// (it must never feed the other one) and after (stopping an earlier assignment cuts the connection).
    ///
    /// Assigning answers after all that was asked before has been done, so that no cut is left to come:
    /// partitions are always unassigned first, in a call of its own.
    #[expect(unsafe_code, reason = "rdkafka has a queue per partition only")]
    pub fn feed_from(&self, tp: &TopicPartition) {
        let Ok(topic) = CString::new(tp.topic.as_bytes()) else { return };
        // SAFETY: client, name and queue are alive; librdkafka counts the references to queues that feed each
        // other, and we give back the one that we got.
        unsafe {
            let partition =
                rd::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), topic.as_ptr(), tp.partition);
            if !partition.is_null() {
                rd::rd_kafka_queue_forward(partition, self.queue.as_ptr());
                rd::rd_kafka_queue_destroy(partition);
            }
        }
    }

    /// Waits up to `timeout` for something, then visits all that is there, until `visit` breaks: the rest
    /// stays.
    #[expect(unsafe_code, reason = "rdkafka has no safe call for it")]
    pub fn serve<F: FnMut(Fetched<'_>) -> ControlFlow<()>>(&self, timeout: Duration, mut visit: F) {
        let ms = c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX);
        // SAFETY: the queue is alive, and holds only what `each` can take. librdkafka calls `each::<F>` on
        // this thread, before it returns, with the pointer to `visit` that we pass here.
        unsafe {
            rd::rd_kafka_consume_callback_queue(self.queue.as_ptr(), ms, Some(each::<F>), (&raw mut visit).cast());
        }
    }

    /// The end of a partition as of its last fetch, records of open transactions included; `None` before the
    /// first, and after one that failed.
    #[expect(unsafe_code, reason = "rdkafka has no safe call for it")]
    pub fn end_of(&self, tp: &TopicPartition) -> Option<i64> {
        let topic = CString::new(tp.topic.as_bytes()).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: client and name are alive, the two numbers are ours.
        let error = unsafe {
            rd::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                topic.as_ptr(),
                tp.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (error == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl Drop for RecordQueue {
    #[expect(unsafe_code, reason = "gives back what `new` got")]
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, while the client is alive.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// A question about topics on its way to the cluster: their ids.
pub(super) struct IdsQuestion {
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// The queue belongs to this client and must go first.
    witness: Arc<Witness>,
}

// SAFETY: as of `RecordQueue`.
#[expect(unsafe_code, reason = "a handle of a library that is thread-safe")]
unsafe impl Send for IdsQuestion {}

/// Topics, each with its id or why there is none. An id is empty where the cluster has none: before Kafka 2.8.
pub(super) type IdsAnswer = Result<Vec<(String, Result<String, RDKafkaErrorCode>)>, (RDKafkaErrorCode, String)>;

impl IdsQuestion {
    /// Asks a broker. After `timeout` the answer is an error.
    #[expect(unsafe_code, reason = "rdkafka has no call for it")]
    pub fn ask<'a>(
        witness: Arc<Witness>,
        broker: i32,
        topics: impl Iterator<Item = &'a str>,
        timeout: Duration,
    ) -> Self {
        let names: Vec<_> = topics.filter_map(|topic| CString::new(topic).ok()).collect();
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let client = witness.native_ptr();
        let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX).max(1);
        // SAFETY: client, names and pointers are alive; librdkafka copies what it keeps. What is made here is given back here, but
        // for the queue, which goes with `self`.
        let queue = unsafe {
            let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            let options =
                rd::rd_kafka_AdminOptions_new(client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
            // They refuse times of more than an hour, and numbers that no broker has.
            rd::rd_kafka_AdminOptions_set_request_timeout(options, ms, std::ptr::null_mut(), 0);
            rd::rd_kafka_AdminOptions_set_broker(options, broker, std::ptr::null_mut(), 0);
            let queue = rd::rd_kafka_queue_new(client);
            rd::rd_kafka_DescribeTopics(client, collection, options, queue);
            rd::rd_kafka_AdminOptions_destroy(options);
            rd::rd_kafka_TopicCollection_destroy(collection);
            queue
        };
        Self { queue: NonNull::new(queue).expect("librdkafka aborts if it has no memory"), witness }
    }

    /// The client that asks.
    pub fn witness(&self) -> &Arc<Witness> {
        &self.witness
    }

    /// The answer, after up to `wait`; `None`: there is none yet.
    #[expect(unsafe_code, reason = "rdkafka has no call for it")]
    pub fn answer(&self, wait: Duration) -> Option<IdsAnswer> {
        let ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is alive and gets nothing but this answer. What librdkafka points to is part of the event, which is given back
        // after the last look at it; a null pointer is no event, no result, or no topic.
        unsafe {
            let event = rd::rd_kafka_queue_poll(self.queue.as_ptr(), ms);
            if event.is_null() {
                return None;
            }
            let code = rd::rd_kafka_event_error(event);
            let result = rd::rd_kafka_event_DescribeTopics_result(event);
            let answer = if code != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || result.is_null() {
                let words = rd::rd_kafka_event_error_string(event);
                let words = if words.is_null() { c"" } else { CStr::from_ptr(words) };
                Err((code.into(), words.to_string_lossy().into_owned()))
            } else {
                let mut count = 0;
                let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                let topics = if count == 0 { &[][..] } else { std::slice::from_raw_parts(topics, count) };
                Ok(topics.iter().filter(|topic| !topic.is_null()).map(|topic| described(*topic)).collect())
            };
            rd::rd_kafka_event_destroy(event);
            Some(answer)
        }
    }
}

impl Drop for IdsQuestion {
    #[expect(unsafe_code, reason = "gives back what `ask` got")]
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, while the client is alive; an answer that comes later is dropped.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Where partitions end, for readers of what was committed; waits for up to `timeout`. Those without a leader are left out; a broker that does not
/// answer is an error.
#[expect(unsafe_code, reason = "rdkafka has it for consumers only")]
pub(super) fn ends(
    witness: &Witness,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> KafkaResult<Vec<(TopicPartition, i64)>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for tp in partitions {
        // Kafka's ListOffsets takes -1 for a time: the end.
        list.add_partition_offset(&tp.topic, tp.partition, Offset::End)?;
    }
    let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: client and list are alive; the call writes into the list, and into nothing after it has returned.
    let error = unsafe { rd::rd_kafka_offsets_for_times(witness.native_ptr(), list.ptr(), ms) };
    if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(KafkaError::OffsetFetch(error.into()));
    }
    let told = list.elements().into_iter().filter_map(|element| match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(end)) => Some((TopicPartition::new(element.topic(), element.partition()), end)),
        _ => None,
    });
    Ok(told.collect())
}

/// # Safety
/// `topic` must come from librdkafka and be alive.
#[expect(unsafe_code, reason = "reads what librdkafka's pointers point to")]
unsafe fn described(topic: *const rd::rd_kafka_TopicDescription_t) -> (String, Result<String, RDKafkaErrorCode>) {
    // SAFETY: name and id are part of the description; a null pointer is no error, or no id.
    unsafe {
        let name = CStr::from_ptr(rd::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
        let error = rd::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = rd::rd_kafka_error_code(error);
            if code != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return (name, Err(code.into()));
            }
        }
        let id = rd::rd_kafka_TopicDescription_topic_id(topic);
        let none = id.is_null()
            || (rd::rd_kafka_Uuid_most_significant_bits(id), rd::rd_kafka_Uuid_least_significant_bits(id)) == (0, 0);
        let text = if none { std::ptr::null() } else { rd::rd_kafka_Uuid_base64str(id) };
        let text = if text.is_null() { "".into() } else { CStr::from_ptr(text).to_string_lossy() };
        // Kafka's own tools write ids with the alphabet for file names.
        (name, Ok(text.replace('+', "-").replace('/', "_")))
    }
}

/// librdkafka's callback for one message. A panic of `F` aborts the process, as in every `extern "C"`
/// function.
#[expect(unsafe_code, reason = "the signature that librdkafka asks for")]
unsafe extern "C" fn each<F: FnMut(Fetched<'_>) -> ControlFlow<()>>(
    message: *mut rd::rd_kafka_message_t,
    visit: *mut c_void,
) {
    // SAFETY: librdkafka passes a message that stays alive until we return, and the pointer that `serve` gave
    // it: nobody else uses the `F` behind it meanwhile.
    let flow = unsafe { (*visit.cast::<F>())(fetched(&*message)) };
    if flow.is_break() {
        // SAFETY: sets a flag of this thread; librdkafka puts the rest back when we return. It ignores the
        // argument.
        unsafe { rd::rd_kafka_yield(std::ptr::null_mut()) };
    }
}

/// # Safety
/// `message` must come from librdkafka, and its bytes must be alive while the result is.
#[expect(unsafe_code, reason = "reads what librdkafka's pointers point to")]
unsafe fn fetched(message: &rd::rd_kafka_message_t) -> Fetched<'_> {
    // SAFETY: librdkafka's message holds a reference to its topic, which owns its name; its pointers are null
    // or point to `len` bytes that live as long as the message.
    let (topic, key, value) = unsafe {
        let topic = if message.rkt.is_null() { c"" } else { CStr::from_ptr(rd::rd_kafka_topic_name(message.rkt)) };
        (topic, bytes(message.key, message.key_len), bytes(message.payload, message.len))
    };
    // Kafka's names are ASCII.
    let (topic, partition) = (topic.to_str().unwrap_or_default(), message.partition);
    match message.err {
        rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
            let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: a message without an error is one that was fetched, which is all that the call needs.
            let timestamp = unsafe { rd::rd_kafka_message_timestamp(message, &raw mut kind) };
            let known = kind != rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp >= 0;
            Fetched::Record(RecordRef {
                topic,
                partition,
                offset: message.offset,
                timestamp_ms: known.then_some(timestamp),
                key,
                value,
            })
        }
        rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            Fetched::End { topic, partition, next: message.offset }
        }
        // The payload of an error is its text.
        error => Fetched::Failed {
            topic,
            partition,
            code: error.into(),
            reason: value.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default(),
        },
    }
}

/// # Safety
/// `start` must be null, or point to `len` bytes that are alive while the result is.
#[expect(unsafe_code, reason = "reads what librdkafka's pointers point to")]
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}
