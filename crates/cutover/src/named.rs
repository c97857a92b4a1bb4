//! The files that a config names: whether what lies there is what it is named for.
//!
//! Said at once of all of them, by `check`, at the start and at a reload. Secrets are looked at by [`crate::secrets`],
//! since a config may be checked where they are not.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use cutover_config::{Checked, Embedded, Holds, NamedFile};
use cutover_gateway::build::{BuildError, Surroundings};
use cutover_ledger::prices::PriceList;
use cutover_upstream::Tls;

use crate::exit::{Exit, Failed};
use crate::files::Source;
use crate::surroundings::{EngineChoice, Outside};
use crate::term::Term;
use crate::{models, plans};

/// What a model's file begins with.
const GGUF: &[u8] = b"GGUF";

/// A file that cannot be used.
pub(crate) struct Unusable<'c> {
    pub(crate) problem: BuildError,
    /// The settings of the embedded engine that it is for. It is loaded while all else serves, so it stops no start.
    pub(crate) engine: Option<&'c Embedded>,
}

/// All that cannot be used.
pub(crate) fn unusable<'c>(checked: &'c Checked, outside: &Outside) -> Vec<Unusable<'c>> {
    let mut found: Vec<Unusable<'c>> = Vec::new();
    for file in checked.files() {
        let engine = match file.holds {
            Holds::Model(embedded) => Some(embedded),
            _ => None,
        };
        let Some(problem) = problem(&file, checked, outside) else { continue };
        // A scorer that has two documents tells of the first that is wrong.
        if found.iter().all(|known| known.problem.key != problem.key) {
            found.push(Unusable { problem, engine });
        }
    }
    found
}

fn problem(file: &NamedFile<'_>, checked: &Checked, outside: &Outside) -> Option<BuildError> {
    let shown = file.path.display();
    let after = |why: String| format!("{shown} {why}");
    let text = || outside.text(file.path).map_err(|why| after(why.to_string()));
    let looked_at = match file.holds {
        Holds::Secret(_) => Ok(()),
        Holds::Document(at) => return plans::scorer((checked, at), outside).err(),
        // Bundles have comments, which need not be UTF-8.
        Holds::Certificates => {
            outside.file(file.path).and_then(|pem| certificates(&pem).map_err(after))
        }
        Holds::Prices => text()
            .and_then(|rows| PriceList::read(&rows).map_err(|why| format!("{shown}: {why}")))
            .map(drop),
        Holds::Prompt => text().map(drop),
        Holds::Model(embedded) if models::is_known(embedded) => Ok(()),
        Holds::Model(_) => model(file.path).map_err(after),
        Holds::State => folder(&outside.place(file.path)).map_err(after),
    };
    let key = file.key.clone();
    looked_at.err().map(|why| BuildError { key, why })
}

fn certificates(pem: &[u8]) -> Result<(), String> {
    let usable = Tls::new(&[pem]);
    usable.map(drop).map_err(|why| format!("cannot be used: {:#}", anyhow::Error::from(why)))
}

/// Of a model, which may be large, only the first bytes are read. A relative path starts where the process does.
fn model(path: &Path) -> Result<(), String> {
    if !path.is_file() {
        return Err(format!("is neither a file nor {}", models::known_names()));
    }
    let mut first = [0; GGUF.len()];
    match File::open(path).map(|mut file| file.read_exact(&mut first)) {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(read) if read.is_err() || first != GGUF => Err("is no GGUF file".to_owned()),
        Ok(_) => Ok(()),
    }
}

/// One that is not there is made by the start.
fn folder(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Ok(found) if !found.is_dir() => Err("is not a directory".to_owned()),
        _ => Ok(()),
    }
}

/// Ends a command if the config names a file that cannot be used; all such files are told.
pub(crate) fn refuse(checked: &Checked, source: &Source, term: &mut Term) -> Result<(), Failed> {
    let outside = Outside::new(&source.base, EngineChoice::Name);
    let text = source.read().unwrap_or_default();
    let mut refused = false;
    for Unusable { problem, engine } in unusable(checked, &outside) {
        let told = source.locate(&text, &problem);
        if engine.is_some() {
            term.warn(format_args!("{told}; requests for it get 503 until it can be loaded"));
        } else {
            term.complain(&anyhow::Error::msg(told), None);
            refused = true;
        }
    }
    if refused { Err(Failed::told(Exit::Config)) } else { Ok(()) }
}
