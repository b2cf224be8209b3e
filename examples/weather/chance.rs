//! What chance has in store: drawn once for each seed, by request and model, so that every policy meets the same.

use super::scenario::{LENGTH, MODELS, Ms};

/// Requests of a run: 100 a second.
pub const REQUESTS: usize = LENGTH as usize / 10;
/// Latency of a healthy model is log-normal with this median, in milliseconds, and this deviation of its logarithm.
const MEDIAN: f64 = 400.0;
const SIGMA: f64 = 0.35;

pub struct Chance {
    /// When each request comes: a Poisson process, given its number of requests.
    pub arrivals: Vec<Ms>,
    draws: Vec<[Draw; MODELS.len()]>,
}

/// One request at one model.
#[derive(Clone, Copy)]
pub struct Draw {
    /// How long a healthy model takes, in milliseconds.
    pub latency: f32,
    /// In [0, 1): below the share of calls that fail, it fails.
    pub luck: f32,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut arrivals: Vec<Ms> = (0..REQUESTS).map(|_| (dice.unit() * f64::from(LENGTH)) as Ms).collect();
        arrivals.sort_unstable();
        let draws = (0..REQUESTS).map(|_| std::array::from_fn(|_| dice.draw())).collect();
        Self { arrivals, draws }
    }

    pub fn draw(&self, request: usize, model: usize) -> Draw {
        self.draws[request][model]
    }
}

/// SplitMix64, by Steele, Lea and Flood.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn draw(&mut self) -> Draw {
        let latency = (MEDIAN * (SIGMA * self.normal()).exp()) as f32;
        // 24 bits, or rounding would give 1.
        let luck = (self.next() >> 40) as f32 / (1_u32 << 24) as f32;
        Draw { latency, luck }
    }
}
