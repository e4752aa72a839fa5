//! The log is on disk before the acknowledgement goes out, as the kernel sees it. Embedded engines only: what Kafka writes is
//! asked of Kafka (acks=all), not of a process of ours.

use magpie_tests::trace::{Trace, acknowledged_too_early};
use magpie_tests::{Server, needs_embedded, text_message};
use prost::Message as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledgement_waits_for_the_fdatasync_of_its_log_record() {
    if needs_embedded("durability", "it traces the log's own files") {
        return;
    }
    let server = Server::start().await;
    server.register(&["ann", "bob"]).await;
    let mut ann = server.connect("ann", 5).await;
    // The first message makes the conversation.
    ann.send_text("bob", "before").await;
    let trace = Trace::of(server.pids()[0]).await.expect("strace");
    let mut sent = Vec::new();
    for n in 0..40 {
        let content = format!("unique-content-{n}-{:016x}", rand::random::<u64>());
        let operation = format!("traced-{n}-{:016x}", rand::random::<u64>());
        let body = text_message("ann", "bob", &content).encode_to_vec();
        let request = ann.send_request_as(&operation, 1003, body.into()).await;
        let answer = ann.answer(&request.expect("sent")).await.expect("answered");
        assert_eq!(answer.err_code, 0, "{}", answer.err_msg);
        sent.push((content, operation));
    }
    let calls = trace.stop().await.expect("a trace");
    let faults: Vec<String> = sent
        .iter()
        .filter_map(|(content, operation)| {
            acknowledged_too_early(&calls, content, "/log/inbound.", operation)
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
