//! The notary's state as it is shown: newest heads, their age, and faults. Only shown, and of this process alone.

use super::{Sealing, lock};
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::{SealPlace, SignedHead};
use decisiongraph_seal::Place as _;
use std::time::Duration;

/// Time after which a place that has not answered is shown as hanging.
const HANGS: Duration = Duration::from_secs(5);

/// A place, over all logs of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceHealth {
    /// Name of the place; `database` for the notes of the database.
    pub place: String,
    /// Time since which it lacks a signed note; zero when it has all.
    pub lag: Duration,
    /// Fault of the last attempt.
    pub fault: Option<String>,
}

impl Sealing {
    /// Lists journal and places with their newest checkpoint of this log, as far as this process knows it.
    pub fn places_of(&self, origin: &str) -> Vec<SealPlace> {
        let state = lock(&self.notary.state);
        let head = |(size, at): &(u64, String)| SignedHead { size: *size, at: at.clone() };
        let log = state.logs.get(origin);
        let mut places = vec![SealPlace {
            place: self.memory.journal.name(),
            newest: log.and_then(|log| log.signed.as_ref()).map(head),
            fault: log.and_then(|log| log.waits.as_ref()).map(|(reason, _)| reason.clone()),
        }];
        for (place, to) in self.memory.places.iter().enumerate() {
            let destination = state.places.get(place);
            let published = destination.and_then(|destination| destination.logs.get(origin));
            let refused = published.and_then(|published| published.refused.as_ref()).map(|(reason, _)| reason.clone());
            places.push(SealPlace {
                place: to.name(),
                newest: published.and_then(|published| published.newest.as_ref()).map(head),
                fault: refused.or_else(|| destination.and_then(super::publish::Destination::shown_fault)),
            });
        }
        places
    }

    /// Lists the database and the places with their lag and fault.
    pub fn place_health(&self) -> Vec<PlaceHealth> {
        let state = lock(&self.notary.state);
        let database =
            PlaceHealth { place: "database".to_owned(), lag: Duration::ZERO, fault: state.database.shown_fault() };
        let of = |(place, to): (usize, &std::sync::Arc<dyn decisiongraph_seal::Place>)| {
            let destination = state.places.get(place);
            let behind = destination.into_iter().flat_map(|it| it.logs.values()).filter_map(|it| it.behind);
            PlaceHealth {
                place: to.name(),
                lag: behind.map(|since| since.elapsed()).max().unwrap_or_default(),
                fault: destination.and_then(super::publish::Destination::shown_fault),
            }
        };
        std::iter::once(database).chain(self.memory.places.iter().enumerate().map(of)).collect()
    }

    /// Lists the places that lack a note of this log, each with the fault of the last attempt.
    pub fn unpublished(&self, origin: &str) -> Vec<(String, Option<String>)> {
        let state = lock(&self.notary.state);
        let lacks =
            |place: usize| place >= state.places.len() || state.lacking(place).iter().any(|lacking| lacking == origin);
        let places = self.memory.places.iter().enumerate().filter(|(place, _)| lacks(*place));
        let fault = |place| state.places.get(place).and_then(super::publish::Destination::shown_fault);
        places.map(|(place, to)| (to.name(), fault(place))).collect()
    }

    /// Lists journal and places after a note about this head was given to the journal, or was not. A place that lacks
    /// it gets it with the next round.
    pub fn keepers_of(&self, origin: &str, head: &SignedHead, in_journal: bool) -> Vec<SealPlace> {
        let lacking: Vec<String> = self.unpublished(origin).into_iter().map(|(place, _)| place).collect();
        let mut places = self.places_of(origin);
        for (number, place) in places.iter_mut().enumerate() {
            let has = if number == 0 { in_journal } else { !lacking.contains(&place.place) };
            if has && place.newest.is_none() {
                place.newest = Some(head.clone());
            }
        }
        places
    }

    /// Returns the newest checkpoint of this process for a log: size, and time of the signature.
    pub fn signed_head(&self, origin: &str) -> Option<SignedHead> {
        let state = lock(&self.notary.state);
        let (size, at) = state.logs.get(origin)?.signed.clone()?;
        Some(SignedHead { size, at })
    }

    /// Lists the tenants whose newest head is not signed, with the reason.
    pub fn not_signed(&self) -> Vec<(TenantId, String)> {
        let state = lock(&self.notary.state);
        let waits = state.logs.values().filter_map(|log| Some((log.tenant.clone(), log.waits.as_ref()?.0.clone())));
        waits.collect()
    }

    /// Returns the fault of the last attempt to read the keys again.
    pub fn key_fault(&self) -> Option<String> {
        lock(&self.notary.state).key_fault.clone()
    }
}

impl super::publish::Destination {
    fn shown_fault(&self) -> Option<String> {
        let hangs = self.busy.filter(|since| since.elapsed() > HANGS);
        let hangs = hangs.map(|since| format!("no answer for {} s", since.elapsed().as_secs()));
        hangs.or_else(|| self.fault.clone())
    }
}
