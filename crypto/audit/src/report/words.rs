//! The words of a report: what was promised, what was not, who sees what, and where it belongs in the law's and NIST's
//! order of things.
//!
//! Invariant: no sentence claims more than the log shows or the documented protocol guarantees; what a controller has to
//! add is said to be theirs. Nothing here is legal advice, and the report says so.

use forecastle_crypto::dp::{plan::PrivacyPlan, unit::PrivacyUnit};
use jiff::Timestamp;
use serde::Serialize;

use super::facts::{AdversaryFacts, Log, Promise};
use crate::odds::per_cent;

/// A heading and what there is to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remark {
    /// What it is about.
    pub title: &'static str,
    /// In sentences.
    pub text: String,
}

/// Something that the server sees.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// What.
    pub what: &'static str,
    /// When.
    pub when: &'static str,
    /// What it reveals.
    pub reveals: &'static str,
}

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

/// A time of the log in UTC, to the minute.
pub fn utc(at_ms: u64) -> String {
    i64::try_from(at_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{at_ms} ms after 1970"), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// The promise, as docs/PRIVACY.md has it.
pub fn promise(unit: PrivacyUnit) -> String {
    match unit {
        PrivacyUnit::Customer => {
            "For any customer of merchant M, of whom in every step at most K order lines over L products in the period \
             were used, the messages M sent satisfy (ε, δ)-differential privacy under addition or removal of that \
             customer, against the observers named beside the figure. Other lines were dropped. This is not a claim of \
             anonymity."
                .to_owned()
        }
        PrivacyUnit::Series => {
            "For any series of merchant M, the messages M sent satisfy (ε, δ)-differential privacy under addition or \
             removal of that series, against the observers named beside the figure. The claim protects a series, not a \
             person. This is not a claim of anonymity."
                .to_owned()
        }
        PrivacyUnit::Merchant => {
            "For any merchant M, the messages M sent satisfy (ε, δ)-differential privacy under addition or removal of \
             everything M contributed, against the observers named beside the figure. This is not a claim of anonymity."
                .to_owned()
        }
    }
}

/// What one unit of protection is, for this plan.
pub fn unit_means(plan: &PrivacyPlan) -> String {
    let (start, end) = (plan.rounds.period_start, plan.rounds.period_end);
    match plan.privacy.unit {
        PrivacyUnit::Customer => format!(
            "One customer of one merchant, with everything that was kept of its purchases from {start} to {end}. A purchase \
             without a customer counts as a customer of its own. A person who appears under two customer numbers is two \
             customers."
        ),
        PrivacyUnit::Series => format!(
            "One product's whole series of sales at one merchant, from {start} to {end}. It protects trade secrets. A \
             person whose purchases lie in several series is protected less: see the table below."
        ),
        PrivacyUnit::Merchant => format!("Everything that one merchant contributed, from {start} to {end}."),
    }
}

/// The second observer.
pub fn server_with_colluders(colluders: u16) -> String {
    match colluders {
        0 => "the server, helped by no merchant".to_owned(),
        1 => "the server, helped by one merchant".to_owned(),
        n => format!("the server, helped by {n} merchants"),
    }
}

/// What the promise leaves out.
pub fn not_protected(promise: &Promise) -> Vec<Remark> {
    let bounds = promise.bounds;
    let mut remarks = Vec::new();
    let mut add = |title, text: String| remarks.push(Remark { title, text });
    match promise.unit {
        PrivacyUnit::Customer => {
            add(
                "Purchases beyond the bounds",
                format!(
                    "Of each customer at most {} order lines over {} products with {} units in all were used for shared \
                     training. The rest was left out of it, so nothing of it is in the models. Each merchant is told, on \
                     its own machine, how much that was; the figure is not sent and so is not in this report.",
                    bounds.order_lines, bounds.series, bounds.units
                ),
            );
            add(
                "Persons behind several customer numbers",
                "Customers are told apart by the merchant's own customer numbers. A person with two numbers, or with \
                 purchases at several merchants, is protected by the figures for several customers, not by those for one."
                    .to_owned(),
            );
            add(
                "A merchant's trade secrets",
                "The unit is the customer. How well a product sells over all its customers is a fact about many units; it \
                 is protected less than a customer is, and this report gives no figure for it."
                    .to_owned(),
            );
        }
        PrivacyUnit::Series => add(
            "Persons",
            "The unit is one product's series. No bound was placed on what one person may contribute, so the promise is \
             not made to persons. The table of several series says what follows for a person all the same."
                .to_owned(),
        ),
        PrivacyUnit::Merchant => add(
            "Nothing smaller is counted by itself",
            "The unit is the merchant; customers and products are protected as parts of it.".to_owned(),
        ),
    }
    add(
        "Local forecasts and local tuning",
        "Each merchant forecasts and fine-tunes with all of its own data, on its own machine, without noise. Those results \
         are not private and not part of the promise. Whoever is shown a merchant's forecasts, or is given its tuned model, \
         is shown that merchant's data in another form."
            .to_owned(),
    );
    add(
        "Membership and timing",
        "That a merchant belongs to the federation, which rounds it took part in or dropped out of, and when it was \
         connected is visible to the server, and partly to other merchants through the log. A masked update leaves no \
         earlier than a fixed time after the offer; beyond that, traffic analysis is not defended against."
            .to_owned(),
    );
    add(
        "Choices made in advance",
        "The plan, the product catalogue's texts, prices, promotions and the calendar are treated as public or as written \
         by the merchant. If a plan's numbers were chosen by looking at merchants' data, that choice is not covered."
            .to_owned(),
    );
    add(
        "Conclusions from other people's data",
        "If people in a region buy umbrellas in autumn, that follows for a person of the region whether or not that person \
         is in the data. Differential privacy limits what a person's own data add, not what is true of everybody."
            .to_owned(),
    );
    remarks
}

/// What a verdict over files cannot see.
pub fn not_verifiable(log: &Log) -> Vec<Remark> {
    let mut remarks = vec![
        Remark {
            title: "What happened inside a merchant's machine",
            text: "A charge is the signed statement of a merchant's software that it bounded, sampled, clipped, rounded and \
                   noised as recorded. Masks hide the update, so neither the server nor an auditor can check that from \
                   the log. The evidence for it is the software itself (its source and tests can be read) and the empirical audit."
                .to_owned(),
        },
        Remark {
            title: "Other copies of the log",
            text: "This report judges one copy. That merchants were shown the same history follows from the roots in the \
                   offers they accepted, as far as those are recorded here, and from comparing this copy's root with \
                   merchants' own copies."
                .to_owned(),
        },
        Remark {
            title: "Who stands behind a merchant's name",
            text: "The server enrols merchants. It could enrol some of its own making; the second figure holds only as \
                   long as no more of them help it than were assumed, and the third figure holds in any case."
                .to_owned(),
        },
        Remark {
            title: "Releases outside this log",
            text: "Only what this log records is counted. Another federation, a publication or a service built on the same \
                   customers' data adds to what can be learnt."
                .to_owned(),
        },
    ];
    if !log.key_was_given {
        remarks.push(Remark {
            title: "The federation's key",
            text:
                "Signatures were checked with the key that the folder itself names. Compare it with the key that the \
                   federation published elsewhere, or run the audit with --server-key."
                    .to_owned(),
        });
    }
    remarks
}

/// The server's view, from docs/PROTOCOL.md.
pub fn server_sees() -> Vec<Seen> {
    [
        ("Name, identity key and certificate of each merchant", "joining", "who is a member"),
        (
            "Network address, times and sizes of connections",
            "always",
            "when a merchant is online; sizes do not depend on data",
        ),
        ("One-time public keys", "before rounds", "nothing about data"),
        (
            "Encrypted shares of keys, passed on to other merchants",
            "each round",
            "nothing without the recipients' keys",
        ),
        (
            "Charge: plan, bounds, noise, δ, cap, software version, digest of the masked update",
            "each round",
            "that the merchant takes part; all numbers are the plan's, none is computed from data",
        ),
        (
            "Masked update, of a size fixed by the plan",
            "each round",
            "by itself nothing: it is uniformly distributed under its masks",
        ),
        (
            "Statements on who survived the round, and shares of one-time keys",
            "each round",
            "who dropped out, and when",
        ),
        ("The sum of all survivors' updates, with their noise", "each round", "what the figures in this report bound"),
    ]
    .map(|(what, when, reveals)| Seen { what, when, reveals })
    .to_vec()
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

/// The vocabulary of NIST SP 800-226 (March 2025).
pub fn nist(promise: &Promise, log: &Log) -> Vec<Remark> {
    vec![
        Remark {
            title: "Privacy loss and parameters",
            text: format!(
                "Approximate differential privacy, (ε, δ) with δ = {:e}, from privacy loss distributions, with a Rényi \
                 bound as second opinion. The whole privacy profile is given.",
                promise.delta
            ),
        },
        Remark { title: "Unit of privacy", text: promise.unit_means.clone() },
        Remark {
            title: "Neighbouring data sets",
            text: format!(
                "{}: unbounded differential privacy; the size of the data set is not released.",
                match promise.relation {
                    forecastle_crypto::dp::unit::NeighboringRelation::AddOrRemove => "Addition or removal of one unit",
                    forecastle_crypto::dp::unit::NeighboringRelation::Replace => "Replacement of one unit",
                }
            ),
        },
        Remark {
            title: "Trust model",
            text: format!(
                "Distributed, with secure aggregation: noise is added at each merchant, and no party is trusted with \
                 un-noised sums as long as at most {} of a round's survivors help the server. The third figure needs no such \
                 trust.",
                promise.colluders_assumed
            ),
        },
        Remark {
            title: "Mechanism and algorithm",
            text: format!(
                "Clipped gradients of Poisson-sampled series (q = {}), summed, rounded to {} units per clip norm, discrete \
                 Gaussian noise of {} clip norms in the sum: differentially private stochastic gradient descent, \
                 {} rounds planned.",
                promise.sampling_rate,
                promise.units_per_clip,
                promise.noise_multiplier,
                log.rounds_planned
            ),
        },
        Remark {
            title: "Contribution bounds",
            text: match promise.unit {
                PrivacyUnit::Customer => format!(
                    "K = {} order lines, L = {} products, Q = {} units a customer; chosen by a keyed hash of that \
                     customer's own lines, so nobody else's data enter the choice.",
                    promise.bounds.order_lines, promise.bounds.series, promise.bounds.units
                ),
                _ => "One vector a series, clipped to norm C.".to_owned(),
            },
        },
        Remark {
            title: "Composition and budget",
            text: format!(
                "Sequential, over all charged rounds of the period, abandoned ones included; refused by each merchant above \
                 ε = {}. Budgets of several periods and merchants add up as tabulated.",
                promise.epsilon_cap
            ),
        },
        Remark {
            title: "Utility and bias",
            text: "Not in the log: forecasts are compared on each merchant's own machine. Noise may weigh more on \
                   some merchants than on others, and customers with many purchases have lines dropped; each merchant \
                   should look at its own comparison."
                .to_owned(),
        },
        Remark {
            title: "Side channels",
            text: "A fixed time of submission hides how long training took. Samplers run in variable time; an attacker who \
                   can time a merchant's processor is outside the model."
                .to_owned(),
        },
        Remark {
            title: "Data collection exposure, security and access control",
            text: "Order data are exposed where they are collected: at each merchant. Differential privacy does not protect \
                   them there. See Art. 32 above."
                .to_owned(),
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
