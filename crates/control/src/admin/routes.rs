//! The admin API's routes: one table, read by the dispatcher, the reference and the tests.

use std::fmt::Write as _;

use http::Method;

use super::auth::Auth;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Says that the process lives.
    Health,
    /// Says whether traffic is served.
    Ready,
    /// Prometheus text.
    Metrics,
    /// Config, use cases, instances.
    Status,
    /// Sets a weight.
    SetWeight,
    /// Rolls a use case back.
    RollBack,
    /// Reads the config file again.
    Reload,
    /// Tells what would happen to a request.
    Explain,
    /// Lists client keys.
    ListKeys,
    /// Makes a client key.
    AddKey,
    /// Gives a client key another secret.
    RotateKey,
    /// Revokes a client key.
    RevokeKey,
    /// Lists prompts.
    ListPrompts,
    /// Adds a version of a prompt.
    AddPrompt,
    /// Shows a version of a prompt.
    ShowPrompt,
    /// Puts a label on a version.
    MoveLabel,
    /// Lists the models of an upstream's engines.
    ListModels,
    /// Fetches, shows, removes or loads one.
    ManageModels,
    /// Tells how far that is.
    ModelsJob,
    /// Lists instances.
    ListInstances,
    /// Takes an instance out of service.
    DrainInstance,
    /// Puts an instance back into service.
    ResumeInstance,
    /// Lists rollouts.
    ListRollouts,
    /// Shows one rollout.
    ShowRollout,
    /// Begins a rollout.
    StartRollout,
    /// Pauses, resumes, advances, approves, promotes or rolls back.
    CommandRollout,
    /// Lists a rollout's decisions.
    RolloutHistory,
    /// Decides again what was decided.
    ReplayRollout,
    /// Shows a pair to compare.
    NextPair,
    /// Takes what a person says of a pair.
    LabelPair,
    /// Explains one decision.
    ExplainDecision,
    /// Follows the chain of decisions.
    VerifyDecisions,
}

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; `{name}` and `{pair}` stand for one segment each.
    pub path: &'static str,
    /// Who may call it.
    pub auth: Auth,
    /// What it does.
    pub action: Action,
    /// What it does, for the reference.
    pub doc: &'static str,
}

/// All routes.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/health",
        auth: Auth::Open,
        action: Action::Health,
        doc: "200 while the process lives.",
    },
    Route {
        method: Method::GET,
        path: "/ready",
        auth: Auth::Scrape,
        action: Action::Ready,
        doc: "200 when every configured part can serve, else 503 with what it waits for.",
    },
    Route {
        method: Method::GET,
        path: "/metrics",
        auth: Auth::Scrape,
        action: Action::Metrics,
        doc: "Metrics as Prometheus text.",
    },
    Route {
        method: Method::GET,
        path: "/admin/status",
        auth: Auth::Token,
        action: Action::Status,
        doc: "Config, use cases with their weights, instances.",
    },
    Route {
        method: Method::POST,
        path: "/admin/use-cases/{name}/weight",
        auth: Auth::Token,
        action: Action::SetWeight,
        doc: "Sets the candidate's share: `{\"weight\": \"25%\", \"actor\": \"ann\", \"reason\": \"..\"}`. \
              A use case that was rolled back needs `\"after_rollback\": true`.",
    },
    Route {
        method: Method::POST,
        path: "/admin/use-cases/{name}/rollback",
        auth: Auth::Token,
        action: Action::RollBack,
        doc: "Sends all traffic to the baseline, at once: `{\"actor\": \"ann\", \"reason\": \"..\"}`.",
    },
    Route {
        method: Method::POST,
        path: "/admin/reload",
        auth: Auth::Token,
        action: Action::Reload,
        doc: "Reads the config file again; a bad one is refused and the old one keeps serving.",
    },
    Route {
        method: Method::POST,
        path: "/admin/explain",
        auth: Auth::Token,
        action: Action::Explain,
        doc: "Tells what would happen to a request, without sending it: \
              `{\"headers\": {..}, \"body\": {..}}`.",
    },
    Route {
        method: Method::GET,
        path: "/admin/keys",
        auth: Auth::Token,
        action: Action::ListKeys,
        doc: "Client keys, without the keys themselves.",
    },
    Route {
        method: Method::POST,
        path: "/admin/keys",
        auth: Auth::Token,
        action: Action::AddKey,
        doc: "Makes a client key: `{\"name\": \"team-a\", \"actor\": \"ann\"}`. The answer is the only place it is shown.",
    },
    Route {
        method: Method::POST,
        path: "/admin/keys/{name}/rotate",
        auth: Auth::Token,
        action: Action::RotateKey,
        doc: "Gives a client key another secret: `{\"overlap_ms\": 86400000, \"actor\": \"ann\", \"reason\": \"..\"}`. The one before is \
              valid for that long; with 0 none of before is, at once. The answer is the only place the new one is shown.",
    },
    Route {
        method: Method::DELETE,
        path: "/admin/keys/{name}",
        auth: Auth::Token,
        action: Action::RevokeKey,
        doc: "Revokes a client key: `{\"actor\": \"ann\", \"reason\": \"..\"}`; with `\"former\": true` only the secrets that were \
              replaced.",
    },
    Route {
        method: Method::GET,
        path: "/admin/prompts",
        auth: Auth::Token,
        action: Action::ListPrompts,
        doc: "All versions of prompts without their texts, and where the labels are.",
    },
    Route {
        method: Method::POST,
        path: "/admin/prompts",
        auth: Auth::Token,
        action: Action::AddPrompt,
        doc: "Adds a version: `{\"name\": \"extraction\", \"text\": \"..\", \"note\": \"..\", \"label\": \"production\", \
              \"actor\": \"ann\"}`. The text of the newest version is not added again.",
    },
    Route {
        method: Method::GET,
        path: "/admin/prompts/{name}",
        auth: Auth::Token,
        action: Action::ShowPrompt,
        doc: "One version with its text; the name is `extraction@production` or `extraction@3`.",
    },
    Route {
        method: Method::POST,
        path: "/admin/prompts/{name}/labels/{pair}",
        auth: Auth::Token,
        action: Action::MoveLabel,
        doc: "Puts a label on a version, in force at once: `{\"version\": 3, \"actor\": \"ann\", \"reason\": \"..\"}`; \
              with `\"expected_generation\"` only if no other move came first.",
    },
    Route {
        method: Method::GET,
        path: "/admin/upstreams/{name}/models",
        auth: Auth::Token,
        action: Action::ListModels,
        doc: "The models that each instance of an upstream has.",
    },
    Route {
        method: Method::POST,
        path: "/admin/upstreams/{name}/models",
        auth: Auth::Token,
        action: Action::ManageModels,
        doc: "Begins something at all its instances: \
              `{\"action\": \"pull\", \"model\": \"qwen2.5:7b\"}`; `list`, `show`, `remove` and `warm`, too. \
              What is not done within 1.5 s goes on by itself; `cancel` ends what pulls or warms a model.",
    },
    Route {
        method: Method::GET,
        path: "/admin/upstreams/{name}/models/{pair}",
        auth: Auth::Token,
        action: Action::ModelsJob,
        doc: "How far what was begun under this number is.",
    },
    Route {
        method: Method::GET,
        path: "/admin/instances",
        auth: Auth::Token,
        action: Action::ListInstances,
        doc: "All instances, those that are out of service, and the names whose addresses are instances.",
    },
    Route {
        method: Method::POST,
        path: "/admin/instances/drain",
        auth: Auth::Token,
        action: Action::DrainInstance,
        doc: "Takes an instance out of service: `{\"instance\": \"gpus/0\", \"actor\": \"ann\", \"reason\": \"..\"}`. \
              What it has begun it ends; it stays out over reloads and restarts.",
    },
    Route {
        method: Method::POST,
        path: "/admin/instances/resume",
        auth: Auth::Token,
        action: Action::ResumeInstance,
        doc: "Puts it back into service: the same body.",
    },
    Route {
        method: Method::GET,
        path: "/admin/rollouts",
        auth: Auth::Token,
        action: Action::ListRollouts,
        doc: "All use cases' newest rollouts: steps, gates with their numbers, what each waits for.",
    },
    Route {
        method: Method::GET,
        path: "/admin/rollouts/{name}",
        auth: Auth::Token,
        action: Action::ShowRollout,
        doc: "One use case's newest rollout.",
    },
    Route {
        method: Method::POST,
        path: "/admin/rollouts/{name}/start",
        auth: Auth::Token,
        action: Action::StartRollout,
        doc: "Begins the rollout of the config file: `{\"actor\": \"ann\", \"reason\": \"..\"}`. \
              A use case that was rolled back needs `\"after_rollback\": true`.",
    },
    Route {
        method: Method::POST,
        path: "/admin/rollouts/{name}/command",
        auth: Auth::Token,
        action: Action::CommandRollout,
        doc: "`{\"command\": \"pause\", \"actor\": \"ann\", \"reason\": \"..\"}`; or `resume`, `advance`, `approve` (with \
              `\"step\"`), `promote`, `roll_back`, `abandon`.",
    },
    Route {
        method: Method::GET,
        path: "/admin/rollouts/{name}/history",
        auth: Auth::Token,
        action: Action::RolloutHistory,
        doc: "A use case's decisions, newest first, with their hashes.",
    },
    Route {
        method: Method::POST,
        path: "/admin/rollouts/{name}/replay",
        auth: Auth::Token,
        action: Action::ReplayRollout,
        doc: "Decides again from the stored windows and compares: `{}`; with `{\"config\": \"..\"}` (a config \
              file's text) it tells what would have happened.",
    },
    Route {
        method: Method::GET,
        path: "/admin/rollouts/{name}/pairs/next",
        auth: Auth::Token,
        action: Action::NextPair,
        doc: "A stored pair for `?rater=ann` to compare: prompt and two answers, without who gave which.",
    },
    Route {
        method: Method::POST,
        path: "/admin/rollouts/{name}/pairs/{pair}/label",
        auth: Auth::Token,
        action: Action::LabelPair,
        doc: "What a person says of a pair: `{\"choice\": \"left\", \"rater\": \"ann\", \"ms\": 4200}`; or `right`, \
              `tie`, `both_bad`, `skip`. `\"repeat\": true` for a pair that was shown as one.",
    },
    Route {
        method: Method::GET,
        path: "/admin/decisions/{name}",
        auth: Auth::Token,
        action: Action::ExplainDecision,
        doc: "Explains the decision of this number.",
    },
    Route {
        method: Method::GET,
        path: "/admin/decisions",
        auth: Auth::Token,
        action: Action::VerifyDecisions,
        doc: "Follows the hash chain of all decisions.",
    },
];

/// What a method and path lead to.
#[derive(Debug)]
pub(crate) enum Found<'p> {
    /// A route, and the path's `{name}` and `{pair}`; empty if it has none.
    Route(&'static Route, (&'p str, &'p str)),
    /// The path exists, the method does not.
    WrongMethod,
    /// No such path.
    Nothing,
}

/// Finds the route of a request.
pub(crate) fn find<'p>(method: &Method, path: &'p str) -> Found<'p> {
    // As on the clients' listener; the answer's body stays away by itself.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let mut fits = ROUTES.iter().filter_map(|r| capture(r.path, path).map(|name| (r, name)));
    match fits.clone().find(|(route, _)| route.method == *method) {
        Some((route, name)) => Found::Route(route, name),
        None if fits.next().is_some() => Found::WrongMethod,
        None => Found::Nothing,
    }
}

/// Whether a path fits a pattern; if so, its `{name}` and `{pair}`, or nothing. Names need no escaping anywhere, so the
/// segment is taken as it is.
fn capture<'p>(pattern: &str, path: &'p str) -> Option<(&'p str, &'p str)> {
    let (mut want, mut have) = (pattern.split('/'), path.split('/'));
    let mut found = ("", "");
    loop {
        match (want.next(), have.next()) {
            (None, None) => return Some(found),
            (Some("{name}"), Some(segment)) if !segment.is_empty() => found.0 = segment,
            (Some("{pair}"), Some(segment)) if !segment.is_empty() => found.1 = segment,
            (Some(word), Some(segment)) if word == segment => {}
            _ => return None,
        }
    }
}

/// The reference of the admin API as a Markdown table.
pub fn reference() -> String {
    let mut out = String::from("| route | who | what |\n|---|---|---|\n");
    for route in ROUTES {
        let who = match route.auth {
            Auth::Open => "anyone",
            Auth::Scrape => "anyone on a loopback listener, else the token",
            Auth::Token => "the token",
        };
        let (method, path, doc) = (&route.method, route.path, route.doc);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{method} {path}` | {who} | {doc} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_health_is_open_and_only_probes_are_scraped() {
        for route in ROUTES {
            let expected = match route.path {
                "/health" => Auth::Open,
                "/ready" | "/metrics" => Auth::Scrape,
                _ => Auth::Token,
            };
            assert_eq!(route.auth, expected, "{} {}", route.method, route.path);
            assert!(route.auth != Auth::Scrape || route.method == Method::GET);
        }
    }

    #[test]
    fn paths_lead_where_the_table_says() {
        let name = |path| match find(&Method::POST, path) {
            Found::Route(route, (name, _)) => Some((route.action, name.to_owned())),
            _ => None,
        };
        assert_eq!(
            name("/admin/use-cases/a.b/weight"),
            Some((Action::SetWeight, "a.b".to_owned()))
        );
        let two = find(&Method::POST, "/admin/rollouts/a/pairs/7/label");
        assert!(matches!(two, Found::Route(_, ("a", "7"))), "{two:?}");
        assert_eq!(name("/admin/keys"), Some((Action::AddKey, String::new())));
        for path in ["/admin/use-cases//weight", "/admin/use-cases/a/weight/", "//admin/keys", ""] {
            assert!(matches!(find(&Method::POST, path), Found::Nothing), "{path}");
        }
        assert!(matches!(find(&Method::PUT, "/admin/keys"), Found::WrongMethod));
    }
}
