//! The envelope as clients and strangers see it: documented bytes, recorded exchanges, any value, any garbage.

#[cfg(test)]
mod handshake;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod roundtrip;
#[cfg(test)]
mod worked_frames;

use magpie_envelope::{Codec, Encoding};

const GOB: Codec = Codec {
    encoding: Encoding::Gob,
    compressed: false,
};
const JSON: Codec = Codec {
    encoding: Encoding::Json,
    compressed: false,
};
const GOB_GZIP: Codec = Codec {
    encoding: Encoding::Gob,
    compressed: true,
};
const JSON_GZIP: Codec = Codec {
    encoding: Encoding::Json,
    compressed: true,
};
