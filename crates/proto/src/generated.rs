//! Includes the code that `build.rs` generates, one module per package.

#![allow(
    clippy::all,
    clippy::allow_attributes,
    clippy::clone_on_ref_ptr,
    clippy::doc_markdown,
    clippy::str_to_string,
    rustdoc::all,
    unreachable_pub,
    reason = "generated code follows its generators' style"
)]

/// Packages of the public contract.
pub mod openim {
    macro_rules! packages {
        ($($name:ident),* $(,)?) => {$(
            #[doc = concat!("Package `openim.", stringify!($name), "`.")]
            pub mod $name {
                include!(concat!(env!("OUT_DIR"), "/openim.", stringify!($name), ".rs"));
            }
        )*};
    }
    packages!(
        auth,
        conversation,
        group,
        jssdk,
        msg,
        msggateway,
        protobuf,
        push,
        relation,
        rtc,
        sdkws,
        third,
        user,
    );
}

/// Packages used between our own processes.
pub mod magpie {
    /// Package `magpie.gateway`.
    pub mod gateway {
        tonic::include_proto!("magpie.gateway");
    }
    /// Package `magpie.internal`.
    pub mod internal {
        tonic::include_proto!("magpie.internal");
    }
    /// Package `magpie.log`.
    pub mod log {
        tonic::include_proto!("magpie.log");
    }
    /// Package `magpie.msg`.
    pub mod msg {
        tonic::include_proto!("magpie.msg");
    }
}
