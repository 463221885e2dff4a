//! Buying what a stream asks of teachers piece by piece, until it says that it is enough.

use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{
    Digest, MethodId, Observations, Probe, Request, RequestId, Role, Stream, Watch,
};
use serde::Serialize;

use crate::AuditError;
use crate::collect::Collector;
use crate::offline::Answers;
use crate::plan::Transcripts;

/// Units bought at a time: so many completions may be in vain.
const UNITS: usize = 32;

/// `streams/<probe>.json`: in what order was bought, and how the evidence stood at every look.
#[derive(Debug, Serialize)]
pub(crate) struct Bought {
    method: MethodId,
    /// The first request of each unit, in the order that was fixed before the first was put.
    order: Vec<RequestId>,
    looks: Vec<Look>,
}

#[derive(Debug, Serialize)]
struct Look {
    /// Units bought by then.
    bought: usize,
    watch: Watch,
}

impl Bought {
    pub(crate) fn probe(&self) -> &str {
        self.method.name()
    }
}

impl Collector<'_> {
    /// After all that has a fixed budget: what the streams of `probes` buy.
    pub(crate) fn buy(
        &self,
        probes: &[Box<dyn Probe>],
        transcripts: &mut Transcripts,
    ) -> Result<Vec<Bought>, AuditError> {
        let mut all = Vec::new();
        for probe in probes {
            if let Some(stream) = probe.stream() {
                all.push(self.buy_for(probe.id(), stream, transcripts)?);
            }
        }
        Ok(all)
    }

    fn buy_for(
        &self,
        method: &MethodId,
        stream: &dyn Stream,
        transcripts: &mut Transcripts,
    ) -> Result<Bought, AuditError> {
        let units = stream.units();
        let mut ids = BTreeSet::new();
        let order = self.observed(transcripts, &ids, |seen| stream.order(seen));
        let mut earlier = self.asked_before(transcripts);
        let mut looks = Vec::new();
        let mut bought = 0;
        for chunk in order.chunks(UNITS) {
            let new = chunk.iter().flat_map(|unit| units[*unit].clone());
            let new: BTreeSet<RequestId> = new.collect();
            self.buy_units(&new, &mut earlier, transcripts)?;
            ids.extend(new);
            bought += chunk.len();
            // A run that is taken up again sees what it saw at this look, not what came after.
            let watch = self.observed(transcripts, &ids, |seen| stream.watch(seen));
            let enough = watch.stop.is_some();
            looks.push(Look { bought, watch });
            if enough {
                break;
            }
        }
        Ok(Bought {
            method: method.clone(),
            order: order
                .iter()
                .filter_map(|u| units[*u].first().cloned())
                .collect(),
            looks,
        })
    }

    fn buy_units(
        &self,
        ids: &BTreeSet<RequestId>,
        earlier: &mut BTreeMap<String, BTreeSet<Digest>>,
        transcripts: &mut Transcripts,
    ) -> Result<(), AuditError> {
        let seats = || self.seats.iter().zip(self.parties);
        for (seat, _) in seats().filter(|(seat, _)| seat.role == Role::Teacher) {
            let asked = |_: &Transcripts| self.plan.bought(seat.role, seat.name, ids);
            self.ask(seat, &[&asked], "answers bought", transcripts)?;
        }
        for (seat, party) in seats() {
            let before = earlier.entry(party.name.clone()).or_default();
            // The same list whenever a run is taken up again: a batch is whole or not there.
            let list = self
                .plan
                .about_bought(party, self.parties, transcripts, ids, before);
            before.extend(list.iter().map(Request::key));
            self.ask(
                seat,
                &[&|_| list.clone()],
                "scores of answers bought",
                transcripts,
            )?;
        }
        Ok(())
    }

    // What each party was asked at a fixed budget.
    fn asked_before(&self, transcripts: &Transcripts) -> BTreeMap<String, BTreeSet<Digest>> {
        let of = |party| {
            let about = |late| {
                self.plan
                    .about_answers(party, self.parties, transcripts, late)
            };
            let direct = self.plan.direct(party.role, &party.name);
            let all = direct.into_iter().chain(about(false)).chain(about(true));
            (party.name.clone(), all.map(|r| r.key()).collect())
        };
        self.parties.iter().map(of).collect()
    }

    fn observed<T>(
        &self,
        transcripts: &Transcripts,
        bought: &BTreeSet<RequestId>,
        look: impl Fn(&Observations<'_>) -> T,
    ) -> T {
        let mut answers = Answers::new();
        for party in self.parties {
            let results = self.plan.seen(party, self.parties, transcripts, bought);
            let named = results.into_iter();
            answers.extend(named.map(|(id, result)| ((party.name.clone(), id), result)));
        }
        look(&Observations::new(self.parties, &answers))
    }
}
