//! What one request may ask for itself.

use super::order::Order;
use crate::{
    machine::config,
    models::{Registry, UnknownName},
};
use smallvec::SmallVec;
use std::{fmt, sync::Arc, time::Duration};

/// What one request asks for itself: its own models, deadline, limits, or no fallback at all.
///
/// Put into the extensions of an HTTP request, or handed over by a [`Resend`](crate::Resend) of your own. What it does
/// not name stays as the layer has it.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::Plan;
///
/// // The model of the caller's choice first, then the list, all within 30 s.
/// let plan = Plan::new().first("sdxl").deadline(Duration::from_secs(30));
///
/// let mut request = http::Request::new("…");
/// request.extensions_mut().insert(plan);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    models: Option<Arc<[Box<str>]>>,
    first: Option<Arc<str>>,
    deadline: Option<Duration>,
    no_fallback: bool,
    max_cost: Option<f64>,
    order: Option<PlanOrder>,
    key: Option<Arc<str>>,
}

/// One order is equal to itself only.
#[derive(Debug, Clone)]
struct PlanOrder(Arc<dyn Order>);

impl PartialEq for PlanOrder {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Plan {
    /// Nothing but the layer's own settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// These models, in this order, and no others.
    pub fn models<S: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.models = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// This model first, then the others in their order.
    pub fn first(mut self, name: impl Into<Arc<str>>) -> Self {
        self.first = Some(name.into());
        self
    }

    /// The time for everything together, to the response's head.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Ask one model only: the first. If it cannot be asked, nobody is.
    pub fn no_fallback(mut self) -> Self {
        self.no_fallback = true;
        self
    }

    /// Begin no attempt that could bring the cost of this request, what is only at risk included, above this.
    pub fn max_cost(mut self, cost: f64) -> Self {
        self.max_cost = Some(cost);
        self
    }

    /// Ask them in this order, and not in the layer's. An order that remembers is shared by all that have it.
    pub fn order(mut self, order: Arc<dyn Order>) -> Self {
        self.order = Some(PlanOrder(order));
        self
    }

    /// Ask them on behalf of this key, a tenant or a host, which has breakers, scores and budgets of its own; see
    /// [`Models::for_key`](crate::Models::for_key).
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(crate) fn get_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(crate) fn get_order(&self) -> Option<&Arc<dyn Order>> {
        self.order.as_ref().map(|order| &order.0)
    }

    pub(crate) fn get_deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(crate) fn falls_back(&self) -> bool {
        !self.no_fallback
    }

    pub(crate) fn get_max_cost(&self) -> Option<f64> {
        self.max_cost
    }

    /// The numbers of its models, in order.
    pub(crate) fn candidates(&self, registry: &Registry) -> Result<Candidates, PlanError> {
        if self.deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err(PlanError::Deadline);
        }
        if let Some(cost) = self.max_cost {
            config::finite("max_cost", cost).map_err(|_| PlanError::MaxCost(cost))?;
        }
        let find = |name: &str| registry.find(name).ok_or_else(|| PlanError::Unknown(UnknownName::model(name)));
        let mut listed: SmallVec<[usize; 8]> = SmallVec::new();
        if let Some(name) = &self.first {
            listed.push(find(name)?);
        }
        let Some(models) = &self.models else {
            if let Some(first) = listed.first().copied() {
                listed.extend((0..registry.models.len()).filter(|index| *index != first));
                return Ok(Candidates::Listed(listed));
            }
            return Ok(Candidates::All(registry.models.len()));
        };
        if models.is_empty() {
            return Err(PlanError::Empty);
        }
        let first = listed.first().copied();
        let mut seen = SmallVec::<[usize; 8]>::new();
        for name in models.iter() {
            let index = find(name)?;
            if seen.contains(&index) {
                return Err(PlanError::Duplicate(name.to_string()));
            }
            seen.push(index);
            if Some(index) != first {
                listed.push(index);
            }
        }
        Ok(Candidates::Listed(listed))
    }
}

/// The models that one request may be sent to, in order.
#[derive(Debug, Clone)]
pub(crate) enum Candidates {
    All(usize),
    Listed(SmallVec<[usize; 8]>),
}

impl Candidates {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::All(count) => *count,
            Self::Listed(listed) => listed.len(),
        }
    }

    pub(crate) fn get(&self, position: usize) -> usize {
        match self {
            Self::All(_) => position,
            Self::Listed(listed) => listed[position],
        }
    }
}

/// A plan that cannot be followed: the caller's error, sent to nobody.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PlanError {
    /// A name that no model has.
    Unknown(UnknownName),
    /// A name that is there twice.
    Duplicate(String),
    /// A list without a model.
    Empty,
    /// A deadline of zero.
    Deadline,
    /// A limit of cost that is negative or no number.
    MaxCost(f64),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(error) => write!(f, "plan: {error}"),
            Self::Duplicate(name) => write!(f, "plan: model `{name}` is listed twice"),
            Self::Empty => f.write_str("plan: models is `[]`: must name at least one"),
            Self::Deadline => f.write_str("plan: deadline is `0ns`: must be longer than zero"),
            Self::MaxCost(cost) => {
                write!(f, "plan: max_cost is `{cost}`: must be a finite number that is not negative")
            }
        }
    }
}

impl std::error::Error for PlanError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unknown(error) => Some(error),
            _ => None,
        }
    }
}
