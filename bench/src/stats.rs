//! Medians, percentiles, bests and ratios of what was measured.

/// The value that half of the others do not exceed. NaN: there are none.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The smallest of the values that `percent` of them do not exceed (nearest rank). NaN: there are none.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let sorted = sorted(values);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

/// The smallest value: what something takes where nothing else is in its way. NaN: there are none.
pub fn best(values: &[f64]) -> f64 {
    percentile(values, 0.0)
}

/// A ratio of medians, and the smallest and largest ratio of two values of one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Of the medians.
    pub median: f64,
    /// Of the worst round.
    pub min: f64,
    /// Of the best one.
    pub max: f64,
}

/// The ratio of two series whose values belong together round by round.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> Ratio {
    let rounds: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    Ratio { median: median(ours) / median(theirs), min: percentile(&rounds, 0.0), max: percentile(&rounds, 100.0) }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_values_that_were_measured_or_between_two() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (values, percent, expected) in [
            (&hundred[..], 99.0, 99.0),
            (&hundred[..], 50.0, 50.0),
            (&hundred[..], 100.0, 100.0),
            (&hundred[..], 0.0, 1.0),
            (&[7.0], 99.0, 7.0),
            (&[1.0, 2.0], 50.0, 1.0),
            (&[1.0, 2.0], 51.0, 2.0),
        ] {
            assert!((percentile(values, percent) - expected).abs() < 1e-9, "{percent} of {}", values.len());
        }
        assert!((median(&hundred) - 50.5).abs() < 1e-9);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(&[]).is_nan() && percentile(&[], 50.0).is_nan());
    }

    #[test]
    fn a_ratio_compares_medians_and_bounds_the_rounds() {
        let ratio = ratio(&[1.0, 2.0, 3.0], &[2.0, 2.0, 2.0]);
        assert_eq!(ratio, Ratio { median: 1.0, min: 0.5, max: 1.5 });
    }
}
