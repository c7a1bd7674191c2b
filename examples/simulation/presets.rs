//! Plans for simulations: the ones that ship, and one proposed for a task's size.

use std::path::Path;

use forecastle_crypto::dp::{
    plan::{Day, PlanError, PrivacyPlan},
    planner::Refused,
    unit::PrivacyUnit,
};

use crate::{
    dataset::Panel,
    job::plan::{Size, propose},
};

/// Plans that ship with the program.
const SHIPPED: [(&str, &str); 6] = [
    ("restaurants-series-8", include_str!("../plans/restaurants-series-8.toml")),
    ("walmart-series-8", include_str!("../plans/walmart-series-8.toml")),
    ("orange-juice-series-8", include_str!("../plans/orange-juice-series-8.toml")),
    ("online-retail-series-8", include_str!("../plans/online-retail-series-8.toml")),
    ("olist-seller-series-8", include_str!("../plans/olist-seller-series-8.toml")),
    ("olist-category-series-8", include_str!("../plans/olist-category-series-8.toml")),
];

/// Why there is no such plan.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// Neither a name nor a TOML file.
    #[error("there is no plan `{name}`; name a .toml file or one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file cannot be read.
    #[error("plan {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The plan is refused.
    #[error("plan {name}: {source}")]
    Plan {
        /// Which plan.
        name: String,
        /// Why.
        source: PlanError,
    },
    /// No plan fits the task.
    #[error("task {name}: {source}")]
    Refused {
        /// Which task.
        name: String,
        /// Why.
        source: Refused,
    },
    /// A task too large or too small for a plan.
    #[error("the task's {what} ({found}) fits no plan; at most {most} do")]
    Size {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// No window to take a training period from.
    #[error("the task has no window with a series to train on; its data are too short")]
    NoWindow,
}

/// Names of the plans that ship.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// A shipped plan's name, or the path of a TOML file.
///
/// # Errors
/// [`PresetError`].
pub fn resolve(name_or_path: &str) -> Result<PrivacyPlan, PresetError> {
    let refused = |source| PresetError::Plan { name: name_or_path.into(), source };
    if let Some((_, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
        return PrivacyPlan::parse(text.as_bytes()).map_err(refused);
    }
    let path = Path::new(name_or_path);
    if path.extension().is_none_or(|extension| extension != "toml") {
        let known = preset_names().collect::<Vec<_>>().join(", ");
        return Err(PresetError::Unknown { name: name_or_path.into(), known });
    }
    let bytes = std::fs::read(path).map_err(|source| PresetError::Read { path: path.display().to_string(), source })?;
    PrivacyPlan::parse(&bytes).map_err(refused)
}

/// A plan for all merchants of a panel: σ is the smallest that keeps `epsilon` over `rounds`.
///
/// `unit`: whom it protects. `dimension`: number of privately trained parameters.
///
/// # Errors
/// [`PresetError`] where no such plan exists.
pub fn for_panel(
    panel: &Panel,
    unit: PrivacyUnit,
    dimension: usize,
    rounds: u32,
    epsilon: f64,
) -> Result<PrivacyPlan, PresetError> {
    let merchants = panel.merchants();
    let first = panel.windows().into_iter().find(|w| !w.members.is_empty()).ok_or(PresetError::NoWindow)?;
    let day = |date: jiff::civil::Date| date.to_string().parse::<Day>().map_err(|_| PresetError::NoWindow);
    let begun = panel.series.iter().map(|s| s.series.start).min().ok_or(PresetError::NoWindow)?;
    let test = first.members.iter().map(|m| panel.first_test_date(*m)).max().ok_or(PresetError::NoWindow)?;
    let last = test.yesterday().map_err(|_| PresetError::NoWindow)?;
    let small = |what, found: usize| {
        u16::try_from(found).map_err(|_| PresetError::Size { what, found, most: usize::from(u16::MAX) })
    };
    let large = |what, found: usize| {
        u32::try_from(found).map_err(|_| PresetError::Size { what, found, most: u32::MAX as usize })
    };
    propose(&Size {
        name: format!("{}, {unit} unit", panel.task.title),
        unit,
        merchants: small("merchants", merchants.len())?,
        series: large("series", panel.series.len())?,
        series_per_merchant: large("series of a merchant", merchants.values().map(Vec::len).max().unwrap_or(1))?,
        dimension: large("parameters", dimension)?,
        rounds,
        epsilon,
        delta: 1e-6,
        period_start: day(begun)?,
        period_end: day(last)?,
        simulation: true,
    })
    .map_err(|source| PresetError::Refused { name: panel.task.name.clone(), source })
}
