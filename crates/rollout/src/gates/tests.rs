use super::*;
use crate::text::parse_gate;

#[test]
fn every_example_belongs_to_its_row_and_to_no_other() {
    for row in &GATES {
        let gate = parse_gate(row.example).unwrap();
        let suiting: Vec<_> =
            GATES.iter().filter(|row| (row.suits)(&gate)).map(|row| row.name).collect();
        assert_eq!(suiting, [row.name]);
        assert_eq!(gate.role, row.default_role, "{}", row.name);
        assert!((row.open)(&gate).is_ok(), "{}", row.name);
    }
}

#[test]
fn the_reference_has_a_section_for_each() {
    let reference = reference();
    for row in &GATES {
        assert!(reference.contains(&format!("## {}\n", row.name)), "{}", row.name);
        assert!(reference.contains(row.example));
    }
}
