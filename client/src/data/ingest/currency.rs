//! Which currencies a file's amounts are in. They are counted and shown, never converted: a file with several is for its
//! owner to put right.

use std::collections::BTreeMap;

use super::{TableKind, TableMapping, table::Table};

/// Fields that hold amounts of money.
const AMOUNTS: [&str; 4] = ["unit_price", "list_price", "price", "value"];
/// Names of columns that say a row's currency (lower case, letters only).
const COLUMNS: [&str; 6] = ["currency", "currencycode", "currencyiso", "waehrung", "währung", "devise"];
/// Currencies told apart; a column with more is none of currencies.
const MANY: usize = 20;

/// Currency signs and codes in the amounts of the first rows, and values of a column of currencies, with their counts. Of a
/// query, which would have to be asked once more, none.
pub(super) fn met(kind: TableKind, table: &Table, mapping: &TableMapping) -> BTreeMap<String, u64> {
    let mut met: BTreeMap<String, u64> = BTreeMap::new();
    if table.query().is_some() || kind == TableKind::Holidays {
        return met;
    }
    let amounts = AMOUNTS.iter().filter_map(|field| table.column(mapping.columns.get(*field)?));
    for sign in amounts.flat_map(|at| table.sample(at)).filter_map(|value| sign(value)) {
        *met.entry(sign.to_owned()).or_default() += 1;
    }
    let letters =
        |name: &str| name.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect::<String>();
    let named = table.header().iter().position(|column| COLUMNS.contains(&letters(column).as_str()));
    let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
    for value in named.map_or(&[][..], |at| table.sample(at)) {
        *codes.entry(value).or_default() += 1;
    }
    if codes.len() <= MANY {
        met.extend(codes.into_iter().map(|(code, count)| (code.to_owned(), count)));
    }
    met
}

/// The sign or code before or after an amount: `€ 5`, `5 EUR`.
fn sign(amount: &str) -> Option<&str> {
    let sign = amount.trim_matches(|c: char| !(c.is_alphabetic() || matches!(c, '€' | '$' | '£' | '¥')));
    (1..=3).contains(&sign.chars().count()).then_some(sign).filter(|sign| !sign.eq_ignore_ascii_case("e"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_or_a_code_is_found_beside_an_amount_and_none_in_a_plain_number() {
        for (amount, expected) in [
            ("€ 5", Some("€")),
            ("1.234,50 EUR", Some("EUR")),
            ("-$5", Some("$")),
            ("1e3", None),
            ("5", None),
            ("", None),
        ] {
            assert_eq!(sign(amount), expected, "{amount}");
        }
    }
}
