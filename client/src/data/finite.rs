//! Series that hold a number with which nothing can be computed.
//!
//! Missing steps are `NaN` and mean something; an infinite value, or an undefined price, means nothing. Files with such
//! numbers are refused row by row when they are imported; whoever builds series in another way gets a sentence with the
//! series and the day, before a network is asked.

use jiff::civil::Date;

use super::series::Series;

/// A number that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "series `{series}`: {part} of {day} is infinite or undefined; correct that day in the table it comes from, or leave the \
     product out"
)]
pub struct NotFinite {
    /// Identity of the series.
    pub series: String,
    /// What of it.
    pub part: &'static str,
    /// First day of the step.
    pub day: Date,
}

/// Refuses a series whose target is infinite somewhere, or whose inputs are infinite or, where that means nothing, undefined.
///
/// # Errors
/// [`NotFinite`] names the first such step.
pub fn check(series: &Series) -> Result<(), NotFinite> {
    let refuse = |part: &'static str, step: Option<usize>| match step {
        None => Ok(()),
        Some(step) => Err(NotFinite { series: series.id.clone(), part, day: series.date(step) }),
    };
    let undefined = |row: &[f32]| row.iter().any(|x| !x.is_finite());
    refuse("the value", series.y.iter().position(|y| y.is_infinite()))?;
    refuse("a price or another channel", series.known.iter().position(|row| undefined(row)))?;
    refuse("the text's vector", series.text_vector.as_ref().filter(|vector| undefined(vector)).map(|_| 0))?;
    let Some(further) = series.further.as_deref() else { return Ok(()) };
    refuse("a channel of the past", further.past.iter().position(|row| row.iter().any(|x| x.is_infinite())))?;
    refuse("what came back", further.returns.iter().position(|row| undefined(row)))?;
    refuse("a further channel", further.known.iter().position(|row| undefined(row)))?;
    refuse("the product's vector", undefined(&further.vector).then_some(0))
}
