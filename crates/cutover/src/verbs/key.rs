//! `cutover key`: client keys. With a running cutover through its admin API, so that a change is in
//! force at once; without one in the state directory's database, where that is safe ([`alone`]).

use std::path::Path;
use std::time::Duration;

use cutover_control::api::keys::{AddKey, KeyStatus, NewKey as Shown, RevokeKey, RotateKey};
use cutover_control::client::Admin;
use cutover_control::keys;
use cutover_store::{
    AddKeyError, Key, NewKey, RevokeKey as Revocation, RotateKey as Rotation, Store,
};
use cutover_units::{Millis, UseCaseName};

use crate::alone::{self, Wants};
use crate::clock;
use crate::exit::{Exit, Failed};
use crate::operator::{self, Ended, Operator, Remote};
use crate::table::Table;
use crate::term::Term;

/// The longest overlap of two secrets.
const OVERLAP_MAX: Duration = Duration::from_hours(366 * 24);

/// Make, list, rotate and revoke the API keys that clients show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Who asks. Default: $USER
    #[arg(long, global = true, value_name = "NAME")]
    actor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key. It is printed once and stored only as a hash
    Add {
        /// The key's name: what records and use cases call it
        name: String,
        /// Count all its requests to one use case
        #[arg(long, value_name = "USE_CASE", value_parser = parse_use_case)]
        use_case: Option<UseCaseName>,
        /// Keep all its requests at local upstreams, whatever their use case allows
        #[arg(long)]
        local_only: bool,
        /// Nobody waits for its answers: where requests wait in line, others go first
        #[arg(long)]
        batch: bool,
    },
    /// List keys, without the keys themselves
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a key another secret, under the same name: what matches by it still does
    Rotate {
        /// The key's name
        name: String,
        /// How long the secret before is valid still; "0 s" ends all that came before, at once
        #[arg(long, value_name = "TIME", default_value = "24 h", value_parser = parse_overlap)]
        overlap: Millis,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Revoke a key
    Revoke {
        /// The key's name
        name: String,
        /// Revoke only the secrets that a rotation has replaced
        #[arg(long)]
        former: bool,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

fn parse_overlap(text: &str) -> Result<Millis, String> {
    let time = cutover_config::parse_duration(text)?;
    let longest = "a year at most: a key that shall live on is a key of its own";
    if time > OVERLAP_MAX { Err(longest.to_owned()) } else { Ok(millis(time)) }
}

fn millis(time: Duration) -> Millis {
    Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn parse_use_case(text: &str) -> Result<UseCaseName, String> {
    UseCaseName::new(text).map_err(|e| e.to_string())
}

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let operator = Operator::find(&args.remote, config, term)?;
    if let What::Add { use_case: Some(wanted), .. } = &args.what
        && operator.use_cases.as_ref().is_some_and(|known| !known.contains(wanted))
    {
        term.warn(format_args!(
            "the config file has no use case {wanted}: until it has, requests with this key are refused"
        ));
    }
    operator::block_on(async {
        let why = match operator.client() {
            Ok(client) => match online(args, &client, term).await {
                Err(Ended::Unreachable(why)) => why,
                Err(Ended::Failed(failed)) => return Err(failed),
                Ok(keys) => {
                    tell_unmatched(&operator, &keys, term);
                    return Ok(Exit::Done);
                }
            },
            Err(why) => why,
        };
        let adds = matches!(args.what, What::Add { .. });
        let wants = if adds { Wants::Additions } else { Wants::Present };
        let alone = alone::go(&operator, wants, why, term)?;
        let done = offline(args, &alone.store, term).await;
        alone.store.close().await;
        tell_unmatched(&operator, &done?, term);
        let urgent = matches!(args.what, What::Revoke { .. } | What::Rotate { .. });
        Ok(if urgent { alone.exit_if_urgent() } else { Exit::Done })
    })?
}

/// Does it, and returns the keys that are there then.
async fn online(args: &Args, client: &Admin, term: &mut Term) -> Result<Vec<KeyStatus>, Ended> {
    let actor = operator::actor(args.actor.as_deref());
    match &args.what {
        What::Add { name, use_case, local_only, batch } => {
            let (local_only, batch) = (*local_only, *batch);
            let (name, use_case) = (name.clone(), use_case.clone());
            let key = AddKey { name, use_case, local_only, batch, actor };
            show_new(&client.add_key(&key).await?, term)?;
        }
        What::List { json } => show_list(&client.keys().await?, *json, term)?,
        What::Rotate { name, overlap, reason } => {
            let rotate = RotateKey { overlap_ms: *overlap, actor, reason: reason.clone() };
            show_new(&client.rotate_key(name, &rotate).await?, term)?;
        }
        What::Revoke { name, former, reason } => {
            let before = client.keys().await?.into_iter().find(|key| key.name == *name);
            let by = RevokeKey { former: *former, actor, reason: reason.clone() };
            client.revoke_key(name, &by).await?;
            say_revoked((name, *former), before.and_then(|key| key.revoked), term);
        }
    }
    // What was asked for is done: a list that cannot be had now is no failure of it.
    Ok(client.keys().await.unwrap_or_default())
}

async fn offline(args: &Args, store: &Store, term: &mut Term) -> Result<Vec<KeyStatus>, Failed> {
    let (actor, now) = (operator::actor(args.actor.as_deref()), clock::now());
    match &args.what {
        What::Add { name, use_case, local_only, batch } => {
            let (local_only, batch) = (*local_only, *batch);
            let (key, secret) = keys::generate()?;
            let (name, use_case) = (name.clone(), use_case.clone());
            let new = NewKey { name, secret, use_case, local_only, batch, actor, now };
            let made = store.add_key(new).await.map_err(|error| {
                let taken = matches!(error, AddKeyError::NameTaken(_));
                let failed = Failed::from(error);
                if taken { failed.hint(keys::NAME_TAKEN_HINT) } else { failed }
            })?;
            show_new(&shown(&made, key), term)?;
        }
        What::List { json } => show_list(&statuses(store).await?, *json, term)?,
        What::Rotate { name, overlap, reason } => {
            let (key, secret) = keys::generate()?;
            let (name, reason) = (name.clone(), reason.clone());
            let rotate = Rotation { name, secret, overlap: *overlap, actor, reason, now };
            let rotated = store.rotate_key(rotate).await?;
            show_new(&shown(&rotated, key), term)?;
        }
        What::Revoke { name, former, reason } => {
            let (reason, former) = (reason.clone(), *former);
            let keys = store.load_keys().await?;
            let before = keys.list().find(|key| *key.name == **name).and_then(|key| key.revoked);
            store.revoke_key(Revocation { name: name.clone(), former, actor, reason, now }).await?;
            say_revoked((name, former), before, term);
        }
    }
    statuses(store).await
}

async fn statuses(store: &Store) -> Result<Vec<KeyStatus>, Failed> {
    Ok(store.load_keys().await?.list().map(KeyStatus::of).collect())
}

fn shown(of: &Key, key: String) -> Shown {
    Shown { name: of.name.to_string(), key, former_until: of.former_until }
}

fn show_new(new: &Shown, term: &mut Term) -> Result<(), Failed> {
    let Shown { name, key, former_until } = new;
    if let Err(error) = term.say(key) {
        return Err(unseen(new, &error));
    }
    term.talk(format_args!("This is the only time that key {name:?} is shown."));
    if let Some(until) = former_until {
        term.talk(format_args!(
            "The one before is valid until {}; to end that now: cutover key revoke {name} --former",
            clock::show(*until)
        ));
    }
    Ok(())
}

/// The secret is lost, whoever was to read it: it is stored nowhere but as a hash.
fn unseen(new: &Shown, error: &std::io::Error) -> Failed {
    let Shown { name, former_until, .. } = new;
    let message = format!(
        "key {name:?} has a new secret, but it could not be printed to stdout ({error}), and nobody has seen it"
    );
    let failed = Failed::new(Exit::Failed, message);
    match former_until {
        None => failed.hint(format!("give it another: cutover key rotate {name} --overlap \"0 s\"")),
        Some(until) => failed.hint(format!(
            "rotate it again: cutover key rotate {name}. The secret before is valid until {}, as it would have been",
            clock::show(*until)
        )),
    }
}

fn say_revoked((name, former): (&str, bool), before: Option<Millis>, term: &mut Term) {
    let done = if former { "its former secrets are revoked" } else { "revoked" };
    let before = before.map(|at| format!("was revoked already, at {}", clock::show(at)));
    term.done(format_args!("{name}: {}", before.as_deref().unwrap_or(done)));
}

/// A use case whose key opens no door is one that nothing reaches any more: its clients, under another key's
/// name, are served by the default upstream, whatever the use case says of arms and residency.
fn tell_unmatched(operator: &Operator, keys: &[KeyStatus], term: &mut Term) {
    for (use_case, name) in &operator.by_key {
        if keys.iter().any(|key| key.name == *name && key.revoked.is_some()) {
            term.warn(format_args!(
                "use case {use_case} matches by key {name}, which is revoked: requests with another key go \
                 elsewhere. To replace a key under its name: cutover key rotate, before it is revoked"
            ));
        }
    }
}

fn bounds(key: &KeyStatus) -> String {
    let words = [(key.local_only, "local-only"), (key.batch, "batch")];
    let words: Vec<_> = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn show_list(keys: &[KeyStatus], json: bool, term: &mut Term) -> Result<(), Failed> {
    if json {
        return Ok(term.say(serde_json::to_string_pretty(keys)?)?);
    }
    if keys.is_empty() {
        term.talk("There are no keys. Make one: cutover key add NAME");
        return Ok(());
    }
    let mut table = Table::new(&[
        "key",
        "begins",
        "use case",
        "bounds",
        "made",
        "revoked",
        "secret before until",
    ]);
    let now = clock::now();
    for key in keys {
        let use_case = key.use_case.as_ref().map_or("-", |name| name.as_str());
        let revoked = key.revoked.map_or_else(|| "no".to_owned(), clock::show);
        let former = key.former_until.filter(|until| *until > now);
        table.row([
            key.name.clone(),
            key.prefix.clone(),
            use_case.to_owned(),
            bounds(key),
            clock::show(key.created),
            revoked,
            former.map_or_else(|| "-".to_owned(), clock::show),
        ]);
    }
    Ok(term.say(table.to_string().trim_end())?)
}
