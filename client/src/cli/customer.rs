//! One customer, named on the command line.

use std::{error::Error, io::Read as _};

use clap::Args;

use crate::data::{order::CustomerPseudonym, store::Importer};

/// Which customer.
#[derive(Args)]
#[group(multiple = false)]
pub(super) struct Customer {
    /// The customer's number, as the shop's files have it; `-` reads it from standard input, so that it is in no history.
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// The customer's pseudonym, as tables that were exported have it.
    #[arg(long, value_name = "HEX")]
    pseudonym: Option<String>,
}

impl Customer {
    /// The pseudonym; `None` where no customer is named.
    pub(super) fn pseudonym(
        &self,
        importer: &Importer,
    ) -> Result<Option<CustomerPseudonym>, Box<dyn Error + Send + Sync>> {
        if let Some(hex) = &self.pseudonym {
            let pseudonym = CustomerPseudonym::from_hex(&hex.to_lowercase());
            return Ok(Some(pseudonym.ok_or("--pseudonym takes 32 hexadecimal digits, as `data export` writes them")?));
        }
        let Some(raw) = &self.customer else { return Ok(None) };
        let mut read = String::new();
        let raw = if raw == "-" {
            std::io::stdin().take(4096).read_to_string(&mut read)?;
            &read
        } else {
            raw
        };
        if raw.trim().is_empty() {
            return Err("the customer's number is empty".into());
        }
        Ok(Some(importer.pseudonym(raw)))
    }
}
