//! Inputs taken away from a panel, to see what they are worth.

use clap::ValueEnum;
use forecastle_client::data::calendar::{WEEKDAY_COS, WEEKDAY_SIN, YEAR_COS, YEAR_SIN};

use super::Panel;

/// What the model is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ablation {
    /// Holidays, prices, discounts and promotions; the place in week and year stays
    Covariates,
    /// Texts and attributes of the series
    Text,
}

impl Panel {
    /// Takes inputs away; targets and windows stay as they are.
    pub fn without(&mut self, ablation: Ablation) {
        for series in self.series.iter_mut().map(|one| &mut one.series) {
            match ablation {
                Ablation::Covariates => {
                    for channels in &mut series.known {
                        for (channel, value) in channels.iter_mut().enumerate() {
                            if ![WEEKDAY_SIN, WEEKDAY_COS, YEAR_SIN, YEAR_COS].contains(&channel) {
                                *value = 0.0;
                            }
                        }
                    }
                }
                Ablation::Text => {
                    series.attributes.clear();
                    series.text.clear();
                    series.text_vector = None;
                }
            }
        }
    }
}
