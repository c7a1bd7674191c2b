//! Tests that decide which rows of a data set count.

use serde::{Deserialize, Serialize};

/// One test of a column. Exactly one of the tests is given; an absent cell fails every test.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// The column.
    pub column: String,
    /// The number is greater.
    pub above: Option<f64>,
    /// The number is smaller.
    pub below: Option<f64>,
    /// The text is one of these.
    pub one_of: Option<Vec<String>>,
    /// The text is none of these.
    pub none_of: Option<Vec<String>>,
    /// The text begins so.
    pub prefix: Option<String>,
    /// The text does not begin so.
    pub no_prefix: Option<String>,
    /// The text begins with at least so many ASCII digits.
    pub leading_digits: Option<usize>,
}

impl Condition {
    /// Number of tests that are given.
    pub(super) fn tests(&self) -> usize {
        [
            self.above.is_some(),
            self.below.is_some(),
            self.one_of.is_some(),
            self.none_of.is_some(),
            self.prefix.is_some(),
            self.no_prefix.is_some(),
            self.leading_digits.is_some(),
        ]
        .into_iter()
        .filter(|given| *given)
        .count()
    }

    /// Whether a cell passes.
    pub fn holds(&self, cell: Option<&str>) -> bool {
        let Some(cell) = cell else { return false };
        let number = || cell.parse::<f64>().ok();
        if let Some(bound) = self.above {
            number().is_some_and(|x| x > bound)
        } else if let Some(bound) = self.below {
            number().is_some_and(|x| x < bound)
        } else if let Some(list) = &self.one_of {
            list.iter().any(|text| text == cell)
        } else if let Some(list) = &self.none_of {
            list.iter().all(|text| text != cell)
        } else if let Some(prefix) = &self.prefix {
            cell.starts_with(prefix.as_str())
        } else if let Some(prefix) = &self.no_prefix {
            !cell.starts_with(prefix.as_str())
        } else {
            let digits = cell.bytes().take_while(u8::is_ascii_digit).count();
            self.leading_digits.is_some_and(|least| digits >= least)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_test_what_they_say_and_absent_cells_fail() {
        let column = || "c".to_owned();
        let digits = Condition { column: column(), leading_digits: Some(5), ..Condition::default() };
        assert!(digits.holds(Some("85123A")) && !digits.holds(Some("POST")) && !digits.holds(None));
        let no_c = Condition { column: column(), no_prefix: Some("C".into()), ..Condition::default() };
        assert!(no_c.holds(Some("536365")) && !no_c.holds(Some("C536365")));
        let above = Condition { column: column(), above: Some(0.0), ..Condition::default() };
        assert!(above.holds(Some("0.1")) && !above.holds(Some("0")) && !above.holds(Some("x")));
    }
}
