//! The words of a report: what was promised, what was not, who sees what, and how NIST would put it. The law has a file
//! of its own, [`super::law`].
//!
//! Invariant: no sentence claims more than the log shows or the documented protocol guarantees.

use forecastle_crypto::dp::{
    plan::{NoiseMode, PrivacyPlan},
    unit::{NeighboringRelation, PrivacyUnit},
};
use jiff::Timestamp;
use serde::Serialize;

use super::facts::{Log, Promise};

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
    if log.witnesses.is_empty() {
        remarks[1].text.push_str(" No witness was asked whether it had seen the same log.");
    }
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
                    NeighboringRelation::AddOrRemove => "Addition or removal of one unit",
                    NeighboringRelation::Replace => "Replacement of one unit",
                }
            ),
        },
        Remark { title: "Trust model", text: trust(promise) },
        Remark {
            title: "Mechanism and algorithm",
            text: mechanism(promise, log.rounds_planned),
        },
        Remark {
            title: "Contribution bounds",
            text: match promise.unit {
                PrivacyUnit::Customer => format!(
                    "K = {} order lines, L = {} products, Q = {} units a customer; chosen by a keyed hash of that \
                     customer's own lines, so nobody else's data enter the choice.",
                    promise.bounds.order_lines, promise.bounds.series, promise.bounds.units
                ),
                PrivacyUnit::Series => "One vector a series, clipped to norm C.".to_owned(),
                PrivacyUnit::Merchant => "One update a merchant and round, clipped to norm C.".to_owned(),
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

fn trust(promise: &Promise) -> String {
    match promise.local.map(|local| local.noise) {
        Some(NoiseMode::Local) => "Local: every step at a merchant carries all the noise that is counted, so neither the \
                                   server nor other merchants are trusted. Secure aggregation is a second line of defence."
            .to_owned(),
        None | Some(NoiseMode::Distributed) => format!(
            "Distributed, with secure aggregation: noise is added at each merchant, and no party is trusted with \
             un-noised sums as long as at most {} of a round's survivors help the server. The third figure needs no such \
             trust.",
            promise.colluders_assumed
        ),
    }
}

fn mechanism(promise: &Promise, rounds: u32) -> String {
    let Promise { sampling_rate, units_per_clip, noise_multiplier, .. } = promise;
    let gradients = format!("clipped gradients of Poisson-sampled series (q = {sampling_rate})");
    match promise.local {
        None => format!(
            "The sum of {gradients}, rounded to {units_per_clip} units per clip norm, discrete Gaussian noise of \
             {noise_multiplier} clip norms in it: differentially private stochastic gradient descent, {rounds} rounds \
             planned."
        ),
        Some(local) if local.noise == NoiseMode::Local => format!(
            "{} steps a round at each merchant. Each is the sum of {gradients}, rounded to {units_per_clip} units per clip \
             norm, discrete Gaussian noise of {noise_multiplier} clip norms in it: differentially private stochastic \
             gradient descent at each merchant, {rounds} rounds planned.",
            local.steps
        ),
        Some(local) => format!(
            "{} steps a round at each merchant without noise. Their whole update is clipped to norm {}, rounded to \
             {units_per_clip} units per clip norm, and summed; discrete Gaussian noise of {noise_multiplier} clip norms is \
             in the sum: differentially private federated averaging, {rounds} rounds planned.",
            local.steps, local.update_clip
        ),
    }
}
