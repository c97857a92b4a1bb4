//! The rest of the OpenAI surface: everything a client may ask for that is no inference of ours. One row
//! per family, read by routing, the configuration's list of names, the tests and the reference.
//!
//! A family is either passed on untouched or refused with a reason. A path in no row is unknown: what
//! nobody has looked at is not passed on with the operator's key.
//!
//! Paths are compared segment by segment and strictly: a segment that stands for an id holds only
//! characters that ids are made of, so neither `..` nor an escaped slash leads out of a row.

use std::fmt::Write as _;

use cutover_units::Code;

/// What of the content is too large to be held, or must not wait. Everything is streamed both ways;
/// this is for the reference and the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bulk {
    /// JSON both ways.
    None,
    /// Files or forms towards the upstream.
    Up,
    /// Files, or events as they come, towards the client.
    Down,
    /// Both.
    Both,
}

impl Bulk {
    fn words(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "up, down",
        }
    }
}

/// What becomes of a family's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Passed on. The vendor answers and keeps nothing that has an id.
    Answered,
    /// Passed on. The vendor keeps what is sent, and later requests name it by an id of the vendor's.
    Kept,
    /// Never passed on.
    Refused(Code, &'static str),
}

/// A path of a family, without `/v1`; `{id}` stands for one segment, a final `/*` for any rest.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The methods it takes.
    pub methods: &'static [&'static str],
    /// The path.
    pub path: &'static str,
}

/// One family of endpoints.
#[derive(Debug)]
pub struct Family {
    /// Its name in the configuration, in records, logs and metrics.
    pub name: &'static str,
    /// Its paths.
    pub routes: &'static [Route],
    /// Which way large content goes.
    pub bulk: Bulk,
    /// What becomes of its requests. Whatever is passed on is refused to a local-only use case.
    pub fate: Fate,
    /// For the reference.
    pub doc: &'static str,
}

const fn get(path: &'static str) -> Route {
    Route { methods: &["GET"], path }
}

const fn post(path: &'static str) -> Route {
    Route { methods: &["POST"], path }
}

const fn list_and_make(path: &'static str) -> Route {
    Route { methods: &["GET", "POST"], path }
}

const fn see_and_delete(path: &'static str) -> Route {
    Route { methods: &["GET", "DELETE"], path }
}

const fn see_change_delete(path: &'static str) -> Route {
    Route { methods: &["GET", "POST", "DELETE"], path }
}

const fn any(path: &'static str) -> Route {
    Route { methods: &[], path }
}

const fn answered(name: &'static str, bulk: Bulk, routes: &'static [Route]) -> Family {
    Family { name, routes, bulk, fate: Fate::Answered, doc: "" }
}

const fn kept(name: &'static str, bulk: Bulk, routes: &'static [Route]) -> Family {
    Family { name, routes, bulk, fate: Fate::Kept, doc: "" }
}

const fn refused(
    name: &'static str,
    why: (Code, &'static str),
    routes: &'static [Route],
) -> Family {
    Family { name, routes, bulk: Bulk::None, fate: Fate::Refused(why.0, why.1), doc: "" }
}

impl Family {
    const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// Whether the field `model` of a form says all that there is of models. A file that is kept may hold
    /// requests with models of their own (a batch), or be used by any later.
    pub fn forms_tell_models(&self) -> bool {
        matches!(self.name, "audio" | "images" | "videos")
    }

    /// Whether its requests are passed on.
    pub const fn is_passed(&self) -> bool {
        !matches!(self.fate, Fate::Refused(..))
    }
}

const ADMIN: (Code, &str) = (
    Code::PermissionDenied,
    "administration of the vendor's account is never passed on: use the vendor's console or its own address",
);

const SECRETS: (Code, &str) = (
    Code::NotSupported,
    "realtime sessions are not carried: they are no HTTP requests, and their client secrets would \
     lead past cutover",
);

const RETIRED: (Code, &str) = (
    Code::NotSupported,
    "assistants and threads are not carried: their vendor has replaced them with the Responses API",
);

const OTHERS: (Code, &str) = (
    Code::PermissionDenied,
    "stored completions are not passed on: they hold prompts and answers of all clients that share \
     the upstream's key",
);

/// The table.
pub static SURFACE: &[Family] = &[
    answered("moderations", Bulk::None, &[post("/moderations")]).doc("Whether a text or image is harmful."),
    answered(
        "audio",
        Bulk::Both,
        &[
            post("/audio/speech"),
            post("/audio/transcriptions"),
            post("/audio/translations"),
            list_and_make("/audio/voices"),
        ],
    )
    .doc("Speech from text, text from speech. Forms go up and sound comes down as they come."),
    answered(
        "images",
        Bulk::Both,
        &[post("/images/generations"), post("/images/edits"), post("/images/variations")],
    )
    .doc("Images from texts and images; partial images as events."),
    kept(
        "files",
        Bulk::Both,
        &[list_and_make("/files"), see_and_delete("/files/{id}"), get("/files/{id}/content")],
    )
    .doc("Files for batches, fine-tuning and searches."),
    kept(
        "uploads",
        Bulk::Up,
        &[
            post("/uploads"),
            post("/uploads/{id}/parts"),
            post("/uploads/{id}/complete"),
            post("/uploads/{id}/cancel"),
        ],
    )
    .doc("Files in parts."),
    kept(
        "batches",
        Bulk::None,
        &[list_and_make("/batches"), get("/batches/{id}"), post("/batches/{id}/cancel")],
    )
    .doc("Many requests in a file, answered within a day. They are the vendor's: no use case, weight or rollout sees them."),
    kept(
        "vector_stores",
        Bulk::Down,
        &[
            list_and_make("/vector_stores"),
            see_change_delete("/vector_stores/{id}"),
            post("/vector_stores/{id}/search"),
            list_and_make("/vector_stores/{id}/files"),
            see_change_delete("/vector_stores/{id}/files/{id}"),
            get("/vector_stores/{id}/files/{id}/content"),
            post("/vector_stores/{id}/file_batches"),
            get("/vector_stores/{id}/file_batches/{id}"),
            post("/vector_stores/{id}/file_batches/{id}/cancel"),
            get("/vector_stores/{id}/file_batches/{id}/files"),
        ],
    )
    .doc("Files made searchable."),
    kept(
        "fine_tuning",
        Bulk::None,
        &[
            list_and_make("/fine_tuning/jobs"),
            get("/fine_tuning/jobs/{id}"),
            post("/fine_tuning/jobs/{id}/cancel"),
            post("/fine_tuning/jobs/{id}/pause"),
            post("/fine_tuning/jobs/{id}/resume"),
            get("/fine_tuning/jobs/{id}/events"),
            get("/fine_tuning/jobs/{id}/checkpoints"),
            post("/fine_tuning/alpha/graders/run"),
            post("/fine_tuning/alpha/graders/validate"),
        ],
    )
    .doc("Models trained at the vendor's. Permissions of checkpoints are administration."),
    kept(
        "evals",
        Bulk::None,
        &[
            list_and_make("/evals"),
            see_change_delete("/evals/{id}"),
            list_and_make("/evals/{id}/runs"),
            see_change_delete("/evals/{id}/runs/{id}"),
            get("/evals/{id}/runs/{id}/output_items"),
            get("/evals/{id}/runs/{id}/output_items/{id}"),
        ],
    )
    .doc("Evaluations run at the vendor's; not those of cutover."),
    kept(
        "conversations",
        Bulk::None,
        &[
            post("/conversations"),
            see_change_delete("/conversations/{id}"),
            list_and_make("/conversations/{id}/items"),
            see_and_delete("/conversations/{id}/items/{id}"),
        ],
    )
    .doc("Conversations kept at the vendor's, for its own Responses API."),
    kept(
        "containers",
        Bulk::Both,
        &[
            list_and_make("/containers"),
            see_and_delete("/containers/{id}"),
            list_and_make("/containers/{id}/files"),
            see_and_delete("/containers/{id}/files/{id}"),
            get("/containers/{id}/files/{id}/content"),
        ],
    )
    .doc("Sandboxes of the vendor's code interpreter."),
    kept(
        "skills",
        Bulk::Both,
        &[
            list_and_make("/skills"),
            see_change_delete("/skills/{id}"),
            get("/skills/{id}/content"),
            list_and_make("/skills/{id}/versions"),
            see_and_delete("/skills/{id}/versions/{id}"),
            get("/skills/{id}/versions/{id}/content"),
        ],
    )
    .doc("Instructions and files for the vendor's own agents."),
    kept(
        "videos",
        Bulk::Both,
        &[
            list_and_make("/videos"),
            see_and_delete("/videos/{id}"),
            get("/videos/{id}/content"),
            post("/videos/{id}/remix"),
            post("/videos/edits"),
            post("/videos/extensions"),
        ],
    )
    .doc("Videos from texts and images."),
    refused(
        "administration",
        ADMIN,
        &[
            any("/organization"),
            any("/organization/*"),
            any("/organizations"),
            any("/organizations/*"),
            any("/projects"),
            any("/projects/*"),
            any("/dashboard/*"),
            any("/usage"),
            any("/usage/*"),
            any("/costs"),
            any("/costs/*"),
            any("/admin_api_keys"),
            any("/admin_api_keys/*"),
            any("/api_keys"),
            any("/api_keys/*"),
            any("/audit_logs"),
            any("/fine_tuning/checkpoints/*"),
        ],
    )
    .doc("Members, projects, keys, costs, usage, audit logs."),
    refused(
        "realtime",
        SECRETS,
        &[any("/realtime"), any("/realtime/*"), any("/chatkit/*"), any("/live"), any("/live/*")],
    )
    .doc("Sessions over WebSocket or WebRTC, and secrets for them."),
    refused(
        "assistants",
        RETIRED,
        &[any("/assistants"), any("/assistants/*"), any("/threads"), any("/threads/*")],
    )
    .doc("Assistants, threads, runs."),
    refused("stored_completions", OTHERS, &[any("/chat/completions/*")])
        .doc("Completions that the vendor has stored."),
];

/// What a path was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// To be passed on.
    Passed(&'static Family),
    /// Never passed on.
    Refused(Code, &'static str),
    /// The path exists and takes these methods.
    WrongMethod(&'static [&'static str]),
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Family {}

/// Finds a path, with and without `/v1` before it. None: it is in no family.
pub fn find(method: &str, path: &str) -> Option<Found> {
    let path = match path.strip_prefix("/v1") {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    let mut wrong = None;
    for family in SURFACE {
        for route in family.routes.iter().filter(|route| matches(route.path, path)) {
            if let Fate::Refused(code, why) = family.fate {
                return Some(Found::Refused(code, why));
            }
            let head = method == "HEAD" && route.methods.contains(&"GET");
            if head || route.methods.contains(&method) {
                return Some(Found::Passed(family));
            }
            wrong = wrong.or(Some(Found::WrongMethod(route.methods)));
        }
    }
    wrong
}

/// Whether a path is the pattern's.
fn matches(pattern: &str, path: &str) -> bool {
    if let Some(start) = pattern.strip_suffix("/*") {
        // Whatever follows is refused: there is nothing to be strict about.
        // But a slash at the end of a path that is another's names nothing of this one.
        return path.strip_prefix(start).is_some_and(|rest| rest.starts_with('/') && rest != "/");
    }
    let (mut wants, mut has) = (pattern.split('/'), path.split('/'));
    loop {
        match (wants.next(), has.next()) {
            (None, None) => return true,
            (Some("{id}"), Some(id)) if is_id(id) => {}
            (Some(want), Some(found)) if want == found => {}
            _ => return false,
        }
    }
}

/// Whether a segment can be an id: no empty one, no dots alone, no escape.
fn is_id(segment: &str) -> bool {
    const BYTES_MAX: usize = 256;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    (1..=BYTES_MAX).contains(&segment.len())
        && segment.bytes().all(plain)
        && segment.bytes().any(|b| b != b'.')
}

/// The names of the families that are passed on.
pub fn passed_names() -> impl Iterator<Item = &'static str> {
    SURFACE.iter().filter(|family| family.is_passed()).map(|family| family.name)
}

/// The reference.
pub fn reference() -> String {
    let mut page = String::from(
        "Paths may be written with or without `/v1`. What is passed on goes to one upstream, untouched and \
         streamed both ways; a local-only use case is refused it (`residency_no_local_upstream`). \
         *Kept* means that the vendor keeps what is sent, under an id of its own. What is in no row is \
         answered 404.\n\n\
         | family | methods and paths | fate | large content |\n|---|---|---|---|\n",
    );
    for family in SURFACE {
        let route = |route: &Route| {
            let methods = if route.methods.is_empty() { "any" } else { "" };
            let methods = format!("{methods}{}", route.methods.join(", "));
            format!("{methods} `{}`", route.path)
        };
        let routes: Vec<String> = family.routes.iter().map(route).collect();
        let fate = match family.fate {
            Fate::Answered => "passed on".to_owned(),
            Fate::Kept => "passed on, kept".to_owned(),
            Fate::Refused(code, _) => format!("refused, {}", code.status()),
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            page,
            "| [{0}](#{0}) | {1} | {fate} | {2} |",
            family.name,
            routes.join("<br>"),
            family.bulk.words()
        );
    }
    for family in SURFACE {
        let _ = write!(page, "\n## {}\n\n{}\n", family.name, family.doc);
        if let Fate::Refused(_, why) = family.fate {
            let _ = write!(page, "\nWhat a client is told: \"{why}\".\n");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(method: &str, path: &str) -> &'static str {
        match find(method, path) {
            Some(Found::Passed(family)) => family.name,
            Some(Found::Refused(code, _)) => code.name(),
            Some(Found::WrongMethod(_)) => "wrong method",
            None => "unknown",
        }
    }

    #[test]
    fn names_are_unique_and_each_family_is_told_of() {
        let mut names: Vec<_> = SURFACE.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SURFACE.len());
        for family in SURFACE {
            assert!(!family.routes.is_empty() && family.doc.ends_with('.'), "{}", family.name);
            for route in family.routes {
                assert!(route.path.starts_with('/') && !route.path.starts_with("/v1"));
                assert_eq!(route.methods.is_empty(), !family.is_passed(), "{}", route.path);
            }
        }
    }

    #[test]
    fn each_route_is_found_as_its_own_with_each_of_its_methods() {
        for family in SURFACE.iter().filter(|family| family.is_passed()) {
            for route in family.routes {
                let path = route.path.replace("{id}", "file-Ab_1.x:2");
                for method in route.methods {
                    assert_eq!(name(method, &path), family.name, "{method} {path}");
                    assert_eq!(name(method, &format!("/v1{path}")), family.name);
                }
                assert_eq!(name("PATCH", &path), "wrong method", "{path}");
            }
        }
        assert_eq!(name("HEAD", "/v1/files/file-1/content"), "files");
    }

    #[test]
    fn administration_is_refused_however_it_is_asked_for() {
        for path in [
            "/v1/organization/admin_api_keys",
            "/organization/costs",
            "/v1/organization/usage/completions",
            "/v1/projects",
            "/v1/projects/p/api_keys",
            "/v1/organization//users",
            "/v1/organization/../files",
            "/v1/fine_tuning/checkpoints/ft:1/permissions",
            "/v1/dashboard/billing/usage",
        ] {
            for method in ["GET", "POST", "DELETE", "PUT"] {
                assert_eq!(name(method, path), "permission_denied", "{method} {path}");
            }
        }
        assert_eq!(name("GET", "/v1/realtime"), "not_supported");
        assert_eq!(name("POST", "/v1/threads/t/runs"), "not_supported");
        assert_eq!(name("GET", "/v1/chat/completions/chatcmpl-1"), "permission_denied");
    }

    #[test]
    fn no_path_leads_out_of_its_row() {
        for path in [
            "/v1/files/..",
            "/v1/files/../organization/users",
            "/v1/files/%2e%2e/organization",
            "/v1/files/a%2fb",
            "/v1/files/",
            "/v1/files//content",
            "/v1/files/a/content/",
            "/v1/files/a/content/b",
            "/v1//files",
            "/v1/v1/files",
            "/v1files",
            "/v1/files/a\\b",
            "/v1/unheard_of",
            "/v1/organizational",
            // A slash too many is a mistake, not the wish for what another has stored.
            "/v1/chat/completions/",
        ] {
            assert_eq!(name("GET", path), "unknown", "{path}");
        }
    }
}
