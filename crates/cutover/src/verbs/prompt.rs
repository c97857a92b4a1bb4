//! `cutover prompt`: versions of prompts and their labels. With a running cutover through its admin API,
//! so that a change is in force at once; without one in the state directory's database, where that is safe.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cutover_control::api::prompts::{
    AddPrompt, AddedPrompt, MoveLabel, MovedLabel, PromptList, PromptStatus, PromptText,
};
use cutover_control::client::Admin;
use cutover_prompts::{LabelName, Prompt, Reference, TEXT_BYTES_MAX, compare};
use cutover_store::{MoveLabel as Move, NewPrompt, Store};
use cutover_units::{Generation, PromptName};

use crate::alone::{self, Wants};
use crate::clock;
use crate::exit::{Exit, Failed};
use crate::operator::{self, Ended, Operator, Remote};
use crate::table::Table;
use crate::term::Term;

/// Keep prompts in versions, and choose with labels which one answers.
///
/// A version never changes. A variant names a prompt by a label ("extraction@production") or by a number
/// ("extraction@3"); moving the label changes what is sent, at once. Without a running cutover the state
/// directory is changed, and the next start takes it up.
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
    /// Add a version, unless the newest one has this text
    Add {
        /// The prompt's name
        #[arg(value_parser = parse_name)]
        name: PromptName,
        /// The file with its text; - is stdin
        file: PathBuf,
        /// Put this label on it
        #[arg(long, value_name = "LABEL", value_parser = parse_label)]
        label: Option<LabelName>,
        /// What is new, for lists and the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        /// Refuse if the label has another generation, because another move came first; 0 is no label
        #[arg(long, value_name = "GENERATION", requires = "label")]
        expect: Option<u64>,
    },
    /// List versions and labels
    List {
        /// Only this prompt
        #[arg(value_parser = parse_name)]
        name: Option<PromptName>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the text of a version
    Show {
        /// Such as extraction@production or extraction@3
        #[arg(value_name = "NAME@VERSION", value_parser = parse_reference)]
        version: Reference,
        /// Print JSON, with who added it and its labels
        #[arg(long)]
        json: bool,
    },
    /// Compare two versions; ends with 1 if they differ
    Diff {
        /// The one before
        #[arg(value_name = "NAME@VERSION", value_parser = parse_reference)]
        old: Reference,
        /// The one after
        #[arg(value_name = "NAME@VERSION", value_parser = parse_reference)]
        new: Reference,
    },
    /// Put a label on a version: from now on it answers wherever the label is named
    Label {
        /// The prompt's name
        #[arg(value_parser = parse_name)]
        name: PromptName,
        /// The version's number
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        version: u32,
        /// The label
        #[arg(value_parser = parse_label)]
        label: LabelName,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// Refuse if the label has another generation, because another move came first; 0 is no label
        #[arg(long, value_name = "GENERATION")]
        expect: Option<u64>,
    },
}

fn parse_name(text: &str) -> Result<PromptName, String> {
    PromptName::new(text).map_err(|e| e.to_string())
}

fn parse_label(text: &str) -> Result<LabelName, String> {
    LabelName::new(text).map_err(|e| e.to_string())
}

fn parse_reference(text: &str) -> Result<Reference, String> {
    Reference::parse(text).map_err(|e| e.to_string())
}

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let operator = Operator::find(&args.remote, config, term)?;
    let actor = operator::actor(args.actor.as_deref());
    let text = match &args.what {
        What::Add { file, .. } => read(file)?,
        _ => String::new(),
    };
    operator::block_on(async {
        let why = match operator.client() {
            Ok(client) => {
                match act(&args.what, &Way::Online(&client), (&actor, &text), term).await {
                    Err(Ended::Unreachable(why)) => why,
                    Err(Ended::Failed(failed)) => return Err(failed),
                    Ok(exit) => return Ok(exit),
                }
            }
            Err(why) => why,
        };
        let adds = matches!(args.what, What::Add { .. });
        let wants = if adds { Wants::Additions } else { Wants::Present };
        let alone = alone::go(&operator, wants, why, term)?;
        let way = Way::Offline(&alone.store);
        let ended = act(&args.what, &way, (&actor, &text), term).await;
        alone.store.close().await;
        ended.map_err(|(Ended::Failed(failed) | Ended::Unreachable(failed))| failed)
    })?
}

/// The text, checked here already: so a mistake is told with the file's name.
fn read(file: &Path) -> Result<String, Failed> {
    let mut text = String::new();
    // One byte more than there may be, so that too much shows.
    let limit = TEXT_BYTES_MAX as u64 + 1;
    let (name, result) = if file == Path::new("-") {
        ("stdin".to_owned(), std::io::stdin().take(limit).read_to_string(&mut text))
    } else {
        let name = file.display().to_string();
        let opened = std::fs::File::open(file);
        (name, opened.and_then(|file| file.take(limit).read_to_string(&mut text)))
    };
    result.with_context(|| format!("cannot read {name}"))?;
    Prompt::compile(&text).map_err(|problem| {
        Failed::new(Exit::Failed, format!("{name}:{}: {}", problem.line, problem.message))
    })?;
    Ok(text)
}

/// How prompts are reached.
enum Way<'a> {
    Online(&'a Admin),
    Offline(&'a Store),
}

async fn act(
    what: &What,
    way: &Way<'_>,
    (actor, text): (&str, &str),
    term: &mut Term,
) -> Result<Exit, Ended> {
    match what {
        What::Add { name, label, note, expect, .. } => {
            let request = AddPrompt {
                name: name.clone(),
                text: text.to_owned(),
                note: note.clone(),
                label: label.clone(),
                expected_generation: expect.map(Generation),
                actor: actor.to_owned(),
            };
            show_added(&way.add(request).await?, term)?;
        }
        What::List { name, json } => {
            let mut list = way.list().await?;
            list.versions.retain(|version| name.as_ref().is_none_or(|name| version.name == *name));
            list.labels.retain(|label| name.as_ref().is_none_or(|name| label.name == *name));
            show_list(&list, *json, term)?;
        }
        What::Show { version, json } => show_text(&way.text(version).await?, *json, term)?,
        What::Diff { old, new } => {
            let (old, new) = (way.text(old).await?.version, way.text(new).await?.version);
            let (old_name, new_name) = (old.reference(), new.reference());
            let difference = compare((&old_name, &old.text), (&new_name, &new.text));
            if !difference.is_empty() {
                term.say(difference.trim_end()).map_err(Failed::from)?;
                return Ok(Exit::Failed);
            }
            term.talk(format_args!("{old_name} and {new_name} have the same text"));
        }
        What::Label { name, version, label, reason, expect } => {
            let to = MoveLabel {
                version: *version,
                expected_generation: expect.map(Generation),
                actor: actor.to_owned(),
                reason: reason.clone(),
            };
            show_moved(&way.move_label((name, label), to).await?, term)?;
        }
    }
    Ok(Exit::Done)
}

impl Way<'_> {
    async fn add(&self, request: AddPrompt) -> Result<AddedPrompt, Ended> {
        let store = match self {
            Self::Online(client) => return Ok(client.add_prompt(&request).await?),
            Self::Offline(store) => store,
        };
        let expected = request.expected_generation;
        let new = NewPrompt {
            name: request.name,
            text: request.text,
            note: request.note,
            label: request.label.map(|label| (label, expected)),
            actor: request.actor,
            now: clock::now(),
        };
        let added = store.add_prompt(new).await.map_err(refused)?;
        let book = store.prompts().await.map_err(Failed::from)?;
        Ok(AddedPrompt {
            version: PromptStatus::of(&added.version, &book),
            new: added.new,
            label: added.label,
            effects: Vec::new(),
        })
    }

    async fn list(&self) -> Result<PromptList, Ended> {
        Ok(match self {
            Self::Online(client) => client.prompts().await?,
            Self::Offline(store) => PromptList::of(&store.prompts().await.map_err(Failed::from)?),
        })
    }

    async fn text(&self, of: &Reference) -> Result<PromptText, Ended> {
        let store = match self {
            Self::Online(client) => return Ok(client.prompt(of).await?),
            Self::Offline(store) => store,
        };
        let book = store.prompts().await.map_err(Failed::from)?;
        let version = book.resolve(of).map_err(refused)?;
        Ok(PromptText::of(version, &book))
    }

    async fn move_label(
        &self,
        (name, label): (&PromptName, &LabelName),
        to: MoveLabel,
    ) -> Result<MovedLabel, Ended> {
        let store = match self {
            Self::Online(client) => return Ok(client.move_label((name, label), &to).await?),
            Self::Offline(store) => store,
        };
        let to = Move {
            name: name.clone(),
            label: label.clone(),
            version: to.version,
            expected: to.expected_generation,
            actor: to.actor,
            reason: to.reason,
            now: clock::now(),
        };
        let label = store.move_label(to).await.map_err(refused)?;
        Ok(MovedLabel { label, effects: Vec::new() })
    }
}

/// What the database refused, as a running cutover refuses it.
fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Ended {
    Ended::Failed(Failed::new(Exit::Refused, error.to_string()))
}

fn show_added(added: &AddedPrompt, term: &mut Term) -> Result<(), Failed> {
    let PromptStatus { name, version, .. } = &added.version;
    let what = if added.new { "added" } else { "there already, with this very text" };
    let label = added
        .label
        .as_ref()
        .map(|label| format!("; {} is on it (generation {})", label.label, label.generation));
    term.say(format_args!("{name}@{version}: {what}{}", label.unwrap_or_default()))?;
    show_effects(&added.effects, term);
    Ok(())
}

fn show_moved(moved: &MovedLabel, term: &mut Term) -> Result<(), Failed> {
    let label = &moved.label;
    term.say(format_args!(
        "{}@{} is on version {} (generation {})",
        label.name, label.label, label.version, label.generation
    ))?;
    show_effects(&moved.effects, term);
    Ok(())
}

fn show_effects(effects: &[String], term: &mut Term) {
    for effect in effects {
        term.talk(effect);
    }
}

fn show_text(found: &PromptText, json: bool, term: &mut Term) -> Result<(), Failed> {
    if json {
        return Ok(term.say(serde_json::to_string_pretty(found)?)?);
    }
    Ok(term.say(found.version.text.trim_end_matches('\n'))?)
}

fn show_list(list: &PromptList, json: bool, term: &mut Term) -> Result<(), Failed> {
    if json {
        return Ok(term.say(serde_json::to_string_pretty(list)?)?);
    }
    if list.versions.is_empty() {
        term.talk("There are no prompts. Add one: cutover prompt add NAME FILE");
        return Ok(());
    }
    let mut table = Table::new(&["version", "labels", "bytes", "added", "by", "note"]);
    for version in &list.versions {
        let labels: Vec<_> = version.labels.iter().map(LabelName::as_str).collect();
        table.row([
            format!("{}@{}", version.name, version.version),
            if labels.is_empty() { "-".to_owned() } else { labels.join(", ") },
            version.bytes.to_string(),
            clock::show(version.created),
            version.actor.clone(),
            version.note.clone(),
        ]);
    }
    term.say(table.to_string().trim_end())?;
    for label in &list.labels {
        let why =
            if label.reason.is_empty() { String::new() } else { format!(": {}", label.reason) };
        term.say(format_args!(
            "{}@{}: on version {} since {}, by {}, generation {}{why}",
            label.name,
            label.label,
            label.version,
            clock::show(label.moved),
            label.actor,
            label.generation
        ))?;
    }
    Ok(())
}
