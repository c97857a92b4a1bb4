//! `[server]`, `[admin]`, `[state]` and `[log]`.

use cutover_units::UseCaseName;

use crate::checked::{
    Admin, ClientKeys, Log, LogFormat, LogLevel, Operator, Server, State, UpstreamMessages,
};
use crate::reader::{NamedTable, Table, Weight};
use crate::sections::{is_public, shapes};
use crate::values::{self, Wrong};

/// Who decides by the evidence: nobody else may be recorded by this name.
const CONTROLLER: &str = "controller";

pub(crate) fn server(root: &Table<'_>) -> Option<Server> {
    let table = root.child("server");
    let listen = table.read("listen", values::listen);
    let keys = table.read("keys", values::choice);
    let body_limit_bytes = table.read("body_limit", values::size);
    let body_memory_bytes = table.read("body_memory", values::size);
    let header_limit_bytes = table.read("header_limit", values::size);
    let header_count_max = table.read("header_count", values::count);
    let header_timeout = table.read("header_timeout", values::duration);
    let idle_timeout = table.read("idle_timeout", values::duration);
    let body_timeout = table.read("body_timeout", values::duration);
    let drain_timeout = table.read("drain_timeout", values::duration);
    let keep_alive_interval = table.read("keep_alive_interval", values::duration);
    let connections_max = table.read("max_connections", values::count);
    let workers = table.read("workers", values::count);

    let listen = listen?;
    let is_loopback = listen.ip().to_canonical().is_loopback();
    let server = Server {
        listen,
        keys: match keys {
            Some("off") => ClientKeys::Off,
            None if is_loopback => ClientKeys::Off,
            Some(_) | None => ClientKeys::Required,
        },
        body_limit_bytes: body_limit_bytes?,
        body_memory_bytes: body_memory_bytes?,
        header_limit_bytes: header_limit_bytes?,
        header_count_max: header_count_max?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        body_timeout: body_timeout?,
        drain_timeout: drain_timeout?,
        keep_alive_interval: keep_alive_interval?,
        connections_max: connections_max?,
        workers,
    };
    if server.body_memory_bytes < server.body_limit_bytes {
        let message = "less than server.body_limit: no body of that size could ever be taken";
        let hint = "give several bodies room, or lower body_limit";
        table.conflict("body_memory", message, Some(hint.to_owned()));
    }
    if is_public(&server) && server.keys == ClientKeys::Off {
        let message = format!("keys must be required on {listen}, which others can reach");
        let hint = "remove this line and make keys with `cutover key add`, or listen on 127.0.0.1";
        table.wrong("keys", message, Some(hint.to_owned()));
    }
    Some(server)
}

pub(crate) fn admin(root: &Table<'_>, server: Option<&Server>) -> Option<Admin> {
    let table = root.child("admin");
    let listen = table.read("listen", values::listen);
    let token_given = table.given("token").is_some();
    let token = shapes::secret_key(&table, "token");
    let listen = listen?;
    if !listen.ip().to_canonical().is_loopback() && !token_given {
        let hint =
            "set admin.token = { env = \"NAME\" } or { file = \"PATH\" }, or listen on 127.0.0.1";
        let message = format!("{listen} can be reached by others, so it needs a token of your own");
        table.conflict("listen", message, Some(hint.to_owned()));
    }
    if server.is_some_and(|s| s.listen == listen && listen.port() != 0) {
        table.conflict("listen", "same address as server.listen", None);
    }
    let operators: Vec<_> = table.named("operators").iter().map(operator).collect();
    Some(Admin { listen, token, operators: operators.into_iter().collect::<Option<_>>()? })
}

fn operator(entry: &NamedTable<'_>) -> Option<Operator> {
    let table = &entry.table;
    // The name stands in the history, in the log and on the command line.
    let name = UseCaseName::new(entry.name)
        .map_err(|why| table.note_self(Weight::Wrong, Wrong::new(why.to_string())))
        .ok();
    if entry.name == CONTROLLER {
        table.note_self(Weight::Wrong, Wrong::new("this is the controller's own name"));
    }
    if table.given("token").is_none() {
        table.missing("token");
    }
    let token = shapes::secret_key(table, "token");
    Some(Operator { name: name?.to_string(), token: token? })
}

pub(crate) fn state(root: &Table<'_>) -> Option<State> {
    let table = root.child("state");
    let directory = table.read("directory", values::path);
    let retention = table.read("retention", values::duration);
    let records = table.read("records", values::boolean);
    let responses = table.read("responses", values::boolean);
    let responses_retention = table.read("responses_retention", values::duration);
    Some(State {
        directory,
        retention: retention?,
        records: records?,
        responses: responses?,
        responses_retention: responses_retention?,
    })
}

pub(crate) fn log(root: &Table<'_>) -> Option<Log> {
    let table = root.child("log");
    let level = table.read("level", values::choice);
    let format = table.read("format", values::choice);
    let access = table.read("access", values::boolean);
    let slow = table.read("slow", values::duration);
    let upstream_messages = table.read("upstream_messages", values::choice);
    Some(Log {
        level: LogLevel::from_word(level?)?,
        format: LogFormat::from_word(format?)?,
        access: access?,
        slow: slow?,
        upstream_messages: UpstreamMessages::from_word(upstream_messages?)?,
    })
}
