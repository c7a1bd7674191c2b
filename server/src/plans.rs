//! Plans that come with the server, as documented TOML files.

/// Four or five merchants, customer-level privacy: enough to try a federation by hand.
pub const FOUR_MERCHANTS: &str = include_str!("../plans/four-merchants.toml");

#[cfg(test)]
mod tests {
    use forecastle_crypto::dp::plan::PrivacyPlan;

    #[test]
    fn every_plan_that_comes_with_the_server_keeps_its_own_promise() {
        let plan = PrivacyPlan::parse(super::FOUR_MERCHANTS.as_bytes()).unwrap();
        for cohort in [4, 5] {
            plan.threshold(cohort).unwrap();
        }
        assert!(plan.threshold(3).is_err());
    }
}
