//! Questions to the cluster that nobody waits for, and that rdkafka has no call for: the ids of topics, the ends of partitions. Their answers
//! come to queues of their own. All `unsafe` of the crate is here and in `native.rs`.

use std::ffi::{CStr, CString, c_int};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use lakemill_model::{SourceError, TopicPartition};
use rdkafka::bindings as rd;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::connection::Witness;

/// An answer, or why there is none, in the client's words.
type Answer<T> = Result<T, (RDKafkaErrorCode, String)>;

/// A question about topics on its way to the cluster: their ids.
pub(super) struct IdsQuestion(Inbox);

/// Topics, each with its id or why there is none. An id is empty where the cluster has none: before Kafka 2.8.
pub(super) type IdsAnswer = Answer<Vec<(String, Result<String, RDKafkaErrorCode>)>>;

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
        let inbox = Inbox::new(witness);
        let options = Options::new(&inbox.witness, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
        // SAFETY: client, queue, options, names and pointers are alive; librdkafka copies what it keeps. The collection is given back here.
        unsafe {
            // It refuses numbers that no broker has: the question then goes to any.
            rd::rd_kafka_AdminOptions_set_broker(options.0, broker, std::ptr::null_mut(), 0);
            let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            rd::rd_kafka_DescribeTopics(inbox.witness.native_ptr(), collection, options.0, inbox.queue.as_ptr());
            rd::rd_kafka_TopicCollection_destroy(collection);
        }
        Self(inbox)
    }

    /// The client that asks.
    pub fn witness(&self) -> &Arc<Witness> {
        &self.0.witness
    }

    /// The answer, after up to `wait`; `None`: there is none yet.
    #[expect(unsafe_code, reason = "rdkafka has no call for it")]
    pub fn answer(&self, wait: Duration) -> Option<IdsAnswer> {
        let event = self.0.next(wait)?;
        let found = event.succeeded().map(|()| {
            // SAFETY: the event is alive, and so is what it points to; a null pointer is no result, or no topic.
            unsafe {
                let result = rd::rd_kafka_event_DescribeTopics_result(event.0.as_ptr());
                let mut count = 0;
                let topics = if result.is_null() {
                    std::ptr::null_mut()
                } else {
                    rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count)
                };
                list(topics, count).iter().filter(|topic| !topic.is_null()).map(|topic| described(*topic)).collect()
            }
        });
        Some(found)
    }
}

/// A question about partitions on its way to the cluster: their ends, as they are for readers of what was committed.
pub(super) struct EndsQuestion(Inbox);

/// Partitions, each with one past the last offset; those that nobody tells the end of are left out.
pub(super) type EndsAnswer = Answer<Vec<(TopicPartition, i64)>>;

impl EndsQuestion {
    /// Asks the brokers that lead. After `timeout` the answer is an error.
    ///
    /// # Errors
    /// [`SourceError::Read`] for a partition that can't be.
    #[expect(unsafe_code, reason = "rdkafka has no call for it")]
    pub fn ask<'a>(
        witness: Arc<Witness>,
        partitions: impl Iterator<Item = &'a TopicPartition>,
        timeout: Duration,
    ) -> Result<Self, SourceError> {
        let mut list = TopicPartitionList::new();
        for tp in partitions {
            list.add_partition_offset(&tp.topic, tp.partition, Offset::End)
                .map_err(|error| SourceError::Read { what: tp.to_string(), reason: error.to_string() })?;
        }
        let inbox = Inbox::new(witness);
        let options = Options::new(&inbox.witness, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout);
        // SAFETY: client, queue, options and list are alive; librdkafka copies what it keeps. The error is ours, or null.
        unsafe {
            let committed = rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
            let refused = rd::rd_kafka_AdminOptions_set_isolation_level(options.0, committed);
            debug_assert!(refused.is_null(), "the call takes an isolation level");
            rd::rd_kafka_ListOffsets(inbox.witness.native_ptr(), list.ptr(), options.0, inbox.queue.as_ptr());
        }
        Ok(Self(inbox))
    }

    /// The answer, if there is one.
    #[expect(unsafe_code, reason = "rdkafka has no call for it")]
    pub fn answer(&self) -> Option<EndsAnswer> {
        let event = self.0.next(Duration::ZERO)?;
        let found = event.succeeded().map(|()| {
            // SAFETY: the event is alive, and so is what it points to; a null pointer is no result, or no partition.
            unsafe {
                let result = rd::rd_kafka_event_ListOffsets_result(event.0.as_ptr());
                let mut count = 0;
                let infos = if result.is_null() {
                    std::ptr::null_mut()
                } else {
                    rd::rd_kafka_ListOffsets_result_infos(result, &raw mut count)
                };
                list(infos, count).iter().filter(|info| !info.is_null()).filter_map(|info| end(*info)).collect()
            }
        });
        Some(found)
    }
}

/// Where the answer to a question comes.
struct Inbox {
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// The queue belongs to this client and must go first.
    witness: Arc<Witness>,
}

// SAFETY: librdkafka's queues are guarded by their own locks (INTRODUCTION.md, "Threads and callbacks").
#[expect(unsafe_code, reason = "a handle of a library that is thread-safe")]
unsafe impl Send for Inbox {}

impl Inbox {
    #[expect(unsafe_code, reason = "rdkafka has no safe call for it")]
    fn new(witness: Arc<Witness>) -> Self {
        // SAFETY: the client is alive; it outlives the queue because we hold it.
        let queue = unsafe { rd::rd_kafka_queue_new(witness.native_ptr()) };
        Self { queue: NonNull::new(queue).expect("librdkafka aborts if it has no memory"), witness }
    }

    /// What came, after up to `wait`.
    #[expect(unsafe_code, reason = "rdkafka has no safe call for it")]
    fn next(&self, wait: Duration) -> Option<Event> {
        let ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is alive and gets nothing but this answer.
        let event = unsafe { rd::rd_kafka_queue_poll(self.queue.as_ptr(), ms) };
        NonNull::new(event).map(Event)
    }
}

impl Drop for Inbox {
    #[expect(unsafe_code, reason = "gives back what `new` got")]
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, while the client is alive; an answer that comes later is dropped.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// How a question is asked.
struct Options(*mut rd::rd_kafka_AdminOptions_t);

impl Options {
    #[expect(unsafe_code, reason = "rdkafka has no safe call for it")]
    fn new(witness: &Witness, question: rd::rd_kafka_admin_op_t, timeout: Duration) -> Self {
        let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX).max(1);
        // SAFETY: the client is alive.
        unsafe {
            let options = rd::rd_kafka_AdminOptions_new(witness.native_ptr(), question);
            // It refuses times of more than an hour.
            rd::rd_kafka_AdminOptions_set_request_timeout(options, ms, std::ptr::null_mut(), 0);
            Self(options)
        }
    }
}

impl Drop for Options {
    #[expect(unsafe_code, reason = "gives back what `new` got")]
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

/// The answer as it came.
struct Event(NonNull<rd::rd_kafka_event_t>);

impl Event {
    #[expect(unsafe_code, reason = "rdkafka has no safe call for it")]
    fn succeeded(&self) -> Answer<()> {
        // SAFETY: the event is alive, and so are its words; a null pointer is none.
        unsafe {
            let code = rd::rd_kafka_event_error(self.0.as_ptr());
            if code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Ok(());
            }
            let words = rd::rd_kafka_event_error_string(self.0.as_ptr());
            let words = if words.is_null() { c"" } else { CStr::from_ptr(words) };
            Err((code.into(), words.to_string_lossy().into_owned()))
        }
    }
}

impl Drop for Event {
    #[expect(unsafe_code, reason = "gives back what the queue gave")]
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once; nothing points into it any more.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// `first` must be null, or point to `count` values that are alive while the result is.
#[expect(unsafe_code, reason = "reads what librdkafka's pointers point to")]
unsafe fn list<'a, T>(first: *mut T, count: usize) -> &'a [T] {
    // SAFETY: the caller's promise.
    if first.is_null() || count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
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

/// # Safety
/// `info` must come from librdkafka and be alive.
#[expect(unsafe_code, reason = "reads what librdkafka's pointers point to")]
unsafe fn end(info: *const rd::rd_kafka_ListOffsetsResultInfo_t) -> Option<(TopicPartition, i64)> {
    // SAFETY: the partition and its topic's name are part of the answer.
    unsafe {
        let found = &*rd::rd_kafka_ListOffsetsResultInfo_topic_partition(info);
        let told = found.err == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && found.offset >= 0;
        let topic = CStr::from_ptr(found.topic).to_string_lossy();
        told.then(|| (TopicPartition::new(topic.as_ref(), found.partition), found.offset))
    }
}
