//! Where a schema's references lead. A validator resolves them against the nearest `$id`, names of places and
//! what it came through; here they are looked up in the whole document alone, so that both see the same schema:
//! whatever could lead a validator elsewhere is refused.

use std::collections::{HashMap, HashSet};

use jsonschema::Draft;
use serde_json::Value;

use super::keywords::{Place, REFERENCES, held};

/// Give a schema, or a place in it, a name that references are resolved against.
const NAMES: [&str; 4] = ["$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"];

/// A schema's parts, and where its references lead.
pub(super) struct References<'v> {
    draft: Draft,
    schemas: Vec<&'v Value>,
    targets: HashMap<&'v str, &'v Value>,
    patterns: HashSet<&'v str>,
    /// Places that have no name, or none that is refused.
    unnamed: HashSet<*const Value>,
    /// How many keywords were looked at for a name.
    #[cfg(test)]
    looks: usize,
}

/// Where a document's references lead: the places as pointers that are no URLs any more.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<String, String>);

impl Places {
    /// The place in the document that they were read from.
    pub(super) fn find<'v>(&self, document: &'v Value, reference: &str) -> Option<&'v Value> {
        document.pointer(self.0.get(reference)?)
    }
}

/// Takes the names away that a document has as a whole: every reference is to a place in it, whatever its name.
pub(super) fn without_names(document: &mut Value) {
    let draft = Draft::default().detect(document);
    if let Value::Object(keywords) = document {
        keywords.retain(|keyword, _| !names(draft, keyword));
    }
}

impl<'v> References<'v> {
    /// Says which reference leads nowhere, or cannot be followed.
    pub(super) fn of(document: &'v Value) -> Result<Self, String> {
        let draft = Draft::default().detect(document);
        if draft == Draft::Unknown {
            return Err(
                "names a `$schema` that is no draft of JSON Schema from 4 to 2020-12".into()
            );
        }
        let mut all = Self {
            draft,
            schemas: vec![],
            targets: HashMap::new(),
            patterns: HashSet::new(),
            unnamed: HashSet::from([std::ptr::from_ref(document)]),
            #[cfg(test)]
            looks: 0,
        };
        let (mut seen, mut left) = (HashSet::from([std::ptr::from_ref(document)]), vec![document]);
        while let Some(schema) = left.pop() {
            let Value::Object(keywords) = schema else { continue };
            all.schemas.push(schema);
            let mut found = Vec::new();
            all.refuse_names(schema)?;
            for (keyword, value) in keywords {
                match (keyword.as_str(), value) {
                    ("pattern", Value::String(pattern)) => {
                        all.patterns.insert(pattern);
                    }
                    ("patternProperties", Value::Object(of)) => {
                        all.patterns.extend(of.keys().map(String::as_str));
                    }
                    (reference, Value::String(to))
                        if REFERENCES.contains(&reference)
                            && !all.targets.contains_key(to.as_str()) =>
                    {
                        let target = all.follow(document, to)?;
                        all.targets.insert(to, target);
                        found.push(target);
                    }
                    _ => {}
                }
                found.extend(held(keyword, value).into_iter().flat_map(|(_, schemas)| schemas));
            }
            left.extend(found.into_iter().filter(|one| seen.insert(std::ptr::from_ref(*one))));
        }
        Ok(all)
    }

    /// Where a reference leads.
    pub(super) fn target(&self, reference: &str) -> Option<&'v Value> {
        self.targets.get(reference).copied()
    }

    /// Where all references lead, without the document.
    pub(super) fn places(&self) -> Places {
        let pointer = |to: &str| decoded(to.strip_prefix('#')?);
        let places = self.targets.keys().filter_map(|to| Some(((*to).to_owned(), pointer(to)?)));
        Places(places.collect())
    }

    /// Which draft it is of.
    pub(super) fn draft(&self) -> Draft {
        self.draft
    }

    /// All schemas that are in the document, and those that references lead to.
    pub(super) fn schemas(&self) -> &[&'v Value] {
        &self.schemas
    }

    /// How many references there are.
    pub(super) fn count(&self) -> usize {
        self.targets.len()
    }

    #[cfg(test)]
    pub(super) fn looks(&self) -> usize {
        self.looks
    }

    /// All patterns, each once.
    pub(super) fn patterns(&self) -> &HashSet<&'v str> {
        &self.patterns
    }

    /// Refuses a schema that asks the same of the same value again, without end: nobody can tell what is valid.
    pub(super) fn refuse_rounds(&self) -> Result<(), String> {
        let mut done = HashMap::new();
        self.schemas.iter().try_for_each(|schema| self.round(schema, &mut done))
    }

    /// `done`: whether a schema was left again; one that was not is a way back to where we came from.
    fn round(
        &self,
        schema: &'v Value,
        done: &mut HashMap<*const Value, bool>,
    ) -> Result<(), String> {
        let Value::Object(keywords) = schema else { return Ok(()) };
        let place = std::ptr::from_ref(schema);
        match done.get(&place) {
            Some(true) => return Ok(()),
            Some(false) => {
                return Err("refers to itself without going on to a part of the value".into());
            }
            None => done.insert(place, false),
        };
        for (keyword, value) in keywords {
            if let (true, Value::String(to)) = (REFERENCES.contains(&keyword.as_str()), value)
                && let Some(target) = self.target(to)
            {
                self.round(target, done)?;
            }
            if let Some((Place::Here, mut schemas)) = held(keyword, value) {
                schemas.try_for_each(|one| self.round(one, done))?;
            }
        }
        done.insert(place, true);
        Ok(())
    }

    /// Once for each place, however often it lies on a reference's way.
    fn refuse_names(&mut self, place: &Value) -> Result<(), String> {
        if !self.unnamed.insert(std::ptr::from_ref(place)) {
            return Ok(());
        }
        place.as_object().into_iter().flatten().try_for_each(|(keyword, value)| {
            #[cfg(test)]
            {
                self.looks += 1;
            }
            self.refuse_name(keyword, value)
        })
    }

    fn refuse_name(&self, keyword: &str, value: &Value) -> Result<(), String> {
        let on = *value == Value::Bool(true) && keyword == "$recursiveAnchor";
        if names(self.draft, keyword) && (value.is_string() || on) {
            let shown = shown(&value.to_string());
            return Err(format!(
                "has {keyword:?} ({shown}) below its root: references are looked up in the whole document, and \
                 lead to its places (\"#/$defs/...\") alone"
            ));
        }
        if keyword == "$schema"
            && value.as_str().is_some_and(|uri| Draft::from_schema_uri(uri) != self.draft)
        {
            return Err("names another draft (\"$schema\") below its root".into());
        }
        Ok(())
    }

    fn follow(&mut self, document: &'v Value, reference: &str) -> Result<&'v Value, String> {
        let shown = shown(reference);
        let pointer = pointer(reference)
            .ok_or_else(|| {
                format!("refers to {shown:?}: a reference is \"#\" or begins with \"#/\"")
            })?
            .map_err(|why| format!("refers to {shown:?}, which {why}"))?;
        let mut place = document;
        for name in pointer {
            let next = match place {
                Value::Array(items) => index(&name).and_then(|index| items.get(index)),
                Value::Object(members) => members.get(&name),
                _ => None,
            };
            place = next.ok_or_else(|| format!("refers to {shown:?}: there is no such place"))?;
            // Places that are no schemas may have names, too.
            self.refuse_names(place)?;
        }
        Ok(place)
    }
}

fn names(draft: Draft, keyword: &str) -> bool {
    NAMES.contains(&keyword) || draft == Draft::Draft4 && keyword == "id"
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The names on the way to a place (RFC 6901, 6): a URL's fragment, unescaped, and then each name. Nothing for a
/// reference of another kind.
fn pointer(reference: &str) -> Option<Result<Vec<String>, &'static str>> {
    let fragment = reference.strip_prefix('#')?;
    if fragment.is_empty() {
        return Some(Ok(Vec::new()));
    }
    let names = fragment.strip_prefix('/')?;
    let Some(names) = decoded(names) else {
        return Some(Err("is badly escaped: \"%\" stands before two hexadecimal digits of UTF-8"));
    };
    if names.replace("~0", "").replace("~1", "").contains('~') {
        return Some(Err("is badly escaped: \"~\" is \"~0\", \"/\" in a name is \"~1\""));
    }
    Some(Ok(names.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect()))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (hexadecimal(left.next()?)?, hexadecimal(left.next()?)?);
                high << 4 | low
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| value.try_into().ok())
}

/// As RFC 6901 writes it: others are read differently by different readers.
fn index(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (name == "0" || !name.starts_with('0'))).then(|| name.parse().ok()).flatten()
}
