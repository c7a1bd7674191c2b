//! Clock, network and crashes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::evidence::Evidence;
use crate::invariants;
use crate::merchant::Merchant;
use crate::message::{Action, Down, Name, Up};
use crate::schedule::{Millis, REPEAT, Schedule};
use crate::server::Server;

/// A run that is not over by then hangs.
const END: Millis = 60_000;

enum Event {
    ToServer(Name, Up),
    ToMerchant(Name, Down),
    /// A merchant that is up says again what was not heard.
    Repeat(Name),
    Tick,
    MerchantReturns(Name),
    ServerReturns,
}

pub struct World {
    pub schedule: Schedule,
    pub merchants: Vec<Merchant>,
    pub server: Server,
    pub evidence: Evidence,
    /// Parties that died.
    pub crashes: usize,
    /// Rounds that had published before the event that was looked at last.
    pub closed_before: usize,
    /// Prints every event.
    pub speaks: bool,
    now: Millis,
    rng: ChaCha12Rng,
    /// By time, then in order of sending.
    queue: BinaryHeap<Reverse<(Millis, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    up: Vec<bool>,
    server_up: bool,
    steps: Vec<u64>,
    server_steps: u64,
}

impl World {
    pub fn new(schedule: Schedule) -> Self {
        let lies = schedule.lies.then_some(schedule.seed);
        let mut server = Server::new(schedule.threshold, schedule.rounds, lies);
        let names = 0..usize::from(schedule.merchants);
        let key = server.key.verifying_key();
        let merchants: Vec<_> = names.map(|name| Merchant::new(name, schedule.seed, key)).collect();
        for merchant in &merchants {
            server.enrol(merchant.name, merchant.id.clone(), merchant.identity.verifying_key());
        }
        Self {
            rng: ChaCha12Rng::seed_from_u64(!schedule.seed),
            up: vec![true; merchants.len()],
            steps: vec![0; merchants.len()],
            schedule,
            merchants,
            server,
            evidence: Evidence::default(),
            crashes: 0,
            closed_before: 0,
            speaks: false,
            now: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            server_up: true,
            server_steps: 0,
        }
    }

    /// Until the schedule's rounds are over and everybody has heard so, or nothing happens any more.
    pub fn run(&mut self) {
        for name in 0..self.merchants.len() {
            let actions = self.merchants[name].start();
            self.act(name, actions);
            self.after(REPEAT + name as u64, Event::Repeat(name));
        }
        self.after(1, Event::Tick);
        while let Some(Reverse((at, id))) = self.queue.pop() {
            self.now = at;
            let event = self.events.remove(&id).expect("queued");
            if self.now > END {
                break;
            }
            self.closed_before = self.server.published();
            self.happen(event);
            self.evidence.note_refusals(self.merchants.iter().map(|merchant| merchant.refusals.len()).sum());
            invariants::check(self);
            if self.server.is_finished() && self.server_up {
                break;
            }
        }
        // A round that waits for merchants who never come back is not open; one that hangs would be.
        if !self.server_up {
            self.server_up = true;
            let actions = self.server.start();
            self.serve(actions);
        }
        invariants::check_end(self);
    }

    fn after(&mut self, delay: Millis, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + delay, self.sequence)));
        self.events.insert(self.sequence, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToServer(from, message) if self.server_up => {
                self.say(|| format!("server hears {} of {from}", name_of(&message)));
                let actions = self.server.hear(from, message, self.now);
                self.serve(actions);
            }
            Event::ToMerchant(to, message) if self.up[to] => {
                let actions = self.merchants[to].hear(message);
                self.act(to, actions);
            }
            Event::Repeat(name) => {
                if self.up[name] {
                    let actions = self.merchants[name].repeat();
                    self.act(name, actions);
                }
                self.after(REPEAT, Event::Repeat(name));
            }
            Event::Tick => {
                if self.server_up {
                    let actions = self.server.tick(self.now);
                    self.serve(actions);
                }
                self.after(50, Event::Tick);
            }
            Event::MerchantReturns(name) => {
                self.say(|| format!("merchant {name} returns"));
                self.up[name] = true;
                let actions = self.merchants[name].start();
                self.act(name, actions);
            }
            Event::ServerReturns => {
                self.say(|| "the server returns".into());
                self.server_up = true;
                let actions = self.server.start();
                self.serve(actions);
            }
            Event::ToServer(..) | Event::ToMerchant(..) => {}
        }
    }

    /// A merchant acts, and may die before any of its steps.
    fn act(&mut self, name: Name, actions: Vec<Action<Up>>) {
        for action in actions {
            if let Some(vanishing) = self.schedule.vanishing.get(&name)
                && self.steps[name] == vanishing.after_steps
            {
                let returns_after = vanishing.returns_after;
                self.steps[name] += 1;
                self.say(|| format!("merchant {name} vanishes"));
                self.crashes += 1;
                self.up[name] = false;
                if let Some(delay) = returns_after {
                    self.after(delay, Event::MerchantReturns(name));
                }
                return;
            }
            self.steps[name] += 1;
            match action {
                Action::Write(durable) => self.merchants[name].write(durable),
                Action::Send(_, message) => {
                    self.say(|| format!("merchant {name} says {}", name_of(&message)));
                    self.evidence.note(name, &message);
                    for delay in self.journeys() {
                        self.after(delay, Event::ToServer(name, message.clone()));
                    }
                }
            }
        }
    }

    fn serve(&mut self, actions: Vec<Action<Down>>) {
        for action in actions {
            if self.schedule.server_crashes_after == Some(self.server_steps) {
                self.server_steps += 1;
                self.say(|| "the server dies".into());
                self.crashes += 1;
                self.server_up = false;
                self.after(500, Event::ServerReturns);
                return;
            }
            self.server_steps += 1;
            match action {
                Action::Write(durable) => self.server.write(durable),
                Action::Send(to, message) => {
                    for delay in self.journeys() {
                        self.after(delay, Event::ToMerchant(to, message.clone()));
                    }
                }
            }
        }
    }

    /// How long each copy of a message travels: none, one or two.
    fn journeys(&mut self) -> Vec<Millis> {
        let Schedule { lost, repeated, delay_max, .. } = self.schedule;
        let copies = if self.rng.random_bool(lost) { 0 } else { 1 + usize::from(self.rng.random_bool(repeated)) };
        (0..copies).map(|_| self.rng.random_range(1..=delay_max)).collect()
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.speaks {
            println!("{:>6} {}", self.now, what());
        }
    }
}

fn name_of(message: &Up) -> &'static str {
    match message {
        Up::Hello(_) => "hello",
        Up::Shares { .. } => "shares",
        Up::Announce { .. } => "an update's header",
        Up::Chunk { .. } => "a chunk",
        Up::Confirmation { .. } => "a confirmation",
        Up::Answer { .. } => "an answer",
    }
}
