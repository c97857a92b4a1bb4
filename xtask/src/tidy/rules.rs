//! The table of rules; one file per theme.

mod docs;
mod floors;
mod modules;
mod names;
mod packages;
mod sizes;
mod source;
mod text;

use super::Rule;

/// All rules, in the order they run.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "floors",
        what: "a crate depends only on crates of lower floors",
        check: floors::arrows_go_down,
    },
    Rule {
        name: "pure",
        what: "floors 0 and 1 reach no runtime, socket, SQL driver, clock or OS randomness",
        check: floors::pure_floors_stay_pure,
    },
    Rule {
        name: "owners",
        what: "a heavy or telling dependency belongs to one crate",
        check: floors::dependencies_have_one_owner,
    },
    Rule {
        name: "dependencies",
        what: "every workspace dependency is used and stands under a reason",
        check: packages::dependencies_are_used_and_explained,
    },
    Rule {
        name: "manifests",
        what: "every crate inherits lints and versions, says what it is, and is named as its folder",
        check: packages::manifests_inherit,
    },
    Rule {
        name: "banned",
        what: "no crate that deny.toml bans",
        check: packages::banned_crates_stay_out,
    },
    Rule {
        name: "licences",
        what: "every dependency has a licence that deny.toml allows",
        check: packages::licences_are_allowed,
    },
    Rule {
        name: "budget",
        what: "the product without the embedded engine compiles no more crates of others than its budget",
        check: packages::the_tree_stays_small,
    },
    Rule {
        name: "file-size",
        what: "a file has at most 500 lines without its tests",
        check: sizes::files_stay_short,
    },
    Rule {
        name: "crate-size",
        what: "a crate has at most 12,000 lines without its tests",
        check: sizes::crates_stay_small,
    },
    Rule {
        name: "source",
        what: "words that belong to one place, or to none, stay there (table ROWS)",
        check: source::words_stay_in_their_place,
    },
    Rule {
        name: "literals",
        what: "SQL and provider JSON are written in the crates that own them",
        check: source::literals_stay_in_their_place,
    },
    Rule {
        name: "sleeps",
        what: "a test waits for a condition or pauses the clock",
        check: source::tests_do_not_sleep,
    },
    Rule {
        name: "orphans",
        what: "every Rust file is declared by another",
        check: modules::every_file_is_declared,
    },
    Rule {
        name: "reasons",
        what: "every #[expect] says why",
        check: modules::expectations_have_reasons,
    },
    Rule {
        name: "module-docs",
        what: "every lib.rs and main.rs begins with what it is for",
        check: docs::crates_say_what_they_are,
    },
    Rule {
        name: "links",
        what: "every relative link in a document leads to a file and a heading",
        check: docs::links_resolve,
    },
    Rule {
        name: "commands",
        what: "every cutover command in a shell block of a document is in the CLI reference",
        check: docs::commands_exist,
    },
    Rule {
        name: "names",
        what: "what ARCHITECTURE, CONTRIBUTING and the READMEs of bench and fuzz name is in the tree",
        check: names::named_things_exist,
    },
    Rule {
        name: "picture",
        what: "the floors in ARCHITECTURE show all crates, and no other",
        check: names::the_floors_show_all_crates,
    },
    Rule {
        name: "papers",
        what: "README, ARCHITECTURE, CONTRIBUTING, CHANGELOG and LICENSE exist; ARCHITECTURE stays short",
        check: docs::papers_exist,
    },
    Rule { name: "spaces", what: "no tabs, no trailing spaces", check: text::spaces_are_clean },
    Rule { name: "paths", what: "no absolute path of one machine", check: text::no_machine_paths },
];
