//! Where a report belongs in the law: what the log contributes to each provision, and what is left to those responsible.
//!
//! Invariant: nothing is said to comply with anything. Each row says what the log shows and what has to be added; whether
//! that is enough is for the controller and its authority to say. Provisions are named as of 2026 and have to be checked
//! against the text in force.

use forecastle_crypto::dp::unit::PrivacyUnit;
use serde::Serialize;

use super::facts::{AdversaryFacts, Log, Promise};
use crate::conclusions::per_cent;

/// A provision, what this report contributes to it, and what it leaves to the controller.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mapping {
    /// The provision or question.
    pub reference: &'static str,
    /// What the log and this report show.
    pub shows: String,
    /// What the controller or business has to add.
    pub to_add: &'static str,
}

/// Articles of Regulation (EU) 2016/679.
pub fn gdpr(promise: &Promise, log: &Log) -> Vec<Mapping> {
    let bounds = match promise.unit {
        PrivacyUnit::Customer => format!(
            "at most {} order lines, {} products and {} units a customer",
            promise.bounds.order_lines, promise.bounds.series, promise.bounds.units
        ),
        _ => "one clipped vector a series".to_owned(),
    };
    vec![
        Mapping {
            reference: "Art. 5(2): accountability",
            shows: format!(
                "An append-only log of {} entries with signed statements of what each merchant released in each round, \
                 under which limits; every figure here is recomputed from it. Anyone with the folder can repeat that \
                 with the same free software.",
                log.entries
            ),
            to_add: "Purpose, legal basis and retention for the training; who reviewed this report, and when.",
        },
        Mapping {
            reference: "Art. 17: erasure",
            shows: "Erased order lines take no further part in training. Models published before stay published; the \
                    figures bound what those models tell about one person whether or not that person was erased. A spent \
                    budget is not given back."
                .to_owned(),
            to_add: "The procedure and time limits of each merchant's own erasure, and the assessment whether published \
                     models are affected: this report does not claim that they are anonymous.",
        },
        Mapping {
            reference: "Art. 25: data protection by design and by default",
            shows: format!(
                "Order data stay with the merchant. Before training: {bounds}. Before leaving: clipped, noised, masked. \
                 Only sums over at least {} merchants can be read. Limits are fixed in a plan whose digest every \
                 statement names.",
                promise.survivors_min
            ),
            to_add: "Why these limits and this ε are appropriate for the data and purpose at hand; settings of the systems \
                     the orders come from.",
        },
        Mapping {
            reference: "Art. 30: records of processing activities",
            shows: format!(
                "Activity: training a shared sales forecasting model. Data: order lines (day, product, quantity, customer \
                 number) from {} to {}, processed at the merchant. Recipients: the federation's server receives masked \
                 updates; readers of models receive noised sums. Participants: {} merchants, listed in this report.",
                promise.period_start,
                promise.period_end,
                log.merchants
            ),
            to_add: "Names and contacts of the controllers and data protection officers, categories of persons, transfers \
                     to third countries, retention, and whether merchants and operator are joint controllers (Art. 26) or \
                     processor (Art. 28).",
        },
        Mapping {
            reference: "Art. 32: security of processing",
            shows: "Mutually authenticated TLS 1.3; secure aggregation that withstands a server which deviates from the \
                    protocol, up to the assumed number of colluders; signed, hash-chained records; state folders \
                    readable by their owner only."
                .to_owned(),
            to_add: "Encryption of disks and backups (the software does not encrypt its state folder), access rights, \
                     patching, incident handling.",
        },
        Mapping {
            reference: "Art. 35: data protection impact assessment",
            shows: "The annex below gives the description of the processing, the measures and the quantified likelihood of \
                    inference about one person."
                .to_owned(),
            to_add: "Whether an assessment is required, necessity and proportionality, severity for the persons concerned, \
                     and the decision.",
        },
    ]
}

/// Provisions of the California Consumer Privacy Act and its regulations.
pub fn ccpa(promise: &Promise) -> Vec<Mapping> {
    let personal = match promise.unit {
        PrivacyUnit::Customer => "linked to a customer number",
        _ => "of products; customer numbers were not part of the guarantee",
    };
    vec![
        Mapping {
            reference: "Cal. Civ. Code § 1798.100(c): necessary and proportionate",
            shows: format!(
                "Categories used: commercial information (purchases, {personal}), from {} to {}. Purpose: sales forecasts. \
                 Purchases are not disclosed to the operator or to other merchants; masked updates are.",
                promise.period_start, promise.period_end
            ),
            to_add: "The notice at collection that names this purpose, and the retention period.",
        },
        Mapping {
            reference: "§ 1798.105: deletion",
            shows:
                "Deleted purchases take no further part in training. What earlier models hold of one person is bounded \
                    by the figures in this report, and is not undone."
                    .to_owned(),
            to_add: "How requests are received, verified and passed on.",
        },
        Mapping {
            reference: "§ 1798.140(m): deidentified information",
            shows:
                "ε and δ quantify what the published models can reveal of one person. This report does not claim that \
                    models, updates or orders are deidentified in the sense of the Act."
                    .to_owned(),
            to_add: "If the claim is to be made: the public commitment not to reidentify, and contracts that bind \
                     recipients.",
        },
        Mapping {
            reference: "Cal. Code Regs. tit. 11, § 7101: records of consumer requests",
            shows: "Nothing: requests are kept by each merchant, outside this log.".to_owned(),
            to_add: "The records of requests and answers, for the period that the regulation asks for.",
        },
        Mapping {
            reference: "Cal. Code Regs. tit. 11, § 7150 ff.: risk assessments",
            shows:
                "The annex below can serve as the technical part: purpose, categories, safeguards, quantified risk of \
                    inference."
                    .to_owned(),
            to_add: "Whether an assessment is required, benefits and negative impacts, approval and submission.",
        },
    ]
}

/// Headings of an impact assessment after Art. 35(7), filled in as far as the log goes.
pub fn assessment(promise: &Promise, log: &Log, adversaries: &[AdversaryFacts]) -> Vec<Mapping> {
    let bound = |position: usize| match adversaries.get(position).map(|row| (row.spent, &row.odds)) {
        Some((Some(spent), Some(odds))) => format!(
            "ε = {:.3}, at most {} of guesses at even odds are right",
            (spent.epsilon * 1e3).ceil() / 1e3,
            per_cent(odds.right_guesses, 1)
        ),
        _ => "nothing was released".to_owned(),
    };
    vec![
        Mapping {
            reference: "Description of the processing (Art. 35(7)(a))",
            shows: format!(
                "Federation “{}”. Each merchant trains a shared sales forecasting model on its own order lines from {} to \
                 {}; {} rounds published a model, {} were abandoned, {} are planned. Only clipped, noised and masked sums \
                 leave a merchant.",
                log.federation,
                promise.period_start,
                promise.period_end,
                log.rounds_closed,
                log.rounds_abandoned,
                log.rounds_planned
            ),
            to_add: "Controller, processors, systems, data flows before and after training, storage and deletion periods.",
        },
        Mapping {
            reference: "Purposes and legitimate interests (Art. 35(7)(a))",
            shows: "Technical purpose: forecasts of sales by product and day.".to_owned(),
            to_add: "Business purpose, legal basis, interests pursued.",
        },
        Mapping {
            reference: "Necessity and proportionality (Art. 35(7)(b))",
            shows: match promise.unit {
                PrivacyUnit::Customer => format!(
                    "Customer numbers are used to bound contributions (at most {} lines, {} products, {} units), not as \
                     inputs of the model.",
                    promise.bounds.order_lines, promise.bounds.series, promise.bounds.units
                ),
                _ => "Customer numbers are not needed; series are used as a whole.".to_owned(),
            },
            to_add: "Why shared training is needed beside local forecasts: attach the merchant's own comparison.",
        },
        Mapping {
            reference: "Consultation of data subjects (Art. 35(9))",
            shows: "Nothing in the log.".to_owned(),
            to_add: "Views sought, or why not.",
        },
        Mapping {
            reference: "Risk: someone infers from the models that a person is in the data, or what they bought",
            shows: format!("Likelihood bounded for each {}: {}. See sections 2 and 4.", promise.unit, bound(0)),
            to_add: "Severity for the persons concerned; rating.",
        },
        Mapping {
            reference: "Risk: the operator of the server turns against its merchants' customers",
            shows: format!(
                "Likelihood bounded, with the assumed number of helpers: {}. If every other merchant helps: {}.",
                bound(1),
                bound(2)
            ),
            to_add: "Who operates the server, contracts, rating.",
        },
        Mapping {
            reference: "Risk: order data are taken from a merchant's machine",
            shows: "Not reduced by this system: the data are where they were before.".to_owned(),
            to_add: "Security of that machine and its backups; rating.",
        },
        Mapping {
            reference: "Risk: the software does not do what it signs",
            shows: "Source and tests of the software can be read; an empirical audit tests what they do, if its result is above.".to_owned(),
            to_add: "Where the installed software came from, and who checked it; rating.",
        },
        Mapping {
            reference: "Measures envisaged (Art. 35(7)(d))",
            shows: format!(
                "Contribution bounds, clipping, noise, secure aggregation over at least {} merchants, a cap of ε = {} that \
                 each merchant's software enforces, an append-only log, this audit.",
                promise.survivors_min, promise.epsilon_cap
            ),
            to_add: "Further measures, persons responsible, dates.",
        },
        Mapping {
            reference: "Opinion of the data protection officer (Art. 35(2)) and decision",
            shows: "None.".to_owned(),
            to_add: "Opinion, decision, date, signature, date of the next review.",
        },
    ]
}
