//! The connections of one instance.
//!
//! Invariants:
//! - at most `max_connections` exchanges at once, with those of the pool before this one, and a connection is opened only
//!   when none is idle, so at most that many connections are open, and one whose last answer came in chunks;
//! - at most `max_waiting` requests wait for one of them, in order of arrival;
//! - the idle list is a stack: the connection used last is used next, so the surplus ages and is
//!   closed after `idle_timeout`, or `plain_idle_timeout` without TLS;
//! - where this process may open no more of them, idle ones of any pool are closed ([`open_files`]);
//! - only a connection whose exchange ended, request and response, is given back;
//! - one whose last answer came in chunks is kept once the server has shown that it keeps such ones ([`Streams`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::InstanceAddress;
use crate::conn::{Conn, Http};
use crate::connect::connect;
use crate::error::{Detail, SendError, SendErrorKind};
use crate::instance::InstanceSettings;
use crate::live::{InstanceLive, Open, Waiting};
use crate::open_files;
use crate::socket::Socket;
use crate::tls::Tls;

/// The pool.
pub(crate) struct Pool {
    pub(crate) address: InstanceAddress,
    pub(crate) live: Arc<InstanceLive>,
    pub(crate) settings: InstanceSettings,
    tls: Option<Tls>,
    // A std mutex: held to push or pop, never across an await. Connections are looked at and closed
    // outside of it, except by the sweeper.
    idle: Mutex<Idle>,
}

/// What a server does with a connection after an answer in chunks. Some close it right after a stream's end without a
/// word in its head (llama.cpp's server), and a busy one some time later, when the next request is on its way.
#[derive(Clone, Copy, Default)]
enum Streams {
    /// That is not known yet.
    #[default]
    Untried,
    /// It keeps it.
    Kept,
    /// It closes it. One is looked at, whether it still does.
    Closed,
}

#[derive(Default)]
struct Idle {
    // Boxed: the queue moves pointers, not connections.
    stack: VecDeque<Box<Conn>>,
    streams: Streams,
    /// Those whose last answer came in chunks, the oldest first, while it is not known what becomes of such ones. They
    /// take no request.
    untried: VecDeque<Box<Conn>>,
    sweeping: bool,
    // Holds the sweeper; dropping the pool ends it.
    tasks: JoinSet<()>,
    closed: bool,
    /// So many are counted as this pool's: another may count there, too.
    told: usize,
}

impl Idle {
    /// How many there are now.
    fn tell(&mut self, live: &InstanceLive) {
        let count = self.stack.len() + self.untried.len();
        live.idle_changed(std::mem::replace(&mut self.told, count), count);
    }

    /// Takes one that may be used again. Gives what is too many.
    fn put(&mut self, conn: Box<Conn>, most: usize) -> Option<Box<Conn>> {
        let list = match self.streams {
            Streams::Closed if conn.http.in_chunks && !self.untried.is_empty() => {
                return Some(conn);
            }
            Streams::Untried | Streams::Closed if conn.http.in_chunks => &mut self.untried,
            _ => &mut self.stack,
        };
        let oldest = if list.len() >= most { list.pop_front() } else { None };
        list.push_back(conn);
        oldest
    }

    /// Looks what has become of those that wait.
    fn judge_untried(&mut self, now: Instant) {
        let Some(oldest) = self.untried.front() else { return };
        if now.saturating_duration_since(oldest.idle_since) < TRIAL {
            return;
        }
        let waited = std::mem::take(&mut self.untried);
        self.streams = Streams::Closed;
        if waited.front().is_some_and(|oldest| oldest.is_fresh()) {
            self.streams = Streams::Kept;
            self.stack.extend(waited);
            self.stack.make_contiguous().sort_by_key(|conn| conn.idle_since);
        }
    }

    /// The server has closed one right after an answer in chunks: so it does with the others.
    fn keeps_no_streams(&mut self) {
        self.streams = Streams::Closed;
        self.stack.retain(|conn| !conn.http.in_chunks);
    }
}

impl Pool {
    pub(crate) fn new(
        address: InstanceAddress,
        settings: InstanceSettings,
        tls: Option<Tls>,
        live: Arc<InstanceLive>,
    ) -> Arc<Self> {
        live.connections.begin(settings.max_connections);
        let pool = Arc::new(Self { address, live, settings, tls, idle: Mutex::default() });
        open_files::PROCESS.enrol(&pool);
        pool
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more exchange would have to wait for another's end.
    pub(crate) fn is_full(&self) -> bool {
        self.live.connections.are_taken()
    }

    /// A connection for one exchange: an idle one, else a new one, before the deadline. And how long it had to
    /// be waited for because all were in use.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        now: Instant,
        limit: Duration,
    ) -> Result<(Lease, Duration), SendError> {
        let deadline = after(now, limit);
        let (place, waited) = match self.live.connections.try_acquire() {
            Ok(place) => (Place::hold(self, place), Duration::ZERO),
            Err(_) => (Box::pin(self.place(deadline)).await?, now.elapsed()),
        };
        if let Some(conn) = self.pop(now + waited) {
            return Ok((Lease { conn, place }, waited));
        }
        // Boxed: most requests find a connection, and each would carry the room for opening one.
        Ok((Box::pin(self.open(place, deadline, limit)).await?, waited))
    }

    /// Swaps a connection that turned out to be closed for a new one, in the same place.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        stale: Lease,
        limit: Duration,
    ) -> Result<Lease, SendError> {
        let Lease { conn, place } = stale;
        drop(conn);
        Box::pin(self.open(place, after(Instant::now(), limit), limit)).await
    }

    async fn open(
        self: &Arc<Self>,
        place: Place,
        deadline: Instant,
        limit: Duration,
    ) -> Result<Lease, SendError> {
        let file = open_files::PROCESS.open();
        let open = || connect(&self.address, self.tls.as_ref(), deadline, limit);
        let mut begun = Instant::now();
        let stream = match open().await {
            Err(error) if error.is_out_of_files() => {
                open_files::PROCESS.close_idle();
                begun = Instant::now();
                open().await?
            }
            opened => opened?,
        };
        Ok(Lease { conn: Conn::new(stream, (Open::enter(&self.live), file), begun), place })
    }

    /// Waits in line for a place.
    async fn place(self: &Arc<Self>, deadline: Instant) -> Result<Place, SendError> {
        let waiting = Waiting::enter(&self.live);
        let why = if waiting.now() > self.settings.max_waiting {
            "the queue for them is full"
        } else if let Ok(Some(place)) = timeout_at(deadline, self.live.connections.acquire()).await
        {
            return Ok(Place::hold(self, place));
        } else {
            "none became free in time"
        };
        self.live.refused();
        Err(self.address.error(SendErrorKind::TooManyConnections, Detail::Text(why)))
    }

    /// The idle connection used last, if it is still good.
    fn pop(&self, now: Instant) -> Option<Box<Conn>> {
        loop {
            let mut conn = {
                let mut idle = self.idle();
                idle.judge_untried(now);
                let conn = idle.stack.pop_back();
                // A new one is opened in the place of one that waits, but for the first of them.
                let spare = if conn.is_none() && idle.untried.len() > 1 {
                    idle.untried.pop_back()
                } else {
                    None
                };
                idle.tell(&self.live);
                drop(idle);
                drop(spare);
                conn?
            };
            // The newest is too old: so are all others, and the sweeper will come for them.
            if now.saturating_duration_since(conn.idle_since) < self.kept_idle() {
                if conn.is_fresh() {
                    conn.reused = true;
                    return Some(conn);
                }
                self.was_closed(&conn, now);
            }
        }
    }

    /// The server has closed one that was idle until then.
    pub(crate) fn was_closed(&self, conn: &Conn, then: Instant) {
        if conn.http.in_chunks && then.saturating_duration_since(conn.idle_since) < TRIAL {
            self.idle().keeps_no_streams();
        }
    }

    /// How many are idle, with the one that shows what its server does, or without.
    pub(crate) fn idle_count(&self, all: bool) -> usize {
        let idle = self.idle();
        let shows = usize::from(!all && !idle.untried.is_empty());
        idle.stack.len() + idle.untried.len() - shows
    }

    /// Closes one that has been idle for long, and the one that shows what its server does only where there is no other;
    /// false = none is idle.
    pub(crate) fn close_oldest(&self) -> bool {
        let oldest = {
            let mut idle = self.idle();
            let oldest = idle.stack.pop_front().or_else(|| idle.untried.pop_back());
            idle.tell(&self.live);
            oldest
        };
        oldest.is_some()
    }

    /// How long an idle connection is kept.
    fn kept_idle(&self) -> Duration {
        if self.tls.is_some() {
            self.settings.idle_timeout
        } else {
            self.settings.plain_idle_timeout
        }
    }

    fn give_back(self: &Arc<Self>, mut conn: Box<Conn>) {
        if !conn.settle() {
            return;
        }
        conn.idle_since = Instant::now();
        let surplus = {
            let mut idle = self.idle();
            if idle.closed || self.settings.max_idle == 0 {
                Some(conn)
            } else {
                let surplus = idle.put(conn, self.settings.max_idle);
                idle.tell(&self.live);
                if !idle.sweeping {
                    self.start_sweeping(&mut idle);
                }
                surplus
            }
        };
        // Closed outside of the lock.
        drop(surplus);
    }

    fn start_sweeping(self: &Arc<Self>, idle: &mut Idle) {
        // A body may be dropped outside of the runtime; then the next one starts the sweeper.
        let Ok(runtime) = Handle::try_current() else { return };
        while idle.tasks.try_join_next().is_some() {}
        let (pool, pause) = (Arc::downgrade(self), self.kept_idle() / 2);
        idle.tasks.spawn_on(sweep(pool, pause.max(SWEEP_PAUSE_MIN)), &runtime);
        idle.sweeping = true;
    }

    /// Closes idle connections that are too old or that the server has closed; false = none is left.
    fn close_old(&self, now: Instant) -> bool {
        let mut idle = self.idle();
        let limit = self.kept_idle();
        idle.judge_untried(now);
        idle.stack.retain(|conn| {
            now.saturating_duration_since(conn.idle_since) < limit && conn.is_fresh()
        });
        idle.tell(&self.live);
        idle.sweeping = !idle.stack.is_empty() || !idle.untried.is_empty();
        idle.sweeping
    }

    /// Closes all idle connections, and from now on each one that is given back.
    pub(crate) fn close(&self) {
        let stack = {
            let mut idle = self.idle();
            idle.closed = true;
            let idle_ones = (std::mem::take(&mut idle.stack), std::mem::take(&mut idle.untried));
            idle.tell(&self.live);
            idle_ones
        };
        drop(stack);
    }
}

/// How long after an answer in chunks a server that closes its connection without a word has done so, however busy it is.
/// Shorter than any server keeps idle connections.
const TRIAL: Duration = Duration::from_secs(2);

/// Shortest pause of the sweeper, whatever the idle timeout.
const SWEEP_PAUSE_MIN: Duration = Duration::from_millis(10);

/// Ends when no connection is idle any more; the next one given back starts it again.
async fn sweep(pool: Weak<Pool>, pause: Duration) {
    loop {
        sleep(pause).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.close_old(Instant::now()) {
            return;
        }
    }
}

/// `now + limit`, or the far future where that cannot be said.
pub(crate) fn after(now: Instant, limit: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365);
    now + limit.min(FAR)
}

/// One of the pool's places for an exchange.
struct Place {
    pool: Arc<Pool>,
}

impl Place {
    /// Keeps the permit without borrowing the pool; the drop gives it back.
    fn hold(pool: &Arc<Pool>, permit: SemaphorePermit<'_>) -> Self {
        permit.forget();
        Self { pool: Arc::clone(pool) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.live.connections.give_back();
    }
}

/// A connection in use. Dropping it closes the connection; only [`Lease::give_back`] keeps it.
pub(crate) struct Lease {
    conn: Box<Conn>,
    // After the connection: whoever gets the place finds the connection gone or idle.
    place: Place,
}

impl Lease {
    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    pub(crate) fn socket(&self) -> &Socket {
        self.conn.http.socket()
    }

    pub(crate) fn http(&mut self) -> &mut Http {
        &mut self.conn.http
    }

    pub(crate) fn label(&self) -> &Arc<str> {
        self.place.pool.address.shared_label()
    }

    /// Gives the connection back, if its exchange ended on both sides and the server keeps it open.
    pub(crate) fn give_back(self) {
        let Self { conn, place } = self;
        place.pool.give_back(conn);
    }
}
