//! A config with two arms: the ground that tests of weights and rollouts stand on.

/// The use case `app`, whose baseline `old` is at `cloud` and whose candidate `new` is at `own`; both
/// serve `fake-model`. Each unit is a value of `x-customer-id`.
pub fn two_arms(cloud: &str, own: &str) -> String {
    format!(
        r#"
default_upstream = "cloud"

[upstreams.cloud]
provider = "openai-compatible"
instances = ["{cloud}/v1"]

[upstreams.own]
provider = "vllm"
instances = ["{own}/v1"]

[variants.old]
upstream = "cloud"
model = "fake-model"

[variants.new]
upstream = "own"
model = "fake-model"

[use_cases.app]
match = {{ model = "app" }}
unit = {{ header = "x-customer-id" }}
baseline = "old"
candidate = "new"
"#
    )
}
