//! What librdkafka knows of a topic and rdkafka does not hand on: its id, which changes when the topic is made anew.
//!
//! The only unsafe code of the crate: one `DescribeTopics` request and the reading of its answer. Everything is copied out
//! before the answer is freed.

#![expect(unsafe_code, reason = "rdkafka has no call for DescribeTopics")]

use std::{
    ffi::{CStr, CString, c_char},
    ptr::NonNull,
    slice,
    time::Duration,
};

use rdkafka::{
    ClientContext, bindings as sys,
    client::Client,
    error::RDKafkaErrorCode,
    types::{RDKafkaErrorCode as Code, RDKafkaRespErr},
};

/// A topic as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) name: String,
    /// The first half of the topic's id; 0 from brokers older than Kafka 2.8.
    pub(crate) id: u64,
    pub(crate) partitions: u32,
    /// The fewest replicas of a partition.
    pub(crate) replication: u32,
}

/// Frees what it holds.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    fn new(ptr: *mut T, free: unsafe extern "C" fn(*mut T)) -> Result<Self, RDKafkaErrorCode> {
        NonNull::new(ptr)
            .map(|ptr| Self(ptr, free))
            .ok_or(Code::Fail)
    }

    fn ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the constructor that belongs to this function, and nothing else frees it.
        unsafe { (self.1)(self.ptr()) }
    }
}

/// Describes the topics that exist; blocks for `timeout` at most.
pub(crate) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    timeout: Duration,
) -> Result<Vec<Described>, RDKafkaErrorCode> {
    let names: Vec<CString> = names
        .iter()
        .map(|name| CString::new(name.as_str()).map_err(|_nul| Code::InvalidTopic))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    // SAFETY: `client` keeps `rk` alive; `pointers` are `names.len()` valid strings, which librdkafka copies; options and
    // collection are copied by the request; the queue outlives the wait for the event.
    let event = unsafe {
        let queue = Owned::new(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy)?;
        let options = Owned::new(
            sys::rd_kafka_AdminOptions_new(
                rk,
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            sys::rd_kafka_AdminOptions_destroy,
        )?;
        let mut text: [c_char; 128] = [0; 128];
        let set = sys::rd_kafka_AdminOptions_set_request_timeout(
            options.ptr(),
            millis,
            text.as_mut_ptr(),
            text.len(),
        );
        check(set)?;
        let topics = Owned::new(
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )?;
        sys::rd_kafka_DescribeTopics(rk, topics.ptr(), options.ptr(), queue.ptr());
        let event = sys::rd_kafka_queue_poll(queue.ptr(), millis);
        Owned::new(event, sys::rd_kafka_event_destroy).map_err(|_none| Code::OperationTimedOut)?
    };
    // SAFETY: the event is alive until the end of this function and is the answer to DescribeTopics (or the result is null).
    unsafe {
        check(sys::rd_kafka_event_error(event.ptr()))?;
        let result = sys::rd_kafka_event_DescribeTopics_result(event.ptr());
        if result.is_null() {
            return Err(Code::Fail);
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let mut found = Vec::new();
        for topic in list(topics, count) {
            let code = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(*topic));
            match check(code) {
                Ok(()) => found.push(describe(*topic)),
                Err(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {}
                Err(code) => return Err(code),
            }
        }
        Ok(found)
    }
}

/// # Safety
/// `topic` points to a description that stays alive for the call.
unsafe fn describe(topic: *const sys::rd_kafka_TopicDescription_t) -> Described {
    // SAFETY: by the contract of this function; the name is a C string inside the description, id and lists may be null.
    unsafe {
        let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic));
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let id = match id.is_null() {
            true => 0,
            false => sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned(),
        };
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let replicas = list(partitions, count).iter().map(|partition| {
            let mut replicas = 0;
            sys::rd_kafka_TopicPartitionInfo_replicas(*partition, &raw mut replicas);
            replicas
        });
        Described {
            name: name.to_string_lossy().into_owned(),
            id,
            partitions: u32::try_from(count).unwrap_or(u32::MAX),
            replication: u32::try_from(replicas.min().unwrap_or(0)).unwrap_or(u32::MAX),
        }
    }
}

/// # Safety
/// `items` is null or points to `count` items that stay alive for `'a`.
unsafe fn list<'a, T>(items: *mut *const T, count: usize) -> &'a [*const T] {
    if items.is_null() {
        return &[];
    }
    // SAFETY: by the contract of this function.
    unsafe { slice::from_raw_parts(items, count) }
}

fn check(code: RDKafkaRespErr) -> Result<(), RDKafkaErrorCode> {
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}
