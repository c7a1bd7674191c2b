//! The server as an attacker: what it would gain by each way of cheating, and the rule by which a merchant refuses.
//!
//! The merchants are real clients (`forecastle_client`) with their state folders, over TLS. Each meets a [`puppet`]: a
//! server with the federation's own certificate authority and signing key, which passes everything on to the real server but
//! for the one message that a test has it change. What the merchant sends is on record, so a test also says what did not
//! leave. Where the gain is a secret, it is shown on a [`cohort`] in memory: with the answer that merchants refuse to give,
//! an [`attacker`] who knows the protocol's description and nothing of the code computes the update bit for bit.
//!
//! # What a server may try
//! Rules are those of docs/PROTOCOL.md, "What a client refuses, and why"; each test looks for its own rule's words.
//!
//! | attack | refused by | test |
//! |---|---|---|
//! | **who took part** | | [`sets`] |
//! | one merchant on both lists of the unmasking request | nobody's two secrets are opened together | `both_secrets_of_one_merchant_bare_its_update_and_are_never_given` |
//! | lists that are not the agreed sets; too few, forged or strangers' statements; a survivor that masked against others | the request is the agreed sets, with a quorum of statements, and each survivor signed against whom it masked | `requests_that_a_quorum_did_not_sign_are_answered_by_nobody` |
//! | a second try after a refusal | a state is used once | the same |
//! | different survivors to different merchants | t statements about the same sets | `a_merchant_that_is_told_of_other_survivors_than_the_rest_gives_nothing_away` |
//! | different key sharers to different merchants | the same; nobody opens the self-mask of a survivor that masked against others | `a_merchant_that_is_shown_other_sharers_than_the_rest_gives_nothing_away` |
//! | a survivor set of fewer, without the merchant, with strangers, of another round | m ≤ \|U2\|, U2 within U1, oneself in it | `a_shrunken_survivor_set_leaves_less_noise_and_nobody_signs_it` |
//! | U1 of fewer, without the merchant, with strangers, without shares, of another round | the same for U1, one share from each | `key_sharers_that_are_not_the_cohort_s_are_refused_before_anything_is_charged` |
//! | shares for somebody else | a share opens for its recipient, sender and round only | `shares_for_somebody_else_open_nothing` |
//! | a message held back | a phase's time is over | `a_message_that_comes_too_late_is_not_waited_for` |
//! | an upload asked for again and again, in pieces | one update a round, the same bytes | `an_update_that_is_asked_for_again_is_the_same_update` |
//! | **keys** | | [`keys`] |
//! | keys of the server's own in the others' place | the log's directory | `keys_of_the_server_in_place_of_the_others_bare_an_update_and_are_refused` |
//! | keys that nobody signed, of low order, or twice | pre-keys are signed, usable, distinct | the same |
//! | a name given to another key, in the log | a name stays with its key | `a_directory_that_gives_a_name_away_is_not_believed` |
//! | a cohort of the server's own merchants | `cohort-min`, `known-min` | `a_cohort_made_up_overnight_is_refused` |
//! | survivors that are nearly all the server's own | `known-min` | `survivors_who_were_all_enrolled_since_are_not_unmasked` |
//! | **values** | | [`terms`] |
//! | any value of the offer lowered, raised or replaced | the plan, the policy and the log decide | `every_value_of_an_offer_is_held_against_the_plan_and_the_log` |
//! | a lower sharing threshold, or a graph with fewer neighbours | t and graph follow from the cohort | `a_lower_threshold_lets_two_quorums_disagree_and_is_refused` |
//! | a merchant left out, a cohort too large or small | the offer names it; `cohort-min`, `cohort-max` | `a_cohort_that_is_not_the_plan_s_is_refused` |
//! | offers that nobody signed, or that cannot be read | the pinned key | `offers_that_are_none_are_refused_before_they_are_read` |
//! | **models** | | [`models`] |
//! | another model for each merchant | the model's hash is in the log and in the offer | `another_model_for_one_merchant_is_not_trained_on` |
//! | an older model at a round's or the run's end | a round's model is the one its entry names; the last is the last | `an_older_model_is_not_taken_for_the_round_s` |
//! | ending the run early | nothing comes back, nothing more is spent | `a_run_that_ends_early_costs_no_more_than_it_took` |
//! | **again** | | [`replay`] |
//! | a round repeated with another cohort | a round is charged once | `a_round_that_was_charged_is_not_repeated_with_another_cohort` |
//! | a pre-key used twice | a pre-key is gone before it is used | `a_pre_key_serves_one_round` |
//! | shares of an earlier round | the session is in every key | `shares_of_an_earlier_round_open_nothing` |
//! | offers that never become rounds | slower every time, nothing charged | `offers_that_never_become_rounds_wear_nobody_out` |
//! | a further run, or a round beyond the schedule | the budget, the schedule | `a_further_run_has_to_fit_into_the_budget` |
//! | **the log** | | [`log`] |
//! | a restored or rewritten log | the newest head seen | `a_log_that_forgot_or_was_rewritten_is_not_followed` |
//! | a charge left out of the log, or proven by another's place in it | a proof of one's own charge | `an_update_whose_charge_is_not_in_the_log_is_not_unmasked` |
//! | a charge altered, a round that does not count it | one's own signature, one's own charge | `a_log_that_counts_a_charge_otherwise_is_not_believed` |
//! | entries that are not those of the head; too many, too few, without an end | the root over all entries; bounds | `entries_that_do_not_give_the_head_are_not_kept` |
//! | a history of its own for one merchant | the offer commits to the log, the others' statements to the offer | `a_merchant_with_a_history_of_its_own_is_alone_with_it` |
//! | **joining** | | [`joining`] |
//! | a plan shown, another one joined; another plan for one merchant | what was shown is what is joined; the founding entry holds the plan | `one_merchant_cannot_be_given_another_plan` |
//! | another signing key for one merchant | the key shown is the key that signs | `one_merchant_cannot_be_given_another_key` |
//! | a certificate of somebody else's | the invitation's authority, the server's name and purpose | `whoever_has_no_certificate_of_the_server_s_is_not_the_server` |
//! | a name that steers the terminal, a clock that is off | names are names; clocks agree | `a_federation_is_looked_at_before_it_is_joined` |
//! | **endurance** | | [`endurance`] |
//! | answers without an end | every answer has a deadline to its last byte | `a_server_that_falls_silent_is_given_up` |
//! | answers that are too long | bounds on everything | `answers_without_measure_are_cut_off` |
//! | a storm of empty or useless answers | pauses | `a_storm_of_answers_is_met_with_calm` |
//! | words that steer the terminal | plain text, cut short | `what_the_server_says_is_shown_as_plain_text` |
//! | an upload that is never taken | patience | `an_upload_that_is_never_taken_ends_the_training` |
//!
//! Elsewhere, on one part alone: the states' own tests (`crypto/src/secagg/tests/hostile_server.rs`, `offers.rs`), the log
//! copy's (`client/src/federation/log_copy_tests.rs`), and of whole federations `tests/tests/{filter,joining,restored,log,killed}.rs`:
//! budgets, invitations, restored machines, witnesses, and the one answer across a crash.
//!
//! Left out on purpose: what no client can refuse (docs/THREAT_MODEL.md, "Outside"): a server that never finishes a round,
//! merchants of the server's own that were there from the beginning, and the time at which traffic passes.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

mod attacker;
mod cohort;
mod endurance;
mod joining;
mod keys;
mod log;
mod models;
mod puppet;
mod replay;
mod scene;
mod sets;
mod terms;
