//! Long lists kept between the pages that a client reads of them.
//!
//! Clients page through thousands of friends or conversations in an order that no index has. Reading and sorting everything anew for
//! each page makes a walk quadratic; so the list stays here, as it was read, while its owner's version is the one it was read at.
//! A change ends that as soon as its version is recorded, which is before it is answered.

use std::{sync::Arc, time::Duration};

use magpie_proto::openim::sdkws::RequestPagination;
use magpie_store::{
    Store,
    versions::{self, List, Version},
};
use magpie_types::Result;
use moka::sync::Cache;

use crate::lists;

/// A walk reads its next page within this time; then the list is read anew, whatever its version.
const KEPT: Duration = Duration::from_secs(30);

/// Lists of one kind by owner.
#[derive(Debug)]
pub struct Walks<D: Send + Sync + 'static> {
    list: List,
    kept: Cache<String, (Version, Arc<Vec<D>>)>,
}

impl<D: Clone + Send + Sync + 'static> Walks<D> {
    /// At most `elements` are kept, all owners together.
    pub fn new(list: List, elements: u64) -> Self {
        let weigh = |_: &String, (_, items): &(Version, Arc<Vec<D>>)| {
            u32::try_from(items.len() + 1).unwrap_or(u32::MAX)
        };
        Self {
            list,
            kept: Cache::builder()
                .weigher(weigh)
                .max_capacity(elements)
                .time_to_live(KEPT)
                .build(),
        }
    }

    /// A page of the owner's list, at most `max` elements, and how many elements there are; `read` reads the whole list.
    pub async fn page(
        &self,
        store: &dyn Store,
        owner: &str,
        pagination: RequestPagination,
        max: usize,
        read: impl Future<Output = Result<Vec<D>>> + Send,
    ) -> Result<(usize, Vec<D>)> {
        let version = versions::known(store, owner, self.list).await?;
        let kept = self
            .kept
            .get(owner)
            .filter(|(v, _)| Some(v) == version.as_ref());
        let items = match kept {
            Some((_, items)) => items,
            None => Arc::new(read.await?),
        };
        let page = lists::page(items.iter(), pagination, max);
        // What one page holds is not walked through.
        if let Some(version) = version.filter(|_| page.len() < items.len()) {
            self.kept
                .insert(owner.to_owned(), (version, Arc::clone(&items)));
        }
        Ok((items.len(), page.into_iter().cloned().collect()))
    }
}
