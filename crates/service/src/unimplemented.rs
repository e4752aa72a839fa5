//! RPCs of a service that are not built yet, said once.
//!
//! [`later!`](crate::later) stands at module level in a service's `grpc.rs`. It defines `pub const UNIMPLEMENTED: &[&str]`
//! (names of the generated trait's methods), from which `docs/coverage.md` is written, and a macro `later_rpcs!()` that
//! expands to the missing methods inside the `#[tonic::async_trait] impl`. They answer `UNIMPLEMENTED` with a text that says
//! why:
//!
//! ```ignore
//! magpie_service::later! {
//!     "comes with retention": {
//!         clear_msg(ClearMsgReq) -> ClearMsgResp;
//!     }
//!     "comes with calls": {
//!         signal(SignalReq) -> SignalResp;
//!     }
//! }
//!
//! #[tonic::async_trait]
//! impl User for UserGrpc {
//!     async fn account_check(&self, request: Request<AccountCheckReq>) -> Result<Response<AccountCheckResp>, Status> { .. }
//!
//!     later_rpcs!();
//! }
//! ```
//!
//! Each `lib.rs` exports the list: `pub use grpc::UNIMPLEMENTED;`. A service without missing methods exports an empty one.

use tonic::Status;

/// Declares the methods of a generated service trait that are not built yet; see the [module](self).
#[macro_export]
macro_rules! later {
    ($($why:literal: { $($method:ident($request:ty) -> $response:ty;)* })*) => {
        /// Methods of the generated trait that answer `UNIMPLEMENTED`.
        pub const UNIMPLEMENTED: &[&str] = &[$($(stringify!($method)),*),*];

        macro_rules! later_rpcs {
            () => {$($(
                fn $method<'life0, 'async_trait>(
                    &'life0 self,
                    _request: ::tonic::Request<$request>,
                ) -> ::std::pin::Pin<::std::boxed::Box<
                    dyn ::std::future::Future<Output = ::std::result::Result<::tonic::Response<$response>, ::tonic::Status>>
                        + ::std::marker::Send
                        + 'async_trait,
                >>
                where
                    'life0: 'async_trait,
                    Self: 'async_trait,
                {
                    ::std::boxed::Box::pin(::std::future::ready(::std::result::Result::Err(
                        $crate::unimplemented::later(stringify!($method), $why),
                    )))
                }
            )*)*};
        }
    };
}

/// The answer of a method that is not built yet.
#[must_use]
pub fn later(method: &str, why: &str) -> Status {
    Status::unimplemented(format!("{method} is not built: {why}"))
}
