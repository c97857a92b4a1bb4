use axum::body::Body;
use cutover_store::{Options, Store};
use cutover_units::{Millis, VariantName, WeightBp};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::book::Spec;
use crate::client;
use crate::controller::{Deadlines, Parts as ControllerParts};
use crate::state::State as Stored;
use crate::testing::Process;

const OLGAS: &str = "a-token-of-olgas-own";
const TOKEN: &str = "a-token-for-tests-only";

struct Rig {
    admin: Admin,
    host: Arc<Process>,
    _folder: TempDir,
}

async fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(folder.path(), || Millis(1))).unwrap();
    let (registry, host) = (Registry::new(), Arc::new(Process::default()));
    let spec = Spec {
        name: UseCaseName::new("statements").unwrap(),
        baseline: VariantName::new("cloud").unwrap(),
        candidate: Some(VariantName::new("local").unwrap()),
        candidate_digest: "digest of local".into(),
        candidate_addresses: Vec::new(),
        weight: WeightBp::NONE,
    };
    let parts = ControllerParts {
        publisher: Box::new(Process::default()),
        state: Stored::new(store, folder.path(), &registry),
        clock: Arc::new(|| Millis(1_000)),
        registry: registry.clone(),
        deadlines: Deadlines::PATIENT,
    };
    let controller = Controller::start(parts, vec![spec]).await;
    let doors = Doors {
        listen: "127.0.0.1:8081".parse().unwrap(),
        tokens: TokensInForce::new(Tokens {
            admin: TokenHash::of(TOKEN),
            operators: vec![("olga".into(), TokenHash::of(OLGAS))],
        }),
    };
    let rollouts = crate::rollouts::tests::without(controller);
    let admin = Admin::new(doors, host.clone(), rollouts);
    Rig { admin, host, _folder: folder }
}

impl Rig {
    /// Whether a key opens the door now.
    fn opens(&self, key: &str) -> bool {
        let keys = self.host.keys.lock().unwrap();
        keys.as_ref().unwrap().find(key.as_bytes(), Millis(1_000)).is_some()
    }

    async fn send(&self, request: http::Request<Body>) -> (u16, Value) {
        let response = self.admin.answer(request, None).await;
        let status = response.status().as_u16();
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        self.call_with(TOKEN, (method, path), body).await
    }

    async fn call_with(
        &self,
        token: &str,
        (method, path): (Method, &str),
        body: Value,
    ) -> (u16, Value) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:8081")
            .header("authorization", format!("Bearer {token}"));
        self.send(request.body(body).unwrap()).await
    }
}

fn path_of(route: &Route) -> String {
    route.path.replace("{name}", "statements").replace("{pair}", "7")
}

#[tokio::test]
async fn no_route_but_health_and_probes_answers_without_the_token() {
    let rig = rig().await;
    for route in ROUTES {
        let request = http::Request::builder()
            .method(route.method.clone())
            .uri(path_of(route))
            .header("host", "localhost")
            .body(Body::empty())
            .unwrap();
        let (status, _) = rig.send(request).await;
        let open = matches!(route.auth, Auth::Open | Auth::Scrape);
        assert_eq!(status == 401, !open, "{} {}: {status}", route.method, route.path);
    }
}

#[tokio::test]
async fn no_route_at_all_answers_under_a_foreign_name_or_for_a_web_page() {
    let rig = rig().await;
    for route in ROUTES {
        for (name, value) in [("host", "evil.example"), ("origin", "http://localhost:8081")] {
            let mut request = http::Request::builder()
                .method(route.method.clone())
                .uri(path_of(route))
                .header("authorization", format!("Bearer {TOKEN}"))
                .header(name, value);
            if name != "host" {
                request = request.header("host", "localhost");
            }
            let (status, _) = rig.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(status, 403, "{} {} with {name}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn what_exists_is_told_only_to_who_may_know() {
    let rig = rig().await;
    let request = |path: &str| {
        http::Request::builder().uri(path).header("host", "localhost").body(Body::empty()).unwrap()
    };
    let mut head = request("/health");
    *head.method_mut() = Method::HEAD;
    assert_eq!(rig.send(head).await.0, 200, "what probes send");
    assert_eq!(rig.send(request("/admin/nothing")).await.0, 401);
    assert_eq!(rig.send(request("/admin/reload")).await.0, 401);
    assert_eq!(rig.call(Method::GET, "/admin/nothing", Value::Null).await.0, 404);
    assert_eq!(rig.call(Method::GET, "/admin/reload", Value::Null).await.0, 405);
}

#[tokio::test]
async fn weights_and_rollbacks_go_through_the_api() {
    let rig = rig().await;
    let weight = "/admin/use-cases/statements/weight";
    let (status, body) =
        rig.call(Method::POST, weight, json!({"weight": "25%", "actor": "ann"})).await;
    assert_eq!((status, &body["weight"], &body["generation"]), (200, &json!("25%"), &json!(1)));
    let back =
        json!({"actor": "bob", "reason": format!("errors\n\u{1b}[2J{}", "x".repeat(100_000))});
    let (status, body) = rig.call(Method::POST, "/admin/use-cases/statements/rollback", back).await;
    assert_eq!((status, &body["in_override"]), (200, &json!(true)));
    // What a status prints must not clear an operator's screen, nor fill it.
    let reason = body["use_case"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("errors  [2Jxxx") && reason.len() <= 1_000, "{reason}");
    let (status, body) =
        rig.call(Method::POST, weight, json!({"weight": "25%", "actor": "ann"})).await;
    assert_eq!((status, &body["code"]), (409, &json!("rolled_back")));
    assert!(body["hint"].as_str().unwrap().contains("--after-rollback"));
    let (_, body) = rig.call(Method::GET, "/admin/status", Value::Null).await;
    assert_eq!(body["use_cases"][0]["origin"], "rollback");
}

#[tokio::test]
async fn wrong_bodies_and_unknown_use_cases_are_named() {
    let rig = rig().await;
    let path = "/admin/use-cases/statements/weight";
    for body in [json!({"weight": "25"}), json!({"weight": "25%"}), json!([]), json!({"x": 1})] {
        let (status, answer) = rig.call(Method::POST, path, body).await;
        assert_eq!((status, &answer["code"]), (400, &json!("invalid_body")));
    }
    let (status, answer) = rig
        .call(Method::POST, "/admin/use-cases/x/weight", json!({"weight": "5%", "actor": "a"}))
        .await;
    assert_eq!((status, &answer["hint"]), (404, &json!("there are: statements")));
}

#[tokio::test]
async fn a_key_is_shown_once_and_opens_the_door_until_it_is_revoked() {
    let rig = rig().await;
    let (status, made) =
        rig.call(Method::POST, "/admin/keys", json!({"name": "team-a", "actor": "ann"})).await;
    assert_eq!(status, 201);
    let key = made["key"].as_str().unwrap().to_owned();
    let opens = || rig.opens(&key);
    assert!(opens());
    let (_, list) = rig.call(Method::GET, "/admin/keys", Value::Null).await;
    assert_eq!(list[0]["name"], "team-a");
    assert!(!list.to_string().contains(&key));
    let by = json!({"actor": "ann"});
    let (status, _) = rig.call(Method::DELETE, "/admin/keys/team-a", by.clone()).await;
    assert_eq!(status, 200);
    assert!(!opens());
    assert_eq!(rig.call(Method::DELETE, "/admin/keys/team-b", by).await.0, 404);
}

/// The clock stands at 1,000.
#[tokio::test]
async fn a_key_is_rotated_under_its_name_and_what_it_had_before_ends() {
    let rig = rig().await;
    let add = json!({"name": "team-a", "actor": "ann"});
    let (_, made) = rig.call(Method::POST, "/admin/keys", add.clone()).await;
    let first = made["key"].as_str().unwrap().to_owned();
    let rotate = |overlap: u64| json!({"overlap_ms": overlap, "actor": "ann", "reason": "yearly"});
    let path = "/admin/keys/team-a/rotate";
    let (status, made) = rig.call(Method::POST, path, rotate(50)).await;
    assert_eq!((status, &made["former_until"]), (201, &json!(1_050)));
    let second = made["key"].as_str().unwrap().to_owned();
    assert!(rig.opens(&first) && rig.opens(&second));
    let (_, list) = rig.call(Method::GET, "/admin/keys", Value::Null).await;
    assert_eq!((list.as_array().unwrap().len(), &list[0]["former_until"]), (1, &json!(1_050)));
    let former = json!({"actor": "ann", "former": true});
    let (status, left) = rig.call(Method::DELETE, "/admin/keys/team-a", former).await;
    assert_eq!((status, &left["revoked"]), (200, &Value::Null));
    assert!(!rig.opens(&first) && rig.opens(&second));
    let (status, made) = rig.call(Method::POST, path, rotate(0)).await;
    assert_eq!((status, &made["former_until"]), (201, &Value::Null));
    assert!(!rig.opens(&second) && rig.opens(made["key"].as_str().unwrap()));
    assert_eq!(rig.call(Method::POST, "/admin/keys/nobody/rotate", rotate(0)).await.0, 404);
    rig.call(Method::DELETE, "/admin/keys/team-a", json!({"actor": "ann"})).await;
    let (status, answer) = rig.call(Method::POST, path, rotate(0)).await;
    assert_eq!((status, &answer["code"]), (409, &json!("revoked")));
    let (status, answer) = rig.call(Method::POST, "/admin/keys", add).await;
    assert_eq!(status, 409);
    assert!(answer["hint"].as_str().unwrap().contains("cutover key rotate"), "{answer}");
}

#[tokio::test]
async fn an_oversized_body_is_refused() {
    let rig = rig().await;
    let request = http::Request::builder()
        .method(Method::POST)
        .uri("/admin/explain")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Body::from(vec![b' '; BODY_BYTES_MAX + 1]))
        .unwrap();
    assert_eq!(rig.send(request).await.0, 413);
}

#[tokio::test]
async fn probes_reloads_and_explanations_say_no_with_a_status() {
    let rig = rig().await;
    let (status, body) = rig.call(Method::GET, "/ready", Value::Null).await;
    assert_eq!((status, &body["waiting_for"][0]), (503, &json!("the model")));
    let (status, body) = rig.call(Method::POST, "/admin/reload", Value::Null).await;
    assert_eq!((status, &body["problems"][0]), (422, &json!("line 3")));
    let (status, body) =
        rig.call(Method::POST, "/admin/explain", json!({"body": {"messages": []}})).await;
    assert_eq!((status, &body["code"]), (400, &json!("missing_field")));
}

#[tokio::test]
async fn the_client_speaks_to_the_listener() {
    let rig = rig().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let admin = rig.admin.clone();
    let serving = tokio_util::task::TaskTracker::new()
        .spawn(async move { admin.serve(listener, async { drop(stopped.await) }).await });
    let client = client::Admin::new(address, TOKEN.to_owned());
    assert_eq!(client.status().await.unwrap().use_cases.len(), 1);
    let wrong = client::Admin::new(address, "wrong".to_owned()).status().await.unwrap_err();
    assert!(matches!(wrong, client::CallError::Refused(_, 401)));
    let refused = client.reload().await.unwrap();
    assert!(!refused.loaded);
    let metrics = client::Call::get(address, "/metrics", client::TIMEOUT).send().await.unwrap();
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(text.contains("cutover_auth_failures_total{listener=\"admin\",reason=\"wrong\"} 1"));
    drop(stop);
    serving.await.unwrap();
}

#[tokio::test]
async fn the_listener_ends_with_an_idle_connection_open() {
    let rig = rig().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let idle = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let admin = rig.admin.clone();
    let serving = tokio_util::task::TaskTracker::new()
        .spawn(async move { admin.serve(listener, async { drop(stopped.await) }).await });
    drop(stop);
    serving.await.unwrap();
    drop(idle);
}

#[tokio::test]
async fn rollouts_answer_over_the_api_and_name_what_is_missing() {
    let rig = rig().await;
    let by = json!({"actor": "ann"});
    let (status, list) = rig.call(Method::GET, "/admin/rollouts", Value::Null).await;
    assert_eq!((status, list), (200, json!([])));
    let start = "/admin/rollouts/statements/start";
    let (status, body) = rig.call(Method::POST, start, by.clone()).await;
    // What was stored is read before anything may begin.
    assert_eq!((status, &body["code"]), (503, &json!("state_unavailable")));
    let (status, body) = rig.call(Method::GET, "/admin/rollouts/statements", Value::Null).await;
    assert_eq!((status, &body["code"]), (404, &json!("no_rollout")));
    assert!(body["hint"].as_str().unwrap().contains("cutover rollout start statements"));
    let command = json!({"command": "pause", "actor": "ann"});
    let path = "/admin/rollouts/statements/command";
    assert_eq!(rig.call(Method::POST, path, command).await.0, 404);
    let wrong = json!({"command": "stop", "actor": "ann"});
    assert_eq!(rig.call(Method::POST, path, wrong).await.1["code"], "invalid_body");
    let (status, _) = rig.call(Method::GET, "/admin/rollouts/nobody/history", Value::Null).await;
    assert_eq!(status, 404);
    let history = "/admin/rollouts/statements/history";
    assert_eq!(rig.call(Method::GET, history, Value::Null).await, (200, json!([])));
    for seq in ["7", "x"] {
        let path = format!("/admin/decisions/{seq}");
        assert_eq!(rig.call(Method::GET, &path, Value::Null).await.0, 404);
    }
    let (status, verified) = rig.call(Method::GET, "/admin/decisions", Value::Null).await;
    assert_eq!((status, &verified["intact"]), (200, &json!(true)));
    let replay = "/admin/rollouts/statements/replay";
    assert_eq!(rig.call(Method::POST, replay, json!({})).await.0, 404);
}

/// A name in the history that has a token of its own is proof: nobody writes it with another token.
#[tokio::test]
async fn an_operators_name_comes_from_the_token_and_cannot_be_typed() {
    let rig = rig().await;
    let path = "/admin/use-cases/statements/weight";
    let post = || (Method::POST, path);
    let weight = |actor: &str, weight: &str| json!({"weight": weight, "actor": actor});
    let (status, told) = rig.call_with(OLGAS, post(), weight("somebody", "5%")).await;
    assert_eq!((status, &told["actor"]), (200, &json!("olga")), "{told}");
    for forged in ["olga", "Olga", "controller"] {
        let (status, told) = rig.call_with(TOKEN, post(), weight(forged, "10%")).await;
        assert_eq!((status, &told["code"]), (403, &json!("name_taken")), "{told}");
    }
    let (status, told) = rig.call_with(TOKEN, post(), weight("ann", "10%")).await;
    assert_eq!((status, &told["actor"]), (200, &json!("ann")), "{told}");
    // Every route that records a name asks for it.
    for (path, body) in [
        ("/admin/use-cases/statements/rollback", json!({"actor": "olga", "reason": ""})),
        ("/admin/rollouts/statements/start", json!({"actor": "olga"})),
        ("/admin/rollouts/statements/command", json!({"actor": "olga", "command": "pause"})),
        ("/admin/keys", json!({"actor": "olga", "name": "team"})),
        // What people say of answers lets a judge decide: a label's name is proof, too.
        (
            "/admin/rollouts/statements/pairs/7/label",
            json!({"rater": "olga", "choice": "left", "ms": 1}),
        ),
    ] {
        let (status, told) = rig.call(Method::POST, path, body).await;
        assert_eq!((status, &told["code"]), (403, &json!("name_taken")), "{path}: {told}");
    }
    let pair = "/admin/rollouts/statements/pairs/next?rater";
    for (token, rater, answer) in [
        (TOKEN, "olga", (403, "name_taken")),
        (TOKEN, "ann", (404, "no_rollout")),
        (OLGAS, "", (404, "no_rollout")),
    ] {
        let path = format!("{pair}={rater}");
        let (status, told) = rig.call_with(token, (Method::GET, &path), Value::Null).await;
        assert_eq!((status, &told["code"]), (answer.0, &json!(answer.1)), "{rater}: {told}");
    }
    let revoke = json!({"actor": "olga", "reason": ""});
    let (status, _) = rig.call(Method::DELETE, "/admin/keys/team", revoke).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn prompts_are_added_shown_and_labelled() {
    let rig = rig().await;
    let add = |text: &str| json!({"name": "extraction", "text": text, "actor": "ann"});
    let (status, body) = rig.call(Method::POST, "/admin/prompts", add("Be brief.")).await;
    assert_eq!((status, &body["version"]["version"], &body["new"]), (201, &json!(1), &json!(true)));
    let (status, body) = rig.call(Method::POST, "/admin/prompts", add("Be brief.")).await;
    assert_eq!((status, &body["new"]), (200, &json!(false)));
    let (status, body) = rig.call(Method::POST, "/admin/prompts", add("a\n{{ x }}")).await;
    assert_eq!((status, &body["code"]), (400, &json!("invalid_prompt")));
    assert!(body["message"].as_str().unwrap().starts_with("line 2: "), "{body}");
    rig.call(Method::POST, "/admin/prompts", add("Be kind.")).await;

    let path = "/admin/prompts/extraction/labels/production";
    let to = |version: u32, expected: Option<u64>| json!({"version": version, "expected_generation": expected, "actor": "ann"});
    let (status, body) = rig.call(Method::POST, path, to(1, Some(0))).await;
    assert_eq!((status, &body["label"]["generation"]), (200, &json!(1)), "{body}");
    assert_eq!(body["effects"], json!(["revision 3"]));
    let (status, body) = rig.call(Method::POST, path, to(2, Some(0))).await;
    assert_eq!((status, &body["code"]), (409, &json!("conflict")));
    assert_eq!(rig.call(Method::POST, path, to(9, None)).await.0, 404);
    let unfit = "/admin/prompts/extraction/labels/unfit";
    let (status, body) = rig.call(Method::POST, unfit, to(1, None)).await;
    assert_eq!((status, &body["code"]), (409, &json!("unfit_prompt")));

    let shown = "/admin/prompts/extraction@production";
    let (status, body) = rig.call(Method::GET, shown, Value::Null).await;
    assert_eq!((status, &body["version"]["text"]), (200, &json!("Be brief.")));
    let (_, list) = rig.call(Method::GET, "/admin/prompts", Value::Null).await;
    assert_eq!(list["versions"].as_array().unwrap().len(), 2);
    assert_eq!(list["labels"][0]["label"], "production");
    assert!(!list.to_string().contains("Be brief."));
    for (path, expected) in
        [("/admin/prompts/extraction", 400), ("/admin/prompts/extracton@1", 404)]
    {
        assert_eq!(rig.call(Method::GET, path, Value::Null).await.0, expected, "{path}");
    }
}
