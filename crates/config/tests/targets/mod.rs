//! What the fuzz target `config` runs, and the properties it checks.

/// Any bytes as a config file: accepted or refused, with a place in the file for each mistake. What was
/// accepted, written out in full, is accepted again and means the same.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let env = |_: &str| Some("value".to_owned());
    match cutover_config::check(text, "fuzz.toml", &env) {
        Ok(checked) => {
            let full = checked.to_toml();
            let again = cutover_config::check(&full, "full.toml", &env);
            let again = again.unwrap_or_else(|problems| panic!("{problems:?}\n{full}"));
            assert_eq!(again.to_toml(), full, "written out in full it means the same");
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal says why");
            let lines = text.lines().count().max(1) + 1;
            for problem in problems {
                assert!((1..=lines).contains(&problem.line), "{problem:?}");
                assert!(problem.column >= 1 && !problem.message.is_empty(), "{problem:?}");
            }
        }
    }
}
