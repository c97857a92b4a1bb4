//! Open files: as many as the system allows, and no more clients than they suffice for.
//!
//! A request holds two: its client's connection and its upstream's. Where they run out in the middle,
//! whatever needs one next fails, be it a connection to a healthy upstream or a file of the state. So
//! clients are let in only as far as there are two for each and some left over; the others wait in the
//! kernel's queue, as they do when `max_connections` is reached. Connections to upstreams have the rest,
//! idle ones included.

/// What is needed besides: the database, the state's files, operators' connections, name look-ups, and
/// connections of requests that are hedged or copied.
const RESERVE: u64 = 128;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// Clients' at once.
    pub clients: usize,
    /// To upstreams, idle ones included: at least as many as clients'.
    pub upstreams: usize,
}

/// The room for the clients that are wanted, or for fewer. Raises this process's limit as far as it may be:
/// shells and service managers commonly give a low one (1,024) that a program may raise by itself.
pub fn open_files(wanted: usize) -> OpenFiles {
    let Some(limit) = raised() else { return OpenFiles { clients: wanted, upstreams: usize::MAX } };
    let room = within(limit, wanted);
    let places = room.clients;
    macro_rules! told {
        ($level:ident) => {
            tracing::$level!(
                open_files = limit,
                max_connections = wanted,
                places,
                "the limit on open files has room for fewer clients than server.max_connections: \
                 further ones wait to be accepted (raise it: ulimit -n, LimitNOFILE=)"
            )
        };
    }
    if is_far_from(places, wanted) {
        told!(warn);
    } else if places < wanted {
        told!(info);
    }
    room
}

/// Whether it is worth a warning at each start: by more than a tenth.
fn is_far_from(places: usize, wanted: usize) -> bool {
    places < wanted - wanted / 10
}

fn within(limit: u64, wanted: usize) -> OpenFiles {
    let room = usize::try_from(limit.saturating_sub(RESERVE)).unwrap_or(usize::MAX);
    let clients = (room / 2).clamp(1, wanted.max(1));
    OpenFiles { clients, upstreams: room.saturating_sub(clients).max(1) }
}

/// The limit on open files, after it was raised. None: there is none, or it cannot be told.
#[cfg(unix)]
fn raised() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    if now.current == now.maximum {
        return now.current;
    }
    // Refused: what there is stays.
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    }
}

#[cfg(not(unix))]
fn raised() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_nearly_suffices_is_no_warning() {
        assert!(!is_far_from(within(20_000, 10_000).clients, 10_000), "9,936 places");
        assert!(is_far_from(within(1_024, 10_000).clients, 10_000));
        assert!(!is_far_from(10_000, 10_000));
    }

    #[test]
    fn there_are_two_files_for_each_client_and_some_left() {
        let of = |limit| (within(limit, 10_000).clients, within(limit, 10_000).upstreams);
        assert_eq!(of(1_024), (448, 448));
        assert_eq!(of(20_000), (9_936, 9_936));
        assert_eq!(of(1 << 20), (10_000, (1 << 20) - 10_128));
        assert_eq!(of(50), (1, 1), "somebody can always come in");
    }

    #[cfg(unix)]
    #[test]
    fn the_limit_is_raised_to_what_is_allowed() {
        use rustix::process::{Resource, getrlimit};
        let limit = raised();
        let now = getrlimit(Resource::Nofile);
        assert_eq!((limit, now.current), (now.maximum, now.maximum));
    }
}
