use super::*;
use crate::claims::Direction;
use crate::fraction::FractionClaim;

#[test]
fn late_harm_is_found_where_a_cumulative_process_sleeps() {
    let claim = FractionClaim::new(Direction::Above, 0.02).unwrap();
    let mut detector = Detector::default();
    // A long good stretch with one hit in a hundred, then one in ten.
    for i in 0..20_000u32 {
        detector.observe(claim.log_factors(i % 100 == 0)).unwrap();
    }
    assert!(!detector.alarms(100_000));
    let mut late = 0;
    while !detector.alarms(100_000) && late < 5_000 {
        late += 1;
        detector.observe(claim.log_factors(late % 10 == 0)).unwrap();
    }
    assert!(late < 500, "found after {late}");
    let cumulative = claim.log_e(crate::Count { hits: 200 + late / 10, trials: 20_000 + late });
    assert!(cumulative.get() < 0.0);
}

#[test]
fn a_fresh_detector_restarts_and_refuses_nonsense() {
    let mut detector = Detector::<2>::default();
    let text = serde_json::to_string(&detector).unwrap();
    assert_eq!(serde_json::from_str::<Detector<2>>(&text).unwrap(), detector);
    assert!(!detector.alarms(1));
    assert!(detector.observe([0.0, f64::NAN]).is_err());
    assert_eq!(detector, Detector::default());
    detector.observe([0.0, 0.0]).unwrap();
    assert!(detector.alarms(1));
}
