//! The tokens of operators: read at the start, and again with each reload, so that one that leaked is let
//! in no longer than until the next `SIGHUP`.

use std::path::{Path, PathBuf};

use cutover_config::{Checked, SecretRef};
use cutover_control::{TokenHash, Tokens, token};
use cutover_gateway::build::{BuildError, Surroundings};

use crate::exit::Failed;
use crate::files::Source;
use crate::surroundings::{EngineChoice, Outside};

/// What the admin token is called where two are the same.
const SHARED: &str = "the admin token";

/// Where tokens are found.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// What the config's references are relative to.
    pub(crate) base: PathBuf,
    /// Where the admin token is if the config names none.
    pub(crate) state: PathBuf,
}

impl Places {
    fn generated(&self) -> PathBuf {
        self.state.join(token::TOKEN_FILE)
    }

    /// All tokens at the start.
    pub(crate) fn read(&self, checked: &Checked, source: &Source) -> Result<Tokens, Failed> {
        let wrong = |error| source.unusable(&error);
        let admin = match self.configured(checked).map_err(wrong)? {
            Some(admin) => admin,
            None => TokenHash::of(&token::read_or_create(&self.generated())?),
        };
        self.with(checked, admin).map_err(wrong)
    }

    /// The same while serving. The state directory may be away then, which is no reason to refuse a config:
    /// its token stays, and that is said.
    pub(crate) fn read_again(
        &self,
        checked: &Checked,
        before: &Tokens,
    ) -> Result<(Tokens, Option<String>), BuildError> {
        if let Some(admin) = self.configured(checked)? {
            return Ok((self.with(checked, admin)?, None));
        }
        match token::read_or_create(&self.generated()) {
            Ok(token) => Ok((self.with(checked, TokenHash::of(&token))?, None)),
            Err(error) => {
                let why = anyhow::Error::from(error);
                let said = format!("{SHARED} stays as it is, its file cannot be read: {why:#}");
                Ok((self.with(checked, before.admin.clone())?, Some(said)))
            }
        }
    }

    /// What is wrong with tokens that the config names, and are there.
    pub(crate) fn problem(&self, checked: &Checked) -> Option<BuildError> {
        let admin = self.configured(checked);
        let admin = admin.map(|admin| admin.unwrap_or_else(|| TokenHash::of("")));
        admin.and_then(|admin| self.with(checked, admin)).err()
    }

    fn configured(&self, checked: &Checked) -> Result<Option<TokenHash>, BuildError> {
        let named = checked.admin.token.as_ref();
        named.map(|reference| own_token(&self.base, ("admin.token", reference))).transpose()
    }

    fn with(&self, checked: &Checked, admin: TokenHash) -> Result<Tokens, BuildError> {
        let mut tokens = Tokens { admin, operators: Vec::new() };
        for operator in &checked.admin.operators {
            let key = format!("admin.operators.{}.token", operator.name);
            let found = own_token(&self.base, (&key, &operator.token))?;
            if let Some(other) = tokens.owner(&found) {
                let other = other.unwrap_or(SHARED);
                let why = format!("it is the same as {other}, so nobody could be told from it");
                return Err(BuildError { key, why });
            }
            tokens.operators.push((operator.name.clone(), found));
        }
        Ok(tokens)
    }
}

fn own_token(base: &Path, (key, reference): (&str, &SecretRef)) -> Result<TokenHash, BuildError> {
    let wrong = |why| BuildError { key: key.to_owned(), why };
    let outside = Outside::new(base, EngineChoice::Name);
    let found = outside.secret(reference).map_err(wrong)?;
    let found = found.ok_or_else(|| wrong(format!("{reference} is not set")))?;
    if found.len() < token::TOKEN_CHARS_MIN {
        let least = token::TOKEN_CHARS_MIN;
        return Err(wrong(format!("{reference} has fewer than {least} characters")));
    }
    Ok(TokenHash::of(&found))
}
