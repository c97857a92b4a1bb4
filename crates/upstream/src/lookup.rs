//! Asking the system's resolver, which knows no deadline and cannot be stopped.
//!
//! ```text
//!  waiter ─┐                    ┌─ thread: getaddrinfo ─┐
//!  waiter ─┼─ one look-up per ──┤                       ├─▶ the same answer for all who wait
//!  waiter ─┘   name             └─ at most so many ─────┘
//! ```
//!
//! Contract: whoever waits may stop waiting at any time; the look-up goes on, and who asks for the same name
//! meanwhile waits for the same answer. So a resolver that hangs costs one thread per name, not one per
//! request, and never one of the runtime's: those are needed for files, and the end of the process waits
//! for them. Beyond so many look-ups the next name waits for a place, as long as its asker likes.
//!
//! Names that clients choose (images) and names of the configuration have places of their own: nobody's
//! image keeps an upstream from being found.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::watch::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Names of the configuration that are looked up at once. More than most configurations hold.
const CONFIGURED_MAX: usize = 64;
/// Names that clients chose.
const CHOSEN_MAX: usize = 16;

/// For names of the configuration.
pub(crate) static CONFIGURED: LazyLock<Lookups> =
    LazyLock::new(|| Lookups::new(CONFIGURED_MAX, system));
/// For names that clients chose.
pub(crate) static CHOSEN: LazyLock<Lookups> = LazyLock::new(|| Lookups::new(CHOSEN_MAX, system));

type Look = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// An error as it can be told to many: the system's number, or in words.
type Found = Result<Vec<IpAddr>, (Option<i32>, io::ErrorKind, String)>;

/// What is being looked up.
#[derive(Clone)]
pub(crate) struct Lookups {
    look: Arc<Look>,
    places: Arc<Semaphore>,
    under_way: Arc<Mutex<HashMap<String, Receiver<Option<Found>>>>>,
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

/// One look-up, on its own thread.
struct Errand {
    host: String,
    all: Lookups,
    tell: Sender<Option<Found>>,
    found: Option<Found>,
    _place: OwnedSemaphorePermit,
}

impl Errand {
    fn run(mut self) {
        let found = (self.all.look)(&self.host);
        let told = |error: io::Error| (error.raw_os_error(), error.kind(), error.to_string());
        self.found = Some(found.map_err(told));
    }
}

impl Drop for Errand {
    /// Also after a panic. Who asks from here on begins anew, so nobody is told an answer that is old.
    fn drop(&mut self) {
        self.all.under_way().remove(&self.host);
        self.tell.send_replace(self.found.take());
    }
}

impl Lookups {
    /// At most so many at once, each by this function.
    pub(crate) fn new(
        at_once: usize,
        look: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        let places = Arc::new(Semaphore::new(at_once));
        Self { look: Arc::new(look), places, under_way: Arc::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Receiver<Option<Found>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of a host. Has no deadline: who asks has one.
    pub(crate) async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let mut answer = self.asked(host).await?;
        let gone = |_| io::Error::other("the look-up ended without an answer");
        let found = answer.wait_for(Option::is_some).await.map_err(gone)?.clone();
        found.unwrap_or_else(|| Ok(Vec::new())).map_err(|(number, kind, text)| match number {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::new(kind, text),
        })
    }

    /// Joins the look-up that is under way for this host, or begins one.
    async fn asked(&self, host: &str) -> io::Result<Receiver<Option<Found>>> {
        if let Some(answer) = self.under_way().get(host) {
            return Ok(answer.clone());
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let mut under_way = self.under_way();
        // While this one waited for a place, another may have begun.
        if let Some(answer) = under_way.get(host) {
            return Ok(answer.clone());
        }
        let (tell, answer) = watch::channel(None);
        under_way.insert(host.to_owned(), answer.clone());
        drop(under_way);
        let all = self.clone();
        let errand = Errand { host: host.to_owned(), all, tell, found: None, _place: place };
        thread::Builder::new().name("lookup".to_owned()).spawn(|| errand.run())?;
        Ok(answer)
    }
}

/// The system's resolver. The port only fills its place.
fn system(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|found| found.ip()).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Condvar, mpsc};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// A resolver that hangs for names with `hangs` in them until it is let go.
    #[derive(Clone, Default)]
    pub(crate) struct Hanging {
        let_go: Arc<(Mutex<bool>, Condvar)>,
        begun: Arc<AtomicUsize>,
    }

    impl Hanging {
        pub(crate) fn lookups(&self, at_once: usize) -> Lookups {
            let hanging = self.clone();
            Lookups::new(at_once, move |host| {
                hanging.begun.fetch_add(1, SeqCst);
                let (free, told) = &*hanging.let_go;
                if host.contains("hangs") {
                    drop(told.wait_while(free.lock().unwrap(), |free| !*free).unwrap());
                }
                Ok(vec![IpAddr::from([127, 0, 0, 1])])
            })
        }

        /// Look-ups begun, once there are any: they begin on threads, which no paused clock waits for.
        pub(crate) fn begun(&self) -> usize {
            while self.begun.load(SeqCst) == 0 {
                thread::yield_now();
            }
            self.begun.load(SeqCst)
        }

        pub(crate) fn let_go(&self) {
            *self.let_go.0.lock().unwrap() = true;
            self.let_go.1.notify_all();
        }
    }

    const A_MOMENT: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn all_who_wait_for_a_name_wait_for_one_look_up_and_may_leave() {
        let hanging = Hanging::default();
        let lookups = hanging.lookups(4);
        for _ in 0..20 {
            assert!(timeout(A_MOMENT, lookups.addresses("gpu.hangs")).await.is_err());
        }
        assert_eq!(hanging.begun(), 1, "who left has not stopped it, and nobody began another");
        // Another name is found meanwhile.
        assert_eq!(lookups.addresses("gpu.well").await.unwrap().len(), 1);
        let mut waiters = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let lookups = lookups.clone();
            waiters.spawn(async move { lookups.addresses("gpu.hangs").await.unwrap() });
        }
        hanging.let_go();
        for found in waiters.join_all().await {
            assert_eq!(found, [IpAddr::from([127, 0, 0, 1])]);
        }
    }

    #[tokio::test]
    async fn no_more_names_hang_than_there_are_places() {
        let hanging = Hanging::default();
        let lookups = hanging.lookups(2);
        for host in ["a.hangs", "b.hangs", "c.hangs", "d.well"] {
            assert!(timeout(A_MOMENT, lookups.addresses(host)).await.is_err(), "{host}");
        }
        while hanging.begun() < 2 {
            thread::yield_now();
        }
        assert_eq!(hanging.begun(), 2);
        // An address is nobody's to look up.
        assert_eq!(lookups.addresses("::1").await.unwrap().len(), 1);
        hanging.let_go();
        assert_eq!(lookups.addresses("d.well").await.unwrap().len(), 1);
        assert_eq!(lookups.addresses("c.hangs").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn each_asks_anew_once_a_look_up_has_ended_however_it_ended() {
        let (say, said) = mpsc::channel();
        let said = Mutex::new(said);
        let lookups = Lookups::new(1, move |_| {
            let said: Option<io::ErrorKind> = said.lock().unwrap().recv().unwrap();
            Err(io::Error::new(said.expect("the resolver panics"), "why"))
        });
        say.send(Some(io::ErrorKind::NotFound)).unwrap();
        let error = lookups.addresses("name").await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::NotFound, "why"));
        say.send(None).unwrap();
        assert!(lookups.addresses("name").await.is_err());
        say.send(Some(io::ErrorKind::TimedOut)).unwrap();
        assert_eq!(lookups.addresses("name").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
