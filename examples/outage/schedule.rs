//! What is served, what breaks and when: the script that the servers follow and that the
//! measuring holds the clients against. Everything here is data, or a function of it.

use std::time::Duration;

/// The hosts, one for each provider.
pub const PROVIDERS: [&str; 2] = ["nexa", "openai"];
const NEXA: usize = 0;
const OPENAI: usize = 1;

pub struct Model {
    pub name: &'static str,
    /// Index into [`PROVIDERS`].
    pub provider: usize,
    /// Dollars for one picture.
    pub cost: f64,
}

/// The models in the order in which a client prefers them.
pub const MODELS: [Model; 4] = [
    Model { name: "flux-schnell", provider: NEXA, cost: 0.003 },
    Model { name: "flux-dev", provider: NEXA, cost: 0.025 },
    Model { name: "sdxl", provider: NEXA, cost: 0.004 },
    Model { name: "dall-e-3", provider: OPENAI, cost: 0.04 },
];
const FLUX_SCHNELL: usize = 0;

/// How a host behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Answers for every model.
    Answers,
    /// Answers 503 for one model, as it should for the others.
    Fails { model: usize },
    /// Accepts connections and reads requests, and never says anything.
    Hangs,
    /// Has nothing that listens.
    Refuses,
}

pub struct Phase {
    pub name: &'static str,
    pub length: Duration,
    /// The hosts that do not answer as they should, by index into [`PROVIDERS`].
    pub faults: &'static [(usize, Mode)],
}

pub const PHASES: [Phase; 6] = [
    Phase { name: "all well", length: Duration::from_secs(5), faults: &[] },
    Phase {
        name: "flux-schnell answers 503",
        length: Duration::from_secs(8),
        faults: &[(NEXA, Mode::Fails { model: FLUX_SCHNELL })],
    },
    Phase { name: "nexa never answers", length: Duration::from_secs(8), faults: &[(NEXA, Mode::Hangs)] },
    Phase { name: "nexa refuses", length: Duration::from_secs(7), faults: &[(NEXA, Mode::Refuses)] },
    Phase {
        name: "everything refuses",
        length: Duration::from_secs(6),
        faults: &[(NEXA, Mode::Refuses), (OPENAI, Mode::Refuses)],
    },
    Phase { name: "all well again", length: Duration::from_secs(11), faults: &[] },
];

/// A request is answerable if one model is healthy from its sending until this much later.
const ANSWERABLE_FOR: Duration = Duration::from_secs(1);

/// Each phase with its start and its end.
pub fn phases() -> impl Iterator<Item = (Duration, Duration, &'static Phase)> {
    PHASES.iter().scan(Duration::ZERO, |clock, phase| {
        let from = *clock;
        *clock += phase.length;
        Some((from, *clock, phase))
    })
}

/// How long all of it takes.
pub fn length() -> Duration {
    PHASES.iter().map(|phase| phase.length).sum()
}

/// Index of the phase at `at`; the last one goes on for ever.
pub fn phase_at(at: Duration) -> usize {
    phases().position(|(_, to, _)| at < to).unwrap_or(PHASES.len() - 1)
}

/// How the host of `provider` behaves in `phase`.
pub fn mode(provider: usize, phase: &Phase) -> Mode {
    let fault = phase.faults.iter().find(|(host, _)| *host == provider);
    fault.map_or(Mode::Answers, |(_, mode)| *mode)
}

/// The moments at which the host of `provider` changes its behaviour, and so cuts connections.
pub fn cuts(provider: usize) -> Vec<Duration> {
    let modes: Vec<_> = phases().map(|(from, _, phase)| (from, mode(provider, phase))).collect();
    modes.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].0).collect()
}

/// Whether `model` is up at `at`.
pub fn healthy(model: usize, at: Duration) -> bool {
    healthy_in(model, &PHASES[phase_at(at)])
}

/// Whether a request that is sent at `sent` could be answered by asking one model, once.
pub fn answerable(sent: Duration) -> bool {
    let touched = phase_at(sent)..=phase_at(sent + ANSWERABLE_FOR);
    (0..MODELS.len()).any(|model| PHASES[touched.clone()].iter().all(|phase| healthy_in(model, phase)))
}

/// When the first fault strikes.
pub fn first_fault() -> Duration {
    phases().find(|(_, _, phase)| !phase.faults.is_empty()).map_or(length(), |(from, _, _)| from)
}

/// When the last fault is over: here, that is also the end of the time without any model.
pub fn last_fault_over() -> Duration {
    phases().filter(|(_, _, phase)| !phase.faults.is_empty()).last().map_or(Duration::ZERO, |(_, to, _)| to)
}

fn healthy_in(model: usize, phase: &Phase) -> bool {
    match mode(MODELS[model].provider, phase) {
        Mode::Answers => true,
        Mode::Fails { model: failing } => failing != model,
        Mode::Hangs | Mode::Refuses => false,
    }
}
