//! The receipt itself: figures for programs, sentences for people.

use std::fmt;

use jiff::civil::Date;
use serde::Serialize;

use super::{
    compare::{Change, Comparison, Finding},
    worth::{Judged, Worth},
};
use crate::forecast::Way;

/// Service levels above this rest on an assumed tail.
const LEVEL_KNOWN: f64 = 0.9;

/// What joining was worth and what it cost.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// The merchant's name in the federation.
    pub merchant: String,
    /// The federation.
    pub federation: String,
    /// The model in words.
    pub model: String,
    /// The model from before the first round, in words.
    pub before: String,
    /// Last day of the training period.
    #[serde(serialize_with = "as_text")]
    pub trained_to: Date,
    /// Steps of a window.
    pub horizon: usize,
    /// Days of a step: 1 or 7.
    pub step_days: i64,
    /// Service level of the cost of stock.
    pub service_level: f64,
    /// Windows, earliest first.
    pub windows: Vec<WindowLine>,
    /// Windows whose every judged day lies after the training period.
    pub clean: Option<Group>,
    /// Windows with days that the model was, or may have been, trained on.
    pub seen: Option<Group>,
    /// What was spent.
    pub price: Price,
}

/// One window.
#[derive(Clone, Debug, Serialize)]
pub struct WindowLine {
    /// Last day that was known.
    #[serde(serialize_with = "as_text")]
    pub known_to: Date,
    /// Last day that was judged.
    #[serde(serialize_with = "as_text")]
    pub last_day: Date,
    /// Whether the model cannot have seen any of the judged days.
    pub clean: bool,
    /// Series judged.
    pub series: usize,
    /// WQL with the federation, without, and of the best baseline.
    pub wql: [Option<f64>; 3],
}

/// Figures over some windows.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// Windows.
    pub windows: usize,
    /// Series that were judged in any of them.
    pub series: usize,
    /// The baseline with the smallest WQL on these very windows.
    pub baseline: String,
    /// With the federation, without, and of that baseline.
    pub figures: [Figures; 3],
    /// The federation beside no federation.
    pub no_federation: Comparison,
    /// The federation beside the best baseline.
    pub best_baseline: Comparison,
}

/// One row's figures; `None` where nothing was sold.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Mean weighted quantile loss, over all windows together.
    pub wql: Option<f64>,
    /// Absolute errors of the median over sales.
    pub wape: Option<f64>,
    /// Cost of stock, in units left over for one step.
    pub stock_cost: f64,
}

/// What was spent.
#[derive(Clone, Debug, Serialize)]
pub struct Price {
    /// Whom ε protects: customer, series or merchant.
    pub unit: String,
    /// δ.
    pub delta: f64,
    /// Rounds charged to the own ledger.
    pub rounds_charged: u32,
    /// Rounds of the plan.
    pub rounds_planned: u32,
    /// One an observer; empty where nothing was charged.
    pub observers: Vec<PriceRow>,
}

/// What one observer may have learnt.
#[derive(Clone, Debug, Serialize)]
pub struct PriceRow {
    /// Who looks.
    pub who: String,
    /// ε; `None` where hardly any noise is left.
    pub epsilon: Option<f64>,
    /// Share of right guesses about one unit, from even odds, at most.
    pub right_guesses: Option<String>,
}

impl Group {
    /// Of windows whose rows are those of `ways`: federation, no federation, baselines. `None` without a window.
    pub(super) fn of(windows: &[&Judged], ways: &[Way]) -> Option<Self> {
        let count = windows.iter().flat_map(|window| &window.series).map(|(position, _)| position + 1).max()?;
        let mut series: Vec<Option<Vec<Worth>>> = vec![None; count];
        for (position, worth) in windows.iter().flat_map(|window| &window.series) {
            let sums = series[*position].get_or_insert_with(|| vec![Worth::default(); ways.len()]);
            sums.iter_mut().zip(worth).for_each(|(sum, one)| sum.add(one));
        }
        let series: Vec<Vec<Worth>> = series.into_iter().flatten().collect();
        let sum = |row: usize| {
            let mut sum = Worth::default();
            series.iter().for_each(|rows| sum.add(&rows[row]));
            sum
        };
        let best = (2..ways.len()).min_by(|a, b| sum(*a).quantile_loss.total_cmp(&sum(*b).quantile_loss))?;
        let pairs = |row: usize| series.iter().map(|rows| (rows[0], rows[row])).collect::<Vec<_>>();
        Some(Self {
            windows: windows.len(),
            series: series.len(),
            baseline: ways[best].name().to_owned(),
            figures: [0, 1, best].map(|row| Figures::of(&sum(row))),
            no_federation: Comparison::of(Way::NoFederation.name(), &pairs(1)),
            best_baseline: Comparison::of(ways[best].name(), &pairs(best)),
        })
    }
}

impl Figures {
    fn of(sum: &Worth) -> Self {
        let relative = |error: f64| (sum.volume > 0.0).then(|| error / sum.volume);
        Self { wql: relative(sum.quantile_loss), wape: relative(sum.absolute_error), stock_cost: sum.stock_cost }
    }
}

impl Receipt {
    /// The windows that the verdict rests on, and whether they are clean.
    pub fn judged(&self) -> Option<(&Group, bool)> {
        self.clean.as_ref().map(|group| (group, true)).or(self.seen.as_ref().map(|group| (group, false)))
    }

    /// What joining was worth, in a sentence for each comparison.
    pub fn verdict(&self) -> Vec<String> {
        let Some((group, clean)) = self.judged() else {
            return vec!["No window could be judged.".to_owned()];
        };
        let days = if clean {
            "days that the model has not seen"
        } else {
            "days of the training period, which the model has seen"
        };
        let beside = |comparison: &Comparison, other: &str| {
            let Some(change) = &comparison.wql else {
                return format!("Beside {other} nothing can be said: nothing but zeros came.");
            };
            let told = match change.finding {
                Finding::Gained => format!("The federation's forecast was better than {other}"),
                Finding::Lost => format!("The federation's forecast was worse than {other}"),
                Finding::Open => format!("No gain over {other} can be told"),
            };
            format!("{told}: {}, on {days}.", in_words(change, "WQL"))
        };
        vec![
            beside(&group.no_federation, "the same model without federation"),
            beside(&group.best_baseline, &format!("your best baseline ({})", group.baseline)),
        ]
    }

    /// What was spent, in a sentence.
    pub fn price_in_words(&self) -> String {
        let price = &self.price;
        let Some(server) = price.observers.get(1) else {
            return "Nothing was charged under this plan: no update has left this merchant.".to_owned();
        };
        let epsilon = server.epsilon.map_or("no bound on ε".to_owned(), |epsilon| format!("ε = {epsilon:.2}"));
        format!(
            "It cost each {} {epsilon} at δ = {:e} against {}, in {} of {} rounds; nothing of it comes back.",
            price.unit, price.delta, server.who, price.rounds_charged, price.rounds_planned
        )
    }

    /// What the figures do not say.
    pub fn cannot_tell(&self) -> Vec<String> {
        let mut said = Vec::new();
        match (&self.clean, &self.seen) {
            (None, Some(_)) => said.push(format!(
                "Every window has days up to {}, the end of the training period: the model was made with the sales of these days, \
                 this merchant's among them. Its figures are too kind by an amount that nobody knows. Ask again when {} {} \
                 have passed since.",
                self.trained_to,
                self.horizon,
                if self.step_days == 7 { "weeks" } else { "days" }
            )),
            (Some(_), Some(_)) => said.push(format!(
                "Windows with days up to {} are shown apart: the model has seen them, and they have no part in the verdict.",
                self.trained_to
            )),
            _ => {}
        }
        if let Some((group, _)) = self.judged() {
            let intervals = if group.no_federation.wql.is_some_and(|change| change.interval.is_some()) {
                "The intervals say how much hangs on which products these are."
            } else {
                "With fewer than ten series there is no interval, and so no finding."
            };
            let windows =
                if group.windows == 1 { "one window".to_owned() } else { format!("{} windows", group.windows) };
            said.push(format!(
                "{intervals} They cannot say what other weeks would have brought: all products share the weather and the season of \
                 {windows}."
            ));
            said.push(format!(
                "{} was picked as the best baseline with hindsight on these very windows, which favours it.",
                group.baseline
            ));
        }
        said.push(format!(
            "The cost of stock takes every step for a market day: stock for {:.0} % of such days is bought, what is left is thrown \
             away, a unit short costs {:.1} units left over. It compares forecasts; it is no simulation of a warehouse.",
            100.0 * self.service_level,
            self.service_level / (1.0 - self.service_level)
        ));
        if self.service_level > LEVEL_KNOWN {
            said.push(format!(
                "Forecasts end at the quantile {LEVEL_KNOWN}; beyond it the tail is an assumption, and so is the cost of stock."
            ));
        }
        said
    }
}

/// A change as percent with its interval.
pub(super) fn in_words(change: &Change, what: &str) -> String {
    let side = if change.relative < 0.0 { "smaller" } else { "larger" };
    let interval = change
        .interval
        .map_or(String::new(), |[low, high]| format!(" (95 % interval {} to {})", signed(low), signed(high)));
    format!("{what} {:.1} % {side}{interval}", 100.0 * change.relative.abs())
}

/// A share as signed percent.
pub(super) fn signed(share: f64) -> String {
    let percent = 100.0 * share;
    // A small change is not called none.
    let text =
        if percent != 0.0 && percent.abs() < 0.05 { format!("{percent:+.2} %") } else { format!("{percent:+.1} %") };
    text.replace('-', "−")
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} in `{}`: {} beside {}\n", self.merchant, self.federation, self.model, self.before)?;
        for (group, clean) in [(&self.clean, true), (&self.seen, false)] {
            let Some(group) = group else { continue };
            let days = if clean { "after the training period" } else { "that the model has seen" };
            writeln!(
                f,
                "{} {} {days} ({} {}), {} series",
                group.windows,
                if group.windows == 1 { "window" } else { "windows" },
                if clean { "from" } else { "up to" },
                self.trained_to,
                group.series
            )?;
            writeln!(f, "  {:32}  {:>8}  {:>8}  {:>12}", "", "WQL", "WAPE", "stock cost")?;
            let names = ["with the federation", "no federation", &group.baseline];
            for (name, figures) in names.iter().zip(&group.figures) {
                let cell = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
                writeln!(
                    f,
                    "  {name:32}  {:>8}  {:>8}  {:>12.1}",
                    cell(figures.wql),
                    cell(figures.wape),
                    figures.stock_cost
                )?;
            }
            for comparison in [&group.no_federation, &group.best_baseline] {
                let cell = |change: &Option<Change>| {
                    change.as_ref().map_or("–".to_owned(), |change| signed(change.relative))
                };
                let name = format!("change beside {}", comparison.against);
                writeln!(
                    f,
                    "  {name:32}  {:>8}  {:>8}  {:>12}",
                    cell(&comparison.wql),
                    cell(&comparison.wape),
                    cell(&comparison.stock_cost)
                )?;
            }
            writeln!(f)?;
        }
        for sentence in self.verdict().into_iter().chain([self.price_in_words()]) {
            writeln!(f, "{sentence}")?;
        }
        writeln!(f, "\nWhat this does not say:")?;
        let said = self.cannot_tell();
        for (number, sentence) in said.iter().enumerate() {
            if number + 1 == said.len() { write!(f, "- {sentence}")? } else { writeln!(f, "- {sentence}")? }
        }
        Ok(())
    }
}

fn as_text<S: serde::Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(date)
}
