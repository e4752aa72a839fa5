use proptest::prelude::*;

use super::*;

const LIMIT: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

fn own(message: Message<'_>) -> Owned {
    match message {
        Message::Text(p) => Owned::Text(p.into_owned()),
        Message::Binary(p) => Owned::Binary(p.into_owned()),
        Message::Ping(p) => Owned::Ping(p.to_vec()),
        Message::Pong => Owned::Pong,
        Message::Close(code) => Owned::Close(code),
    }
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 0, 255, 13];
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..126 => frame.push(0x80 | u8::try_from(n).unwrap()),
        n => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
    frame
}

/// Feeds `bytes` in pieces of the given sizes; the handler stops after every `stop`th message.
fn read(bytes: &[u8], sizes: &[usize], stop: usize) -> (Vec<Owned>, Result<(), FrameError>) {
    let mut inbound = Inbound::default();
    let mut seen = Vec::new();
    let mut rest = bytes.to_vec();
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let n = sizes
            .next()
            .map_or(rest.len(), |n| (*n).clamp(1, rest.len()));
        let tail = rest.split_off(n);
        let mut chunk = std::mem::replace(&mut rest, tail);
        let mut chunk = chunk.as_mut_slice();
        loop {
            let before = seen.len();
            let result = inbound.feed(chunk, LIMIT, &mut |m| {
                seen.push(own(m));
                if seen.len().is_multiple_of(stop) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            if result.is_err() {
                return (seen, result);
            }
            chunk = &mut [];
            if seen.len() == before {
                break;
            }
        }
    }
    (seen, Ok(()))
}

fn frames() -> impl Strategy<Value = (Vec<u8>, Vec<Owned>)> {
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    let small = prop::collection::vec(any::<u8>(), 0..50);
    let one = prop_oneof![
        payload
            .clone()
            .prop_map(|p| (masked(0x82, &p), vec![Owned::Binary(p)])),
        payload
            .clone()
            .prop_map(|p| (masked(0x81, &p), vec![Owned::Text(p)])),
        small
            .clone()
            .prop_map(|p| (masked(0x89, &p), vec![Owned::Ping(p)])),
        Just((masked(0x8a, b"x"), vec![Owned::Pong])),
        Just((masked(0x88, &[3, 232]), vec![Owned::Close(Some(1000))])),
        (payload.clone(), small, payload).prop_map(|(a, ping, b)| {
            let mut bytes = masked(0x02, &a);
            bytes.extend(masked(0x89, &ping));
            bytes.extend(masked(0x00, &b));
            bytes.extend(masked(0x80, &[]));
            (
                bytes,
                vec![Owned::Ping(ping), Owned::Binary([a, b].concat())],
            )
        }),
    ];
    prop::collection::vec(one, 0..8).prop_map(|all| {
        let (bytes, messages): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        (bytes.concat(), messages.concat())
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), sizes in prop::collection::vec(1..50usize, 1..5)) {
        drop(read(&bytes, &sizes, 1000));
    }

    #[test]
    fn any_chunking_and_any_pauses_give_the_same_messages(
        (bytes, messages) in frames(),
        sizes in prop::collection::vec(1..400usize, 1..6),
        stop in 1..5usize,
    ) {
        let (seen, result) = read(&bytes, &sizes, stop);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(seen, messages);
    }
}

fn error(bytes: &[u8]) -> Option<FrameError> {
    read(bytes, &[1000], 1000).1.err()
}

#[test]
fn a_client_that_does_not_mask_is_refused() {
    assert_eq!(error(&[0x82, 1, 5]), Some(FrameError::Protocol));
}

#[test]
fn reserved_bits_and_opcodes_are_refused() {
    for first in [0xc2, 0xa2, 0x92, 0x83, 0x8b] {
        assert_eq!(
            error(&masked(first, b"x")),
            Some(FrameError::Protocol),
            "{first:x}"
        );
    }
}

#[test]
fn control_frames_are_short_and_whole() {
    assert_eq!(error(&masked(0x89, &[0; 126])), Some(FrameError::Protocol));
    assert_eq!(error(&masked(0x09, b"x")), Some(FrameError::Protocol));
    assert_eq!(error(&masked(0x88, &[3])), Some(FrameError::Protocol));
}

#[test]
fn fragments_follow_their_first_frame() {
    assert_eq!(error(&masked(0x80, b"x")), Some(FrameError::Protocol));
    assert_eq!(
        error(&[masked(0x02, b"x"), masked(0x82, b"y")].concat()),
        Some(FrameError::Protocol)
    );
}

#[test]
fn a_message_above_the_limit_is_refused_at_its_header() {
    let mut huge = vec![0x82, 0xff];
    huge.extend(u64::MAX.to_be_bytes());
    huge.extend([0; 4]);
    assert_eq!(error(&huge), Some(FrameError::TooLarge));
    assert_eq!(
        error(&masked(0x82, &[0; LIMIT + 1])[..8]),
        Some(FrameError::TooLarge)
    );
    assert_eq!(error(&masked(0x82, &[0; LIMIT])), None);
    let fragments = [
        masked(0x02, &[0; LIMIT / 2]),
        masked(0x00, &[0; LIMIT / 2]),
        masked(0x80, b"x"),
    ]
    .concat();
    assert_eq!(error(&fragments), Some(FrameError::TooLarge));
}

#[test]
fn no_buffer_is_kept_between_messages() {
    let mut inbound = Inbound::default();
    let mut frame = masked(0x82, &[1; 3000]);
    let (a, b) = frame.split_at_mut(1500);
    let mut on = |_: Message<'_>| ControlFlow::Continue(());
    inbound.feed(a, LIMIT, &mut on).unwrap();
    assert!(inbound.has_bytes());
    inbound.feed(b, LIMIT, &mut on).unwrap();
    assert!(!inbound.has_bytes());
    assert_eq!(inbound.partial.capacity(), 0);
}

#[test]
fn a_frame_is_its_header_and_payload() {
    assert_eq!(&binary(b"ab")[..], b"\x82\x02ab");
    assert_eq!(&close(Some(1009))[..], [0x88, 2, 3, 241]);
    assert_eq!(&close(None)[..], [0x88, 0]);
    assert_eq!(binary(&[0; 200])[..4], [0x82, 126, 0, 200]);
}
