//! Everything that counts for a merchant: reservations, charges, and what they leave.

use serde::Serialize;

use super::{Counted, MerchantPolicy, Refusal, Reservation};
use crate::{
    dp::{accountant::AccountingError, event::DpEvent, plan::Day, unit::PrivacyUnit},
    identity::{Sha256Digest, VerifyingKey},
    ledger::entry::Charge,
};

/// What a round costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Admission {
    /// Charges already made for the period.
    pub charged_before: u32,
    /// ε charged for the period after the round.
    pub epsilon_after: f64,
    /// The cap it is held against.
    pub cap: f64,
}

/// What a schedule costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reserved {
    /// ε reserved for the period before.
    pub epsilon_before: f64,
    /// ε reserved for the period with the schedule.
    pub epsilon_after: f64,
    /// The cap it is held against.
    pub cap: f64,
}

/// The state of one (unit, period).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Balance {
    /// Whom the budget protects.
    pub unit: PrivacyUnit,
    /// First day.
    pub period_start: Day,
    /// Last day.
    pub period_end: Day,
    /// δ at which ε is counted: the smallest of all plans that count.
    pub delta: f64,
    /// The cap.
    pub cap: f64,
    /// ε of everything promised: schedules in full, and charges outside any schedule.
    pub reserved: f64,
    /// ε of everything charged.
    pub spent: f64,
    /// cap − reserved, not below 0. A further plan is composed with what is there, not added, so this is a measure and
    /// no exact allowance.
    pub remaining: f64,
    /// Rounds promised.
    pub rounds_reserved: u64,
    /// Rounds charged.
    pub rounds_charged: u64,
    /// Plans that count, those of overlapping periods included.
    pub plans: usize,
    /// Days of it were also used under another unit, whose releases this figure cannot count.
    pub mixed: bool,
}

/// All reservations and charges of a merchant.
pub struct Budget {
    own: VerifyingKey,
    lines: Vec<Line>,
}

/// One run of one plan.
#[derive(Clone)]
struct Line {
    server_key: VerifyingKey,
    plan_sha256: Sha256Digest,
    run: u64,
    unit: PrivacyUnit,
    period: (Day, Day),
    delta: f64,
    cap: f64,
    /// Event of a round and number of rounds; `None` for charges without a reservation.
    reserved: Option<(DpEvent, u32)>,
    charged: Counted,
    charges: u64,
}

impl Line {
    fn overlaps(&self, other: &Self) -> bool {
        self.period.0 <= other.period.1 && other.period.0 <= self.period.1
    }

    fn has_rounds_left(&self) -> bool {
        self.reserved.as_ref().is_some_and(|(_, rounds)| self.charges < u64::from(*rounds))
    }

    /// The larger of reserved and charged, event by event.
    fn held(&self) -> Counted {
        let mut held = self.charged.clone();
        if let Some((event, rounds)) = &self.reserved {
            held.raise(event, u64::from(*rounds));
        }
        held
    }

    fn is_run(&self, server_key: VerifyingKey, plan_sha256: Sha256Digest, run: u64) -> bool {
        (self.server_key, self.plan_sha256, self.run) == (server_key, plan_sha256, run)
    }
}

impl From<&Reservation> for Line {
    fn from(reservation: &Reservation) -> Self {
        Self {
            server_key: reservation.server_key,
            plan_sha256: reservation.plan_sha256,
            run: reservation.run,
            unit: reservation.unit,
            period: (reservation.period_start, reservation.period_end),
            delta: reservation.delta,
            cap: reservation.epsilon_cap,
            reserved: Some((reservation.event.clone(), reservation.rounds)),
            charged: Counted::default(),
            charges: 0,
        }
    }
}

impl Budget {
    /// Everything that counts: `reservations` in the order in which they were made, of whatever federation, and
    /// `charges` of the federation whose server signs with `own`.
    pub fn new(own: VerifyingKey, reservations: &[Reservation], charges: &[Charge]) -> Self {
        let mut budget = Self { own, lines: Vec::new() };
        reservations.iter().for_each(|reservation| budget.hold(reservation));
        charges.iter().for_each(|charge| budget.count(charge));
        budget
    }

    /// Whether the schedule fits into what is left; nothing is kept. Reserving the same run again replaces it.
    ///
    /// # Errors
    /// [`Refusal::CannotReserve`] or [`Refusal::OtherUnit`], and where the accountant refuses.
    pub fn reserve(&self, next: &Reservation, policy: &MerchantPolicy) -> Result<Reserved, Refusal> {
        let mut after = Self { own: self.own, lines: self.lines.clone() };
        after.hold(next);
        let line = after
            .line(next.server_key, next.plan_sha256, next.run)
            .expect("invariant: the reservation was just put there");
        let neighbours = || after.lines.iter().filter(|other| other.overlaps(line));
        if let Some(other) = neighbours().find(|other| other.unit != line.unit) {
            return Err(Refusal::OtherUnit {
                period_start: other.period.0,
                period_end: other.period.1,
                held: other.unit,
                asked: line.unit,
            });
        }
        let mut answer = None;
        // The new line's own period first, then every period whose later rounds the schedule would weigh on.
        for at in std::iter::once(line).chain(neighbours().filter(|other| !std::ptr::eq(*other, line))) {
            let (would_be, cap) = (after.held(at, Line::held)?, after.cap(at, policy));
            let before = self.held(at, Line::held)?;
            if would_be > cap {
                return Err(Refusal::CannotReserve {
                    period_start: at.period.0,
                    period_end: at.period.1,
                    rounds: next.rounds,
                    before,
                    would_be,
                    cap,
                });
            }
            answer.get_or_insert(Reserved { epsilon_before: before, epsilon_after: would_be, cap });
        }
        Ok(answer.expect("invariant: the loop sees the new line at least"))
    }

    /// Admits a charge that draws on its reservation, or refuses it.
    ///
    /// # Errors
    /// [`Refusal`] where nothing is reserved for it, the schedule is used up, or the total would exceed the cap (after
    /// the merchant lowered its policy, for instance).
    pub fn admit(&self, next: &Charge, policy: &MerchantPolicy) -> Result<Admission, Refusal> {
        let key = (self.own, next.plan_sha256, next.run);
        let reservation = self.line(key.0, key.1, key.2).and_then(|line| Some((line, line.reserved.as_ref()?)));
        let Some((line, (_, rounds))) = reservation else { return Err(Refusal::NotReserved { run: next.run }) };
        if line.charges >= u64::from(*rounds) {
            return Err(Refusal::ScheduleUsed { planned: *rounds });
        }
        let mut after = Self { own: self.own, lines: self.lines.clone() };
        after.count(next);
        let line = after.line(key.0, key.1, key.2).expect("invariant: the charge was just counted there");
        if let Some(other) = after.lines.iter().find(|other| other.overlaps(line) && other.unit != line.unit) {
            return Err(Refusal::OtherUnit {
                period_start: other.period.0,
                period_end: other.period.1,
                held: other.unit,
                asked: line.unit,
            });
        }
        let (would_be, cap) = (after.held(line, Line::held)?, after.cap(line, policy));
        if would_be > cap {
            return Err(Refusal::OverCap { period_start: line.period.0, period_end: line.period.1, would_be, cap });
        }
        let before: u64 = self.lines.iter().filter(|other| other.overlaps(line)).map(|other| other.charges).sum();
        Ok(Admission {
            charged_before: u32::try_from(before).unwrap_or(u32::MAX),
            epsilon_after: after.held(line, |line| line.charged.clone())?,
            cap,
        })
    }

    /// The state of every (unit, period) that counts, in order of period.
    ///
    /// # Errors
    /// [`AccountingError`] as the accountant's.
    pub fn balances(&self, policy: &MerchantPolicy) -> Result<Vec<Balance>, AccountingError> {
        let mut seen: Vec<&Line> = Vec::new();
        for line in &self.lines {
            if !seen.iter().any(|known| (known.unit, known.period) == (line.unit, line.period)) {
                seen.push(line);
            }
        }
        seen.sort_by_key(|line| (line.period, line.unit));
        let balance = |at: &&Line| {
            let counted = || self.counted(at);
            let (reserved, cap) = (self.held(at, Line::held)?, self.cap(at, policy));
            Ok(Balance {
                unit: at.unit,
                period_start: at.period.0,
                period_end: at.period.1,
                delta: self.delta(at),
                cap,
                reserved,
                spent: self.held(at, |line| line.charged.clone())?,
                remaining: (cap - reserved).max(0.0),
                rounds_reserved: counted()
                    .map(|line| line.reserved.as_ref().map_or(0, |(_, rounds)| u64::from(*rounds)).max(line.charges))
                    .sum(),
                rounds_charged: counted().map(|line| line.charges).sum(),
                plans: counted().count(),
                mixed: self.lines.iter().any(|other| other.overlaps(at) && other.unit != at.unit),
            })
        };
        seen.iter().map(balance).collect()
    }

    /// Lines that count toward `at`'s unit and period.
    fn counted<'a>(&'a self, at: &'a Line) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.unit == at.unit && line.overlaps(at))
    }

    fn held(&self, at: &Line, part: impl Fn(&Line) -> Counted) -> Result<f64, AccountingError> {
        let mut all = Counted::default();
        self.counted(at).for_each(|line| all.add_all(&part(line)));
        all.epsilon(self.delta(at))
    }

    /// The smallest δ of what counts: the strictest promise is the one to keep.
    fn delta(&self, at: &Line) -> f64 {
        self.counted(at).map(|line| line.delta).fold(at.delta, f64::min)
    }

    /// The merchant's own cap, or a lower one of a plan that counts and has rounds left.
    fn cap(&self, at: &Line, policy: &MerchantPolicy) -> f64 {
        self.counted(at).filter(|line| line.has_rounds_left()).map(|line| line.cap).fold(policy.epsilon_max, f64::min)
    }

    fn line(&self, server_key: VerifyingKey, plan_sha256: Sha256Digest, run: u64) -> Option<&Line> {
        self.lines.iter().find(|line| line.is_run(server_key, plan_sha256, run))
    }

    fn hold(&mut self, reservation: &Reservation) {
        let key = (reservation.server_key, reservation.plan_sha256, reservation.run);
        match self.lines.iter_mut().find(|line| line.is_run(key.0, key.1, key.2)) {
            // The digest names the plan: unit, period, δ and cap are as they were.
            Some(line) => line.reserved = Some((reservation.event.clone(), reservation.rounds)),
            None => self.lines.push(reservation.into()),
        }
    }

    fn count(&mut self, charge: &Charge) {
        let own = self.own;
        let at = self.lines.iter().position(|line| line.is_run(own, charge.plan_sha256, charge.run));
        let at = at.unwrap_or_else(|| {
            self.lines.push(Line {
                server_key: own,
                plan_sha256: charge.plan_sha256,
                run: charge.run,
                unit: charge.unit,
                period: (charge.period_start, charge.period_end),
                delta: charge.delta,
                cap: charge.epsilon_cap,
                reserved: None,
                charged: Counted::default(),
                charges: 0,
            });
            self.lines.len() - 1
        });
        let line = &mut self.lines[at];
        line.charged.add(&charge.event, 1);
        line.charges += 1;
    }
}
