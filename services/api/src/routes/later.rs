//! `/config` and what other tools fetch by GET (rest-api.md 4.11): not built yet.

use super::Access::{Admin, Open};
use super::{Method, Route};

pub(super) const ROUTES: &[Route] = &[
    Route::later(Method::Post, "/config/get_config_list", Admin),
    Route::later(Method::Post, "/config/get_config", Admin),
    Route::later(Method::Post, "/config/set_config", Admin),
    Route::later(Method::Post, "/config/reset_config", Admin),
    Route::later(Method::Post, "/config/set_enable_config_manager", Admin),
    Route::later(Method::Post, "/config/get_enable_config_manager", Admin),
    Route::later(Method::Post, "/restart", Admin),
    Route::later(Method::Get, "/third/prometheus", Open),
    Route::later(Method::Get, "/object/*", Open),
    Route::later(Method::Get, "/prometheus_discovery/*", Open),
];
