//! What upstreams are shown is said to no client, also where one of them quotes it in an error.

use crate::live::Live;
use crate::rescue::Failure;

impl Live {
    /// The same failure in words that a client may read: without the secrets of any upstream. Whoever failed
    /// is not looked for: what is told may be of another than the last that was asked.
    pub(crate) fn unspoken(&self, failure: &Failure) -> Failure {
        let mut fault = failure.fault.clone();
        for lane in self.lanes.iter() {
            lane.upstream.headers.hide_in(&mut fault);
        }
        Failure { fault, ..failure.clone() }
    }
}
