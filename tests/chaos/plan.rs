//! What a storm does, all of it drawn from one seed.

use std::{env, fmt::Debug, str::FromStr};

use pilotgate::proto::v1::Handoff;
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedMutRandom, IndexedRandom},
};

use crate::{caller::Send, place::NUMBERS};

/// Draws everything that is left to chance; printed by each run.
const SEED: &str = "PILOTGATE_CHAOS_SEED";
/// How many messages are sent.
const SENDS: &str = "PILOTGATE_CHAOS_SENDS";

fn told<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    env::var(name).ok().map(|text| text.parse().expect(name))
}

/// The seed of a run.
pub fn seed() -> u64 {
    let seed = told(SEED).unwrap_or_else(rand::random);
    eprintln!("{SEED}={seed}");
    seed
}

/// How many messages a run sends: so many, if it is not told otherwise.
pub fn sends(usual: usize) -> usize {
    told(SENDS).unwrap_or(usual)
}

/// Callers that send one message after the other.
const UNARY: usize = 32;
/// Callers that send many over a stream.
const BULK: usize = 4;
/// Messages of one stream.
const STREAM: usize = 200;

/// What a double makes of a recipient, by its last digits, and how often it is chosen. Each status after QUEUED is a
/// webhook, so that few go all the way.
const ENDINGS: [(&str, u32); 6] = [("0006", 40), ("0007", 30), ("0008", 10), ("0101", 10), ("0004", 5), ("0001", 5)];

pub struct Plan {
    /// For each caller, in order.
    pub unary: Vec<Vec<Send>>,
    /// For each caller and stream.
    pub bulk: Vec<Vec<Vec<Send>>>,
    /// Shares of all sends that are answered when the gateway is killed.
    pub kills: Vec<usize>,
    /// The same, when the number's key is refused for a while.
    pub refusals: Vec<usize>,
}

impl Plan {
    pub fn of(seed: u64, sends: usize) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut plan = Self { unary: vec![Vec::new(); UNARY], bulk: vec![], kills: vec![], refusals: vec![] };
        let mut bulk: Vec<Vec<Send>> = vec![Vec::new(); BULK];
        for index in 0..sends {
            let handoff = if dice.random() { Handoff::Queued } else { Handoff::Direct };
            let unary = dice.random_bool(0.5);
            let lane = dice.random_range(0..UNARY);
            // Half of what is queued one by one goes to the caller's own recipient, to whom others send as well.
            let shared = if unary { handoff == Handoff::Queued && dice.random() } else { dice.random_bool(0.05) };
            let phone = if shared { shared_phone(lane) } else { any_phone(&mut dice) };
            // A recipient has to stay with one number to be sent to in order.
            let number = if shared { lane % NUMBERS } else { dice.random_range(0..NUMBERS) };
            let send = Send { number, request_id: format!("r-{index}"), phone, handoff };
            if unary {
                plan.unary[lane].push(send);
            } else {
                bulk.choose_mut(&mut dice).unwrap().push(send);
            }
        }
        plan.bulk = bulk.iter().map(|sends| sends.chunks(STREAM).map(<[Send]>::to_vec).collect()).collect();
        plan.kills = moments(&mut dice, sends, 5);
        plan.refusals = moments(&mut dice, sends, 3);
        plan
    }
}

/// Moments in different parts of the whole.
fn moments(dice: &mut StdRng, sends: usize, count: usize) -> Vec<usize> {
    let part = sends / (count + 1);
    (0..count).map(|index| part * index + part / 2 + dice.random_range(0..=part / 2)).collect()
}

/// The recipient whose messages one caller sends one after the other.
pub fn shared_phone(caller: usize) -> String {
    format!("+55119{caller:04}0007")
}

fn any_phone(dice: &mut StdRng) -> String {
    let (ending, _) = ENDINGS.choose_weighted(dice, |(_, weight)| *weight).unwrap();
    format!("+55118{:05}{ending}", dice.random_range(0..100_000))
}

#[test]
fn a_seed_always_makes_the_same_plan() {
    let [once, again] = [(); 2].map(|()| Plan::of(7, 500));
    assert_eq!((&once.unary, &once.bulk), (&again.unary, &again.bulk));
    assert_eq!((&once.kills, &once.refusals), (&again.kills, &again.refusals));
    assert_ne!(once.unary, Plan::of(8, 500).unary);
}
