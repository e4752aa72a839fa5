//! Frames of strangers: refused with an error, bounded in time, memory and stack.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use magpie_envelope::{Codec, DecodeError, GobError, Limits, Request};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{GOB, GOB_GZIP, JSON, JSON_GZIP};

fn decode_all(frame: &[u8]) {
    for codec in Codec::ALL {
        for limits in [
            Limits::SERVER,
            Limits::CLIENT,
            Limits {
                wire: 64,
                decoded: 64,
            },
        ] {
            drop(codec.decode_request(frame, &limits));
            drop(codec.decode_response(frame, &limits));
        }
    }
}

fn sample(data: Vec<u8>) -> Request {
    Request {
        req_identifier: 1003,
        token: String::new(),
        send_id: "u1".to_owned(),
        operation_id: "op".to_owned(),
        msg_incr: "u1_7".to_owned(),
        data: data.into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes_are_read_without_panic(frame in vec(any::<u8>(), 0..400)) {
        decode_all(&frame);
    }

    #[test]
    fn damaged_frames_are_read_without_panic(
        data in vec(any::<u8>(), 0..60),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        tail in vec(any::<u8>(), 0..4),
    ) {
        for codec in Codec::ALL {
            let mut frame = codec.encode_request(&sample(data.clone())).to_vec();
            for (at, byte) in &damage {
                let at = at.index(frame.len());
                frame[at] = *byte;
            }
            if let Some(cut) = &cut {
                frame.truncate(cut.index(frame.len()));
            }
            frame.extend_from_slice(&tail);
            decode_all(&frame);
        }
    }

    #[test]
    fn a_cut_or_longer_frame_is_no_envelope(data in vec(any::<u8>(), 0..60), cut in any::<prop::sample::Index>(), tail in 1u8..) {
        for codec in Codec::ALL {
            let frame = codec.encode_request(&sample(data.clone()));
            let cut = cut.index(frame.len());
            prop_assert!(codec.decode_request(&frame[..cut], &Limits::SERVER).is_err());
            // White space may follow JSON text.
            if codec != JSON || !tail.is_ascii_whitespace() {
                let long = [&frame[..], &[tail]].concat();
                prop_assert!(codec.decode_request(&long, &Limits::SERVER).is_err());
            }
        }
    }
}

fn bomb(bytes: usize) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        gzip.write_all(&block).unwrap();
    }
    gzip.finish().unwrap()
}

/// Most memory that the process ever had in use, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse::<usize>()
        .unwrap()
        << 10
}

#[cfg(target_os = "linux")]
#[test]
fn a_gzip_bomb_is_refused_without_being_unpacked() {
    const UNPACKED: usize = 100 << 20;
    let honest = bomb(UNPACKED);
    let limits = Limits {
        wire: 1 << 20,
        decoded: 1 << 20,
    };
    let before = peak_memory();
    for codec in [GOB_GZIP, JSON_GZIP] {
        let refused = codec.decode_request(&honest, &limits);
        assert_eq!(
            refused,
            Err(DecodeError::EnvelopeTooLarge {
                size: UNPACKED,
                limit: 1 << 20
            })
        );
        for claimed in [0u32, 1, 1 << 10, 1 << 20] {
            let mut lying = honest.clone();
            let at = lying.len() - 4;
            lying[at..].copy_from_slice(&claimed.to_le_bytes());
            assert!(
                matches!(
                    codec.decode_request(&lying, &limits),
                    Err(DecodeError::Gzip(_))
                ),
                "{claimed}"
            );
        }
    }
    let grown = peak_memory() - before;
    assert!(grown < UNPACKED / 2, "{grown}");
    let refused = GOB_GZIP.decode_request(&honest, &Limits::SERVER);
    assert!(matches!(refused, Err(DecodeError::FrameTooLarge { .. })));
}

#[test]
fn deep_json_is_passed_over_or_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 8_000;
        let text = format!("{{\"x\":{}1{}}}", open.repeat(depth), close.repeat(depth));
        drop(JSON.decode_request(text.as_bytes(), &Limits::SERVER));
        let open = open.repeat(50_000);
        assert!(
            JSON.decode_request(open.as_bytes(), &Limits::SERVER)
                .is_err()
        );
    }
}

#[test]
fn json_numbers_outside_of_32_bits_are_refused() {
    for number in [
        "2147483648",
        "-2147483649",
        "1e3",
        "1.5",
        "99999999999999999999",
        "true",
        "[]",
        "{}",
    ] {
        let text = format!("{{\"reqIdentifier\":{number}}}");
        JSON.decode_request(text.as_bytes(), &Limits::SERVER)
            .unwrap_err();
    }
}

#[test]
fn json_text_that_is_not_utf8_is_refused() {
    JSON.decode_request(b"{\"sendID\":\"\xff\"}", &Limits::SERVER)
        .unwrap_err();
}

// Hand-made gob.

fn uint(value: usize) -> Vec<u8> {
    match value {
        0..0x80 => vec![value as u8],
        0x80..0x100 => vec![0xff, value as u8],
        _ => vec![0xfe, (value >> 8) as u8, value as u8],
    }
}

fn int(value: i32) -> Vec<u8> {
    uint(if value < 0 {
        (-value - 1) as usize * 2 + 1
    } else {
        value as usize * 2
    })
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [uint(bytes.len()), bytes.to_vec()].concat()
}

fn common(id: i32) -> Vec<u8> {
    [&[1][..], &counted(b"T"), &[1], &int(id), &[0]].concat()
}

/// A description: `kind` is the place in the union, `parts` follow the common part.
fn described(id: i32, kind: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let parts: Vec<u8> = parts
        .iter()
        .flat_map(|part| [&[1][..], part].concat())
        .collect();
    counted(&[&int(-id)[..], &[kind + 1, 1], &common(id), &parts, &[0, 0]].concat())
}

fn described_struct(id: i32, fields: &[(&str, i32)]) -> Vec<u8> {
    let list = fields.iter().flat_map(|(name, id)| {
        [&[1][..], &counted(name.as_bytes()), &[1], &int(*id), &[0]].concat()
    });
    described(
        id,
        2,
        &[uint(fields.len()).into_iter().chain(list).collect()],
    )
}

fn value(id: i32, body: &[u8]) -> Vec<u8> {
    counted(&[&int(id)[..], body].concat())
}

fn gob_error(stream: &[u8]) -> GobError {
    match GOB.decode_request(stream, &Limits::SERVER) {
        Err(DecodeError::Gob(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_gob_fields_of_every_kind_are_passed_over() {
    let stream = [
        described_struct(
            70,
            &[("A", 1), ("B", 4), ("C", 7), ("D", 5), ("E", 3), ("F", 6)],
        ),
        described(71, 1, &[int(70)]),
        described(72, 3, &[int(6), int(71)]),
        described(73, 0, &[int(2), int(2)]),
        described(74, 4, &[]),
        described_struct(
            65,
            &[
                ("Map", 72),
                ("SendID", 6),
                ("Array", 73),
                ("Own", 74),
                ("Bool", 1),
                ("ReqIdentifier", 2),
                ("One", 70),
            ],
        ),
        value(
            65,
            &[
                &[1, 1][..],
                &counted(b"key"),
                &[2],                                     // two structs
                &[1, 1, 1, 0xfe, 0xf0, 0x3f, 1, 4, 5, 0], // bool, float, complex
                &[4, 2, 9, 9, 1, 7, 1, 1, b'f', 0],       // bytes, uint, string
                &[1],
                &counted(b"u1"),
                &[1, 2, 2, 4], // array of two
                &[1],
                &counted(b"opaque"),
                &[1, 1, 1],
                &int(1001),
                &[1, 0, 0],
            ]
            .concat(),
        ),
    ]
    .concat();
    let request = GOB.decode_request(&stream, &Limits::SERVER).unwrap();
    assert_eq!((request.req_identifier, &*request.send_id), (1001, "u1"));
}

#[test]
fn gob_fields_are_found_by_name_in_any_order_and_under_any_type_id() {
    let stream = [
        described_struct(30_000, &[("Data", 5), ("MsgIncr", 6), ("ReqIdentifier", 2)]),
        value(
            30_000,
            &[&[1, 1, 9, 1, 1, b'm', 1][..], &int(-3), &[0]].concat(),
        ),
    ]
    .concat();
    let request = GOB.decode_request(&stream, &Limits::SERVER).unwrap();
    assert_eq!(
        (
            request.req_identifier,
            &*request.msg_incr,
            &request.data[..]
        ),
        (-3, "m", &[9][..])
    );
}

#[test]
fn gob_interfaces_and_undescribed_types_are_refused() {
    for type_id in [0, 8, 9, 16, 99, -1] {
        let stream = [
            described_struct(65, &[("X", type_id)]),
            value(65, &[1, 1, 0]),
        ]
        .concat();
        assert_eq!(gob_error(&stream), GobError::UnknownType, "{type_id}");
    }
    assert_eq!(gob_error(&value(65, &[0])), GobError::UnknownType);
    assert_eq!(gob_error(&value(2, &[0, 2])), GobError::UnknownType);
}

#[test]
fn a_known_gob_field_of_another_type_is_refused() {
    let stream = [
        described_struct(65, &[("ReqIdentifier", 6)]),
        value(65, &[1, 1, b'1', 0]),
    ]
    .concat();
    assert_eq!(gob_error(&stream), GobError::FieldType("ReqIdentifier"));
    let stream = [
        described_struct(65, &[("Data", 6)]),
        value(65, &[1, 1, b'1', 0]),
    ]
    .concat();
    assert_eq!(gob_error(&stream), GobError::FieldType("Data"));
    let stream = [
        described_struct(65, &[("SendID", 6)]),
        value(65, &[1, 1, 0xff, 0]),
    ]
    .concat();
    assert_eq!(gob_error(&stream), GobError::Utf8("SendID"));
    let stream = [
        described_struct(65, &[("ReqIdentifier", 2)]),
        value(65, &[1, 0xfb, 1, 0, 0, 0, 0, 0]),
    ]
    .concat();
    assert_eq!(gob_error(&stream), GobError::Range("ReqIdentifier"));
}

#[test]
fn a_gob_type_that_holds_itself_is_refused_at_the_depth_limit() {
    let types = [
        described(66, 1, &[int(66)]),
        described_struct(65, &[("X", 66)]),
    ]
    .concat();
    let nested = |depth: usize| {
        [
            &types[..],
            &value(65, &[&[1][..], &vec![1; depth], &[0, 0]].concat()),
        ]
        .concat()
    };
    GOB.decode_request(&nested(31), &Limits::SERVER).unwrap();
    assert_eq!(gob_error(&nested(32)), GobError::TooDeep);
    assert_eq!(gob_error(&nested(40_000)), GobError::TooDeep);
}

#[test]
fn gob_descriptions_are_bounded_in_number() {
    let many: Vec<u8> = (100..200)
        .flat_map(|id| described_struct(id, &[]))
        .collect();
    assert_eq!(gob_error(&many), GobError::TooManyTypes);
    let wide = described_struct(65, &vec![("", 2); 300]);
    assert_eq!(gob_error(&wide), GobError::TooManyTypes);
    let twice = described_struct(65, &[]).repeat(2);
    assert_eq!(gob_error(&twice), GobError::Description);
}

#[test]
fn gob_lengths_beyond_the_stream_are_refused() {
    let types = described_struct(65, &[("Data", 5)]);
    let huge = [0xf8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(gob_error(&huge), GobError::Truncated);
    let stream = [&types[..], &value(65, &[&[1][..], &huge].concat())].concat();
    assert_eq!(gob_error(&stream), GobError::Truncated);
    let jump = [&types[..], &value(65, &huge)].concat();
    assert_eq!(gob_error(&jump), GobError::Struct);
    assert_eq!(gob_error(&[0x80]), GobError::Number);
    assert_eq!(gob_error(&[]), GobError::Truncated);
    assert_eq!(gob_error(&[0]), GobError::Truncated);
}
