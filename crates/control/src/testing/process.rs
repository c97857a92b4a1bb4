//! What the process around the controller is to the admin API and to the watch, with answers that tests know.

use std::collections::BTreeMap;
use std::sync::Mutex;

use cutover_prompts::Book;
use cutover_store::{KeyRing, Keys};
use cutover_units::UseCaseName;

use crate::admin::Host;
use crate::api::{
    ConfigStatus, ExplainRequest, Explanation, Failure, InstanceStatus, Ready, Reloaded,
};
use crate::book::Weights;
use crate::controller::Publisher;

/// One that waits for a model.
pub(crate) struct Process {
    /// The keys that it was given last.
    pub(crate) keys: Mutex<Option<KeyRing>>,
    on_reload: Box<dyn Fn() + Send + Sync>,
}

impl Default for Process {
    fn default() -> Self {
        Self::reloading(|| {})
    }
}

impl Process {
    /// One that does this when it is to read its configuration.
    pub(crate) fn reloading(on_reload: impl Fn() + Send + Sync + 'static) -> Self {
        Self { keys: Mutex::default(), on_reload: Box::new(on_reload) }
    }
}

impl Publisher for Process {
    fn publish(&self, _: &Weights) {}
}

impl Host for Process {
    fn ready(&self) -> Ready {
        Ready { ready: false, waiting_for: vec!["the model".into()], degraded: Vec::new() }
    }
    fn config(&self) -> ConfigStatus {
        ConfigStatus::default()
    }
    fn instances(&self) -> Vec<InstanceStatus> {
        Vec::new()
    }
    fn served(&self) -> BTreeMap<UseCaseName, BTreeMap<String, u64>> {
        BTreeMap::new()
    }
    fn take_keys(&self, keys: Keys) {
        *self.keys.lock().unwrap() = Some(KeyRing::new(keys));
    }
    fn try_prompts(&self, prompts: &Book) -> Result<(), String> {
        let bad = prompts.labels().any(|label| label.label.as_str() == "unfit");
        if bad { Err("variants.a.vars: extraction@1, line 2, uses vars.x".into()) } else { Ok(()) }
    }
    fn take_prompts(&self, prompts: Book) -> Result<Vec<String>, String> {
        Ok(vec![format!("revision {}", prompts.revision())])
    }
    fn reload(&self) -> Reloaded {
        (self.on_reload)();
        Reloaded { loaded: false, problems: vec!["line 3".into()], warnings: Vec::new() }
    }
    fn explain(&self, _: &ExplainRequest) -> Result<Explanation, Failure> {
        let message = "the body has no model".to_owned();
        Err(Failure { code: "missing_field".into(), message, hint: None })
    }
}
