//! From figures to places.

/// Of one axis, decades or even steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    begin: f64,
    end: f64,
}

impl Scale {
    /// All of `figures` fit; `begin` and `end` are places. `None` where there is nothing to show.
    pub(super) fn over(
        figures: impl Iterator<Item = f64>,
        log: bool,
        begin: f64,
        end: f64,
    ) -> Option<Self> {
        let shown = figures.filter(|figure| figure.is_finite() && (!log || *figure > 0.0));
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), figure| {
            (low.min(figure), high.max(figure))
        });
        if low > high {
            return None;
        }
        let (low, high) = if log {
            let (low, high) = (low.log10().floor(), high.log10().ceil());
            (low, high.max(low + 1.0))
        } else {
            let room = ((high - low) / 10.0).max(high.abs() / 50.0).max(1e-9);
            (low - room, high + room)
        };
        Some(Self {
            low,
            high,
            log,
            begin,
            end,
        })
    }

    pub(super) fn place(&self, figure: f64) -> f64 {
        let figure = if self.log { figure.log10() } else { figure };
        let part = (figure - self.low) / (self.high - self.low);
        self.begin + part * (self.end - self.begin)
    }

    /// Where the lines across go.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.high - self.low) as i32;
            return (0..=decades)
                .map(|step| 10_f64.powf(self.low + f64::from(step)))
                .collect();
        }
        let step = nice((self.high - self.low) / 4.0);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|at| at as f64 * step).collect()
    }
}

/// 1, 2 or 5 of a decade, at least `step`.
fn nice(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|by| by * decade)
        .find(|nice| *nice >= step * 0.999)
        .unwrap_or(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_evenly_spaced() {
        let scale = Scale::over([20.0, 5000.0].into_iter(), true, 0.0, 300.0).unwrap();
        assert_eq!(scale.ticks().len(), 4);
        assert!((scale.place(100.0) - 100.0).abs() < 1e-9);
        assert!((scale.place(10_000.0) - 300.0).abs() < 1e-9);
    }

    #[test]
    fn even_steps_are_round() {
        let scale = Scale::over([0.52, 0.91].into_iter(), false, 100.0, 0.0).unwrap();
        let ticks = scale.ticks();
        assert!(
            ticks.contains(&0.6000000000000001) || ticks.contains(&0.6),
            "{ticks:?}"
        );
        assert!(scale.place(0.91) > 0.0 && scale.place(0.52) < 100.0);
    }

    #[test]
    fn nothing_has_no_scale() {
        assert!(Scale::over(std::iter::empty(), false, 0.0, 1.0).is_none());
        assert!(Scale::over([0.0, -1.0].into_iter(), true, 0.0, 1.0).is_none());
        assert!(Scale::over([3.0].into_iter(), false, 0.0, 1.0).is_some());
    }
}
