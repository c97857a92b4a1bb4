//! By which name somebody acts: what the history, the audit log and approvals say.
//!
//! Whoever has a token of their own acts by its name, whatever the body says. Whoever has the admin
//! token, which many may share, says by which name they act; but not by the name of an operator, nor by
//! the controller's: such a name in the history is proof.

use http::StatusCode;

use super::{Rejection, TokenHash, Who};

/// The controller in the history.
const CONTROLLER: &str = "controller";

/// Who calls, and whose names are taken.
#[derive(Debug)]
pub(super) struct Caller<'d> {
    pub(super) who: Who,
    pub(super) operators: &'d [(String, TokenHash)],
}

impl Caller<'_> {
    /// The name that this caller acts by.
    pub(super) fn actor(&self, said: String) -> Result<String, Rejection> {
        match &self.who {
            Who::Operator(name) => Ok(name.clone()),
            Who::Shared | Who::Anyone => {
                let taken = |name: &str| name.eq_ignore_ascii_case(said.trim());
                if taken(CONTROLLER) {
                    let message = format!("{said:?} is the controller's name");
                    return Err(refused(message).with_hint("say who you are: --actor NAME"));
                }
                if self.operators.iter().any(|(name, _)| taken(name)) {
                    let message = format!("{said:?} has a token of their own, and this is not it");
                    let hint =
                        "use that token (CUTOVER_ADMIN_TOKEN or --token-file), or another --actor";
                    return Err(refused(message).with_hint(hint));
                }
                Ok(said)
            }
        }
    }
}

fn refused(message: String) -> Rejection {
    Rejection::new(StatusCode::FORBIDDEN, "name_taken", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_history_is_a_tokens_or_nobodys() {
        let operators = [("ann".to_owned(), TokenHash::of("anns-own-token"))];
        let act = |who: Who, said: &str| {
            let caller = Caller { who, operators: &operators };
            caller.actor(said.to_owned()).ok()
        };
        let ann = || Who::Operator("ann".to_owned());
        for said in ["ann", "bob", "", "controller"] {
            assert_eq!(act(ann(), said).as_deref(), Some("ann"), "{said}");
        }
        assert_eq!(act(Who::Shared, "bob").as_deref(), Some("bob"));
        for said in ["ann", "Ann", " ann ", "controller"] {
            assert_eq!(act(Who::Shared, said), None, "{said}");
        }
    }
}
