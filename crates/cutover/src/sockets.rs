//! The sockets clients and operators connect to: bound here, or inherited from whoever started us.
//!
//! A supervisor that holds the sockets (systemd's `.socket` units, or any parent that sets `LISTEN_FDS`)
//! makes a restart invisible: what connects while no process accepts waits in the kernel's queue.

use std::net::SocketAddr;
use std::time::Duration;

use listenfd::ListenFd;
use tokio::net::TcpListener;

use crate::exit::Failed;
use crate::term::Term;

/// How often a process that waits for another to end looks again.
const LOOK: Duration = Duration::from_millis(50);

/// Both listeners.
pub(crate) struct Sockets {
    pub(crate) clients: TcpListener,
    pub(crate) operators: TcpListener,
    /// Whether someone else holds them, too, so that they outlive this process.
    pub(crate) inherited: bool,
}

impl Sockets {
    /// Takes inherited sockets, the first for clients and the second for operators, or binds them.
    /// With `waits`, a socket that another process has is waited for.
    pub(crate) async fn open(
        listen: (SocketAddr, SocketAddr),
        waits: bool,
        term: &mut Term,
    ) -> Result<Self, Failed> {
        let mut handed = ListenFd::from_env();
        match handed.len() {
            0 => Ok(Self {
                clients: bind(listen.0, "server.listen", waits).await?,
                operators: bind(listen.1, "admin.listen", waits).await?,
                inherited: false,
            }),
            2 => {
                let sockets = Self {
                    clients: take(&mut handed, 0)?,
                    operators: take(&mut handed, 1)?,
                    inherited: true,
                };
                sockets.warn_of_other_addresses(listen, term);
                Ok(sockets)
            }
            count => Err(Failed::from(anyhow::anyhow!("{count} sockets were handed over"))
                .hint("hand over two: the first for clients, the second for operators")),
        }
    }

    /// The one who holds the sockets decides where they listen; the file should agree, because other
    /// commands and people read it.
    fn warn_of_other_addresses(&self, listen: (SocketAddr, SocketAddr), term: &mut Term) {
        let pairs = [
            ("server.listen", listen.0, self.clients.local_addr()),
            ("admin.listen", listen.1, self.operators.local_addr()),
        ];
        for (key, wanted, found) in pairs {
            if let Ok(found) = found
                && found != wanted
                && wanted.port() != 0
            {
                term.warn(format_args!("listens on {found}, as handed over; {key} is {wanted}"));
            }
        }
    }
}

fn take(handed: &mut ListenFd, at: usize) -> Result<TcpListener, Failed> {
    let socket = handed.take_tcp_listener(at).map_err(|error| {
        let error = anyhow::Error::from(error);
        Failed::from(
            error.context(format!("socket {} that was handed over is no TCP listener", at + 1)),
        )
    })?;
    let missing = || Failed::from(anyhow::anyhow!("socket {} was not handed over", at + 1));
    let socket = socket.ok_or_else(missing)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket)?)
}

async fn bind(address: SocketAddr, key: &str, waits: bool) -> Result<TcpListener, Failed> {
    loop {
        let error = match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
        if in_use && waits {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let error =
            anyhow::Error::from(error).context(format!("cannot listen on {address} ({key})"));
        let failed = Failed::from(error);
        return Err(if in_use {
            failed.hint(
                "another program, perhaps another cutover, listens there; choose another port",
            )
        } else {
            failed
        });
    }
}

/// Awaits until `claim` gives something, looking again and again.
pub(crate) async fn awaited<T>(
    mut claim: impl FnMut() -> Result<Option<T>, Failed>,
) -> Result<T, Failed> {
    loop {
        if let Some(claimed) = claim()? {
            return Ok(claimed);
        }
        tokio::time::sleep(LOOK).await;
    }
}
