//! Models behind APIs, beside those on this machine.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use filiation_audit::{Asked, BoxError, Profile, Provider, Seat};
use filiation_core::{Model, Request, WeightRelation};
use filiation_teacher::{
    ApiModel, Budget, Client, Endpoint, Estimate, Examination, Exchange, Mode, Options, Prices,
    Spent, Store, Usage,
};
use serde::Serialize;

use crate::day::Day;
use crate::exchanges::{lines, tokens};
use crate::models::Local;
use crate::progress::Shown;

/// How endpoints are asked, whichever they are.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) store: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) options: Options,
    pub(crate) prices: Option<Prices>,
    /// Ask without testing first.
    pub(crate) untested: bool,
}

/// What is to be asked of an endpoint, before it is.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Quote {
    /// Questions that will be asked.
    pub(crate) questions: u64,
    /// Questions whose answers are in the store.
    pub(crate) kept: u64,
    /// Questions that such an endpoint does not answer.
    pub(crate) unsupported: u64,
    /// Requests and tokens of those that will be asked; of output the most that may be drawn.
    pub(crate) estimate: Estimate,
    /// What that costs at most, where a price is known.
    pub(crate) cost: Option<f64>,
}

impl Quote {
    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            questions: self.questions + other.questions,
            kept: self.kept + other.kept,
            unsupported: self.unsupported + other.unsupported,
            estimate: self.estimate.plus(other.estimate),
            cost: self.cost.zip(other.cost).map(|(a, b)| a + b),
        }
    }
}

/// What answers took that were bought.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Paid {
    /// Exchanges, those among them that failed.
    pub(crate) requests: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    /// Where a price is known.
    pub(crate) cost: Option<f64>,
}

impl Paid {
    /// Both together; the money is known where it is of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            input_tokens: self.input_tokens + other.input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            cost: self.cost.zip(other.cost).map(|(a, b)| a + b),
        }
    }
}

/// Opens folders and files on one device, and endpoints through one store.
pub(crate) struct Parties {
    local: Local,
    manner: Manner,
    store: RefCell<Option<Arc<Store>>>,
    /// The clients that asked something, by party; a party may be asked more than once.
    asking: RefCell<Vec<(String, Arc<Client>)>>,
}

impl Parties {
    pub(crate) fn new(local: Local, manner: Manner) -> Self {
        Self {
            local,
            manner,
            store: RefCell::default(),
            asking: RefCell::default(),
        }
    }

    /// What was spent on each party that was asked over a network.
    pub(crate) fn spent(&self) -> Vec<(String, Spent)> {
        let mut all: Vec<(String, Spent)> = Vec::new();
        for (name, client) in &*self.asking.borrow() {
            match all.iter_mut().find(|(known, _)| known == name) {
                Some((_, spent)) => *spent = spent.plus(client.spent()),
                None => all.push((name.clone(), client.spent())),
            }
        }
        all
    }

    /// The currency of the prices.
    pub(crate) fn currency(&self) -> Option<&str> {
        self.manner.prices.as_ref().map(|p| p.currency.as_str())
    }

    /// What the exchanges that these requests were answered by took, as far as they are in the store:
    /// how many they were, tokens of inputs and of outputs, and money where a price is known.
    pub(crate) fn paid(&self, seat: &Seat<'_>, requests: &[Request]) -> Result<Paid, BoxError> {
        if !self.kept() {
            return Ok(Paid::default());
        }
        let price = match &self.manner.prices {
            Some(prices) => prices.of(&endpoint(seat)?),
            None => None,
        };
        let (_, exchanges, _) = self.behind(seat, requests)?;
        let (input, output) = tokens(&exchanges);
        let usage = Usage {
            input,
            output,
            reasoning: 0,
        };
        Ok(Paid {
            requests: exchanges.len() as u64,
            input_tokens: input,
            output_tokens: output,
            cost: price.map(|price| price.of(&usage)),
        })
    }

    fn kept(&self) -> bool {
        self.manner.store.join("index.sqlite").is_file()
    }

    // What the answers came from is found by asking the store for them again.
    fn behind(
        &self,
        seat: &Seat<'_>,
        requests: &[Request],
    ) -> Result<(ApiModel, Vec<Exchange>, Option<Examination>), BoxError> {
        let (model, found) = self.as_found(seat, Mode::Offline)?;
        drop(model.answer(requests));
        let touched = model.client().touched();
        let identity = model.identity().digest;
        let mut exchanges = model.client().store().exchanges(Some(&identity))?;
        let tested = |e: &Exchange| found.as_ref().is_some_and(|found| found.epoch == e.epoch);
        exchanges.retain(|e| touched.contains(&e.key) || tested(e));
        Ok((model, exchanges, found))
    }

    // At the tier that the last test left it.
    fn as_found(
        &self,
        seat: &Seat<'_>,
        mode: Mode,
    ) -> Result<(ApiModel, Option<Examination>), BoxError> {
        let model = ApiModel::new(self.client(seat, mode)?);
        let (identity, epoch) = (model.identity().digest, &self.manner.options.epoch);
        let found = match self.manner.untested {
            true => None,
            false => model.client().store().examination(&identity, epoch)?,
        };
        let model = match &found {
            Some(found) => model.found(found.finding.clone()),
            None => model,
        };
        Ok((model, found))
    }

    /// Tests a party behind an API, and keeps what was found. What was asked with the same `epoch`
    /// before is not asked again.
    pub(crate) fn examine(
        &self,
        seat: &Seat<'_>,
        epoch: String,
        day: &str,
    ) -> Result<Examination, BoxError> {
        let client = Arc::new(self.client_of(seat, self.manner.mode, Some(epoch))?);
        self.asking
            .borrow_mut()
            .push((seat.name.to_owned(), Arc::clone(&client)));
        let mut found = filiation_teacher::examine(&client, day)?;
        let (identity, of) = (client.endpoint().identity(), &self.manner.options.epoch);
        let before = client.store().examination(&identity.digest, of)?;
        if let Some(before) = before.filter(|before| before.epoch != found.epoch) {
            found.since(&before);
        }
        if self.manner.mode == Mode::Record {
            client
                .store()
                .keep_examination(&identity.digest, of, &found)?;
        }
        Ok(found)
    }

    // Before an endpoint is asked it is tested, once a day.
    fn test(&self, seat: &Seat<'_>) -> Result<(), BoxError> {
        if self.manner.untested || self.manner.mode != Mode::Record {
            return Ok(());
        }
        let day = Day::today()?.to_string();
        let identity = endpoint(seat)?.identity().digest;
        let epoch = &self.manner.options.epoch;
        let store = self.store(self.manner.mode)?;
        let kept = store.examination(&identity, epoch)?;
        if kept.is_some_and(|kept| kept.finding.day == day) {
            return Ok(());
        }
        let found = self.examine(seat, format!("{epoch}/tested {day}"), &day)?;
        Shown::line(&format!(
            "{}: {} by test, {} declared{}",
            seat.name,
            found.finding.tier,
            found.declared.tier,
            faults(&found)
        ));
        Ok(())
    }

    /// A model behind an API to be asked anew, kept apart by `epoch`.
    pub(crate) fn afresh(&self, seat: &Seat<'_>, epoch: String) -> Result<ApiModel, BoxError> {
        let client = Arc::new(self.client_of(seat, self.manner.mode, Some(epoch))?);
        self.asking
            .borrow_mut()
            .push((seat.name.to_owned(), Arc::clone(&client)));
        Ok(ApiModel::new(client))
    }

    /// What requests to a party behind an API will take.
    pub(crate) fn quote(&self, seat: &Seat<'_>, requests: &[Request]) -> Result<Quote, BoxError> {
        let endpoint = endpoint(seat)?;
        let mut capability = endpoint.declared();
        let price = self.manner.prices.as_ref().and_then(|p| p.of(&endpoint));
        let mut kept = vec![false; requests.len()];
        if self.kept() {
            let (model, _) = self.as_found(seat, Mode::Offline)?;
            capability = model.capability().clone();
            kept = model.answer(requests).iter().map(Result::is_ok).collect();
        }
        let mut quote = Quote::default();
        for (request, kept) in requests.iter().zip(kept) {
            match Estimate::of(&endpoint, &capability, &request.want) {
                None => quote.unsupported += 1,
                Some(_) if kept => quote.kept += 1,
                Some(estimate) => {
                    quote.questions += 1;
                    quote.estimate = quote.estimate.plus(estimate);
                }
            }
        }
        quote.cost = price.map(|price| price.of(&quote.estimate.usage()));
        Ok(quote)
    }

    /// What testing a party takes that a collection begins with; `None` where it was tested today.
    pub(crate) fn quote_test(&self, seat: &Seat<'_>) -> Result<Option<Quote>, BoxError> {
        let endpoint = endpoint(seat)?;
        let (day, epoch) = (Day::today()?.to_string(), &self.manner.options.epoch);
        let kept = match self.kept() {
            true => self
                .store(Mode::Offline)?
                .examination(&endpoint.identity().digest, epoch)?,
            false => None,
        };
        if self.manner.untested || kept.is_some_and(|kept| kept.finding.day == day) {
            return Ok(None);
        }
        let estimate = filiation_teacher::examination_estimate(&endpoint);
        let price = self.manner.prices.as_ref().and_then(|p| p.of(&endpoint));
        Ok(Some(Quote {
            questions: estimate.requests,
            estimate,
            cost: price.map(|price| price.of(&estimate.usage())),
            ..Quote::default()
        }))
    }

    // One store a process: it is held while anything is recorded.
    fn store(&self, mode: Mode) -> Result<Arc<Store>, BoxError> {
        let mut kept = self.store.borrow_mut();
        if let Some(store) = &*kept {
            return Ok(Arc::clone(store));
        }
        let root = &self.manner.store;
        let store = Arc::new(match mode {
            Mode::Record => Store::record(root)?,
            _ => Store::read(root)?,
        });
        *kept = Some(Arc::clone(&store));
        Ok(store)
    }

    fn client(&self, seat: &Seat<'_>, mode: Mode) -> Result<Client, BoxError> {
        self.client_of(seat, mode, None)
    }

    fn client_of(
        &self,
        seat: &Seat<'_>,
        mode: Mode,
        epoch: Option<String>,
    ) -> Result<Client, BoxError> {
        let endpoint = endpoint(seat)?;
        let prices = self.manner.prices.as_ref();
        let options = Options {
            price: prices
                .and_then(|p| p.of(&endpoint))
                .or(self.manner.options.price),
            budget: Budget {
                before: self.spent().iter().fold((0, 0.0), |(n, cost), (_, s)| {
                    (n + s.requests, cost + s.cost)
                }),
                ..self.manner.options.budget
            },
            epoch: epoch.unwrap_or_else(|| self.manner.options.epoch.clone()),
            ..self.manner.options.clone()
        };
        let store = self.store(mode)?;
        Ok(Client::new(endpoint, store, mode, options)?)
    }
}

/// The endpoint that a party of a case is.
pub(crate) fn endpoint(seat: &Seat<'_>) -> Result<Endpoint, BoxError> {
    let text = seat.path.to_string_lossy();
    let mut endpoint = Endpoint::new(&text, seat.reach.base_url)?;
    if let Some(variable) = seat.reach.key_env {
        endpoint = endpoint.key_from(variable);
    }
    if let Some(extra) = seat.reach.extra {
        endpoint = endpoint.with_extra(extra.clone());
    }
    Ok(endpoint)
}

/// Faults by name, for a line.
fn faults(found: &Examination) -> String {
    let names: Vec<&str> = found
        .finding
        .faults
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; {}", names.join(", ")),
    }
}

fn is_endpoint(seat: &Seat<'_>) -> bool {
    filiation_audit::is_endpoint(seat.path)
}

impl Provider for Parties {
    fn profile(&self, seat: &Seat<'_>) -> Result<Profile, BoxError> {
        if !is_endpoint(seat) {
            return self.local.profile(seat);
        }
        let endpoint = endpoint(seat)?;
        let declared = endpoint.declared();
        Ok(Profile {
            identity: endpoint.identity(),
            chat: declared.chat,
            plain: declared.text,
        })
    }

    fn model(&self, seat: &Seat<'_>) -> Result<Box<dyn Model>, BoxError> {
        if !is_endpoint(seat) {
            return self.local.model(seat);
        }
        self.test(seat)?;
        let (model, _) = self.as_found(seat, self.manner.mode)?;
        self.asking
            .borrow_mut()
            .push((seat.name.to_owned(), model.shared()));
        Ok(Box::new(model))
    }

    fn relate(
        &self,
        this: &Seat<'_>,
        other: &Seat<'_>,
    ) -> Result<Option<WeightRelation>, BoxError> {
        if is_endpoint(this) || is_endpoint(other) {
            return Ok(None);
        }
        self.local.relate(this, other)
    }

    fn asked(&self, seat: &Seat<'_>, requests: &[Request]) -> Result<Option<Asked>, BoxError> {
        if !is_endpoint(seat) || !self.kept() {
            return Ok(None);
        }
        let (model, exchanges, found) = self.behind(seat, requests)?;
        let client = model.client();
        let days: Vec<u64> = exchanges.iter().map(|e| e.began).collect();
        let day =
            |ms: Option<&u64>| Day::since_1970(ms.copied().unwrap_or(0) / 86_400_000).to_string();
        let names: BTreeSet<_> = exchanges
            .iter()
            .filter_map(|e| e.model_returned.clone())
            .collect();
        Ok(Some(Asked {
            endpoint: client.endpoint().shown(),
            tier: model.capability().tier.short().into(),
            faults: model.finding().map_or_else(Vec::new, |found| {
                found
                    .faults
                    .iter()
                    .map(|fault| format!("{}: {}", fault.name, fault.detail))
                    .collect()
            }),
            tested: model.finding().map(|found| found.day.clone()),
            examination: found.as_ref().map(filiation_core::canonical::to_pretty),
            answered_by: names.into_iter().collect(),
            exchanges: exchanges.len() as u64,
            tokens: tokens(&exchanges),
            days: (day(days.iter().min()), day(days.iter().max())),
            lines: lines(client.store(), &exchanges)?,
        }))
    }

    fn engine(&self) -> String {
        self.local.engine()
    }
}
