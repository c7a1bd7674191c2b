//! What forecasts were worth: errors and the cost of stock, by series and window.

use jiff::civil::Date;

use crate::{
    backtest::BacktestError,
    forecast::{
        hierarchy::QuantileFunction,
        metrics::{ScoredForecast, Tally},
    },
};

/// What one row's forecasts of one series were worth, over the windows of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Worth {
    /// Σ of mean quantile losses.
    pub(super) quantile_loss: f64,
    /// Σ of absolute errors of the median.
    pub(super) absolute_error: f64,
    /// Cost of stock, in units left over for one step.
    pub(super) stock_cost: f64,
    /// Σ|y|.
    pub(super) volume: f64,
}

impl Worth {
    pub(super) fn add(&mut self, other: &Self) {
        self.quantile_loss += other.quantile_loss;
        self.absolute_error += other.absolute_error;
        self.stock_cost += other.stock_cost;
        self.volume += other.volume;
    }
}

/// One window: worth by judged series and row.
pub(super) struct Judged {
    pub(super) known_to: Date,
    pub(super) last_day: Date,
    pub(super) clean: bool,
    pub(super) series: Vec<(usize, Vec<Worth>)>,
}

/// The worth of one forecast, where stock is to suffice for a share `level` of the steps. `position` is the series.
pub(super) fn worth(scored: &ScoredForecast<'_>, position: usize, level: f64) -> Result<Worth, BacktestError> {
    let mut tally = Tally::default();
    tally.add(1, position, scored)?;
    let cells = scored.actual.iter().zip(scored.quantiles).filter(|(y, _)| y.is_finite());
    let cost = cells.map(|(y, quantiles)| {
        let missing = f64::from(*y) - QuantileFunction::new(quantiles).value(level);
        if missing > 0.0 { missing * level / (1.0 - level) } else { -missing }
    });
    Ok(Worth {
        quantile_loss: tally.quantile_loss(),
        absolute_error: tally.absolute_error(),
        stock_cost: cost.sum(),
        volume: tally.volume(),
    })
}
