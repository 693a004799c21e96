//! Medians and spreads of a few rounds.

/// What several rounds of one figure gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` without values, or with one that is not a number.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        let median = (lower + upper) / 2.0;
        median.is_finite().then_some(Self { median, min, max })
    }

    /// `12.3 (11.9..13.1)`
    pub(super) fn text(&self, digits: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
    }
}

/// The value below which `share` (0 to 1) of the values lie; the values need not be sorted.
pub(super) fn quantile(values: &mut [u32], share: f64) -> f64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1).min(last)).copied().map_or(f64::NAN, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let check = |values: &[f64], expect: Option<&str>| {
            assert_eq!(Spread::of(values).map(|spread| spread.text(1)).as_deref(), expect, "{values:?}");
        };
        check(&[], None);
        check(&[3.0], Some("3.0 (3.0..3.0)"));
        check(&[9.0, 1.0, 2.0], Some("2.0 (1.0..9.0)"));
        check(&[4.0, 1.0, 2.0, 9.0], Some("3.0 (1.0..9.0)"));
        check(&[f64::NAN], None);
    }

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let mut values: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(quantile(&mut values, 0.5), 50.0);
        assert_eq!(quantile(&mut values, 0.99), 99.0);
        assert_eq!(quantile(&mut values, 1.0), 100.0);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
