//! Scripts: lines that begin with `> ` are commands, the lines below are what they print. To write what
//! is printed now into the scripts, set `UPDATE_SCRIPTS=1`; then read the difference.
//!
//! ```text
//! > gate TEXT | step TEXT                        before `begin`
//! > begin
//! > observe candidate 100 ok 3 failed 2 fallback     units that ended since the last tick
//! > pairs 90 both 5 baseline 3 candidate 2 none      who was right
//! > lost N | unscored N | blind | leak               unscored: the scorer failed on these pairs
//! > grader distrusted WHY | grader unproved WHY | grader good
//! > tick 1 h                                     absorbs and plans
//! > show | explain | replay
//! > pause|resume|advance|promote|rollback|approve BY
//! ```

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

use std::fmt::Write as _;
use std::path::Path;

use cutover_rollout::{
    Absorbed, Action, ArmSide, Command, Decision, Event, Evidence, Exposure, Grader, Part,
    ScoredPair, Served, Spec, State, VariantIdentity, Window, command, explain, parse_gate,
    parse_step, plan, render_plain, replay_from, start,
};
use cutover_units::{Arm, Millis, UseCaseName, VariantName};

const T0: Millis = Millis(1_800_000_000_000);

struct Rig {
    spec: Spec,
    state: State,
    evidence: Evidence,
    window: Window,
    units: u64,
    grader: Option<Grader>,
    decision: Option<Decision>,
    first: State,
    events: Vec<Event>,
    reports: Vec<String>,
}

impl Rig {
    fn new() -> Self {
        let variant = |name: &str| VariantIdentity {
            name: VariantName::new(name).unwrap(),
            digest: name.to_owned(),
        };
        let use_case = UseCaseName::new("statements").unwrap();
        let mut spec = Spec::draft(use_case, variant("cloud"), variant("local"));
        spec.scorer = Some("exact@1".to_owned());
        let state = start(&spec, "run-1".to_owned(), T0);
        let evidence = Evidence::new(&spec);
        let window = Window { from: T0, ..Window::default() };
        let (decision, events, reports) = (None, Vec::new(), Vec::new());
        let first = state.clone();
        let grader = None;
        Self { spec, state, evidence, window, units: 0, grader, decision, first, events, reports }
    }

    fn run(&mut self, line: &str) -> String {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "gate" => match parse_gate(rest) {
                Ok(gate) => self.spec.gates.push(gate),
                Err(error) => return format!("{error}\n"),
            },
            "step" => match parse_step(rest) {
                Ok(step) => self.spec.steps.push(step),
                Err(error) => return format!("{error}\n"),
            },
            "begin" => return self.begin(),
            "observe" => self.observe(rest),
            "pairs" => self.pairs(rest),
            "lost" => self.window.lost = rest.parse().unwrap(),
            "unscored" => self.unscored(rest.parse().unwrap()),
            "grader" => self.grader(rest),
            "blind" => self.window.blind = true,
            "leak" => self.window.exposures.last_mut().unwrap().leaked = true,
            "tick" => return self.tick(rest),
            "show" => return self.reports.last().unwrap().clone(),
            "explain" => return self.decision.as_ref().map_or(String::new(), explain),
            "replay" => return self.replay(),
            _ => return self.command(verb, rest),
        }
        String::new()
    }

    fn begin(&mut self) -> String {
        self.spec.resolve_requires();
        self.state = start(&self.spec, "run-1".to_owned(), T0);
        self.first = self.state.clone();
        self.evidence = Evidence::new(&self.spec);
        let mut out = String::new();
        for problem in cutover_rollout::lint(&self.spec) {
            writeln!(out, "{problem}").unwrap();
        }
        for step in &self.spec.steps {
            writeln!(out, "{step}").unwrap();
        }
        out
    }

    fn observe(&mut self, rest: &str) {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let arm = if words[0] == "candidate" { Arm::Candidate } else { Arm::Baseline };
        for part in words[1..].chunks(2) {
            for _ in 0..part[0].parse::<u64>().unwrap() {
                self.units += 1;
                let unit = self.units.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let served =
                    Served { failed: part[1] == "failed", total_ms: 900, ..Served::default() };
                self.window.exposures.push(Exposure {
                    at: self.window.from,
                    unit,
                    bucket: u16::try_from(unit % 10_000).unwrap(),
                    arm,
                    share: self.state.weight,
                    random: true,
                    client_ended: false,
                    fell_back: part[1] == "fallback",
                    leaked: false,
                    excluded: false,
                    served,
                });
            }
        }
    }

    fn pairs(&mut self, rest: &str) {
        let words: Vec<&str> = rest.split_whitespace().collect();
        for part in words.chunks(2) {
            for _ in 0..part[0].parse::<u64>().unwrap() {
                self.units += 1;
                let side = |right: bool| ArmSide {
                    score: Some(if right { 100 } else { 0 }),
                    served: Served::default(),
                };
                self.window.pairs.push(ScoredPair {
                    part: Part::Whole,
                    at: self.window.from,
                    unit: self.units.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                    baseline: side(matches!(part[1], "both" | "baseline")),
                    candidate: side(matches!(part[1], "both" | "candidate")),
                });
            }
        }
    }

    /// Pairs whose scorer failed: they tell of errors and times, and are counted as missing.
    fn unscored(&mut self, count: u64) {
        let (window, first) = (&mut self.window, self.units + 1);
        window.unscored += count;
        window.pairs.extend((first..first + count).map(|unit| ScoredPair {
            part: Part::Whole,
            at: window.from,
            unit: unit.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            baseline: ArmSide::default(),
            candidate: ArmSide::default(),
        }));
        self.units += count;
    }

    fn grader(&mut self, rest: &str) {
        let (word, why) = rest.split_once(' ').unwrap_or((rest, ""));
        let distrusted = word == "distrusted";
        self.grader = (word != "good").then(|| Grader { distrusted, why: why.to_owned() });
    }

    fn tick(&mut self, length: &str) -> String {
        self.window.grader.clone_from(&self.grader);
        let length = cutover_rollout::text::parse_duration(length).unwrap();
        self.window.to = Millis(self.window.from.0 + length.0);
        let fresh = Window { from: self.window.to, ..Window::default() };
        let window = std::mem::replace(&mut self.window, fresh);
        self.events.push(Event::Tick(window.clone()));
        assert_eq!(self.evidence.absorb(&self.spec, &self.state, &window), Absorbed::Taken);
        let seen = self.evidence.observations(&self.spec, &self.state, window.to);
        let made = plan(&self.spec, &self.state, &seen, window.to);
        self.decision = made.decision(&self.state).or(self.decision.take());
        self.reports.push(render_plain(&made.report, 100));
        if let Some(next) = made.next {
            self.state = next;
        }
        format!("{:?}: {}\n", made.action, made.report.reason)
    }

    fn replay(&self) -> String {
        let plans = replay_from(&self.spec, self.first.clone(), self.events.clone());
        let again: Vec<String> = plans.iter().map(|plan| render_plain(&plan.report, 100)).collect();
        let moved = plans.iter().filter(|plan| plan.action != Action::Hold).count();
        format!("{} ticks, {moved} moves, same: {}\n", plans.len(), again == self.reports)
    }

    fn command(&mut self, verb: &str, by: &str) -> String {
        let asked = match verb {
            "pause" => Command::Pause,
            "resume" => Command::Resume,
            "advance" => Command::Advance,
            "promote" => Command::Promote,
            "rollback" => Command::RollBack,
            "approve" => Command::Approve { step: None },
            other => panic!("no command {other:?}"),
        };
        match command(&self.spec, &self.state, &asked, by, self.window.from) {
            Ok((next, decision)) => {
                self.state = next.clone();
                self.events.push(Event::Changed(next));
                let said = format!("{:?}: {}\n", decision.action, decision.reason);
                self.decision = Some(decision);
                said
            }
            Err(refusal) => format!("refused: {refusal}\n"),
        }
    }
}

fn check(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut rig = Rig::new();
    let mut out = String::new();
    for line in text.lines().filter(|line| line.starts_with("> ") || line.starts_with('#')) {
        writeln!(out, "{line}").unwrap();
        if let Some(asked) = line.strip_prefix("> ") {
            out.push_str(&rig.run(asked));
        }
    }
    #[expect(clippy::disallowed_methods, reason = "the one switch of this test")]
    let update = std::env::var("UPDATE_SCRIPTS").is_ok();
    if update {
        std::fs::write(path, &out).unwrap();
    }
    assert_eq!(out, std::fs::read_to_string(path).unwrap(), "{}", path.display());
}

#[test]
fn scripts_print_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        check(&path);
    }
}
