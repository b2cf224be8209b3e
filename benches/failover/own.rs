//! Against the upstreams of whoever runs it: what the layer adds to the latency at a rate, while all is well.

use crate::{
    contender::{Contender, Http, Request},
    measure::{Column, Judged, Random, report_calm},
    report::Report,
};
use http::{Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::time::Duration;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tower::{BoxError, Layer, ServiceExt};
use tower_failover::{FailoverLayer, Model, Models, Provider, Served};

pub(crate) const USAGE: &str = "\
cargo bench --bench failover -- [--json] [--quick] [--apart]
cargo bench --bench failover -- [--json] --url URL [--url URL].. [options]

  --apart          the servers on a thread of their own

  --url URL        base URL of an upstream, http or https; the primary first
  --model NAME     the model of the URL in the same place; one for each URL, or none. It is written into the JSON body
  --path PATH      of the requests, behind the base URL; default /
  --body JSON      sent by POST; with models it needs a field `model`, and is {\"model\": \"\"} by default;
                   without a body the requests are GET
  --rate N         requests per second, of all rows together; default 50
  --requests N     of each row; default 1000";

const ROUNDS: usize = 20;

/// What was asked for on the command line.
#[derive(Debug)]
pub(crate) struct Own {
    urls: Vec<Uri>,
    models: Vec<String>,
    path: String,
    body: Option<String>,
    rate: f64,
    requests: usize,
}

impl Own {
    /// `None` if there is nothing of it on the command line.
    pub(crate) fn parse(args: &[String]) -> Result<Option<Self>, String> {
        let mut own =
            Self { urls: vec![], models: vec![], path: "/".to_owned(), body: None, rate: 50.0, requests: 1000 };
        let mut args_left = args.iter();
        while let Some(arg) = args_left.next() {
            let known = ["--url", "--model", "--path", "--body", "--rate", "--requests"].contains(&arg.as_str());
            let Some(value) = args_left.next().filter(|_| known) else {
                return Err(if known { format!("{arg} needs a value") } else { format!("unknown argument {arg}") });
            };
            let wrong = |what: &str| format!("{arg} {value}: {what}");
            match arg.as_str() {
                "--url" => own.urls.push(base_url(value).ok_or_else(|| wrong("no base URL of http or https"))?),
                "--model" => own.models.push(value.clone()),
                "--path" if value.starts_with('/') => own.path.clone_from(value),
                "--path" => return Err(wrong("does not begin with /")),
                "--body" => own.body = Some(value.clone()),
                "--rate" => {
                    let rate = value.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
                    own.rate = rate.ok_or_else(|| wrong("no rate above zero"))?;
                }
                _ => {
                    let requests = value.parse().ok().filter(|requests| *requests >= ROUNDS);
                    own.requests = requests.ok_or_else(|| wrong(&format!("no number from {ROUNDS} up")))?;
                }
            }
        }
        if own.urls.is_empty() {
            return if args.is_empty() { Ok(None) } else { Err("no --url".to_owned()) };
        }
        own.add_model()?;
        Ok(Some(own))
    }

    /// Writes the first model into the body, as the bare client has to have it there.
    fn add_model(&mut self) -> Result<(), String> {
        let Some(first) = self.models.first() else { return Ok(()) };
        if self.models.len() != self.urls.len() {
            return Err(format!("{} --model for {} --url", self.models.len(), self.urls.len()));
        }
        let body = self.body.as_deref().unwrap_or(r#"{"model": ""}"#);
        let mut body: serde_json::Value = serde_json::from_str(body).map_err(|error| format!("--body: {error}"))?;
        *body.get_mut("model").ok_or("--body: no field `model`")? = first.as_str().into();
        self.body = Some(body.to_string());
        Ok(())
    }

    fn request(&self, uri: Uri) -> Request {
        let request = http::Request::builder().uri(uri);
        let request = match &self.body {
            Some(_) => request.method("POST").header("content-type", "application/json"),
            None => request,
        };
        request.body(Full::from(self.body.clone().unwrap_or_default())).expect("a request")
    }

    fn contenders(&self) -> Result<Vec<Contender>, BoxError> {
        let mut plain = HttpConnector::new();
        plain.set_nodelay(true);
        plain.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1();
        let client: Http<_> = Client::builder(TokioExecutor::new()).build(tls.wrap_connector(plain));

        let mut models = Models::builder();
        for (place, url) in self.urls.iter().enumerate() {
            let provider = format!("upstream {}", place + 1);
            // The same model may be asked at several upstreams.
            let model = Model::new(&provider, &provider);
            let model = match self.models.get(place) {
                Some(name) => model.upstream_name(name),
                None => model,
            };
            models = models.provider(Provider::new(&provider).base_url(url.to_string())).model(model);
        }
        let models = models.build()?;
        let path: Uri = self.path.parse()?;
        let full: Uri = format!("{}{path}", self.urls[0].to_string().trim_end_matches('/')).parse()?;
        let bare = |name| Contender::bare(name, &client, self.request(full.clone()));
        let failover = match self.models.is_empty() {
            true => {
                let service = FailoverLayer::http(models).build()?.layer(client.clone()).map_result(by_the_first);
                Contender::service("tower-failover", service, self.request(path))
            }
            false => {
                let service = FailoverLayer::json(models).build()?.layer(client.clone()).map_result(by_the_first);
                Contender::service("tower-failover", service, self.request(path))
            }
        };
        Ok(vec![bare("bare"), bare("bare again"), failover])
    }

    /// Each row in its turn, at the rate, whatever became of the requests before.
    pub(crate) async fn measure(&self, report: &mut Report) -> Result<(), BoxError> {
        let contenders = self.contenders()?;
        for contender in &contenders {
            contender.ask().await.success().map_err(|error| format!("{}: {error}", contender.name))?;
        }
        let mut tasks = JoinSet::new();
        let mut order: Vec<_> = (0..contenders.len()).collect();
        let mut random = Random::new();
        let (start, mut sent) = (Instant::now(), 0_u32);
        let mut taken = Vec::new();
        for turn in 0..self.requests {
            random.shuffle(&mut order);
            for &place in &order {
                sleep_until(start + Duration::from_secs_f64(f64::from(sent) / self.rate)).await;
                sent += 1;
                let contender = contenders[place].clone();
                tasks.spawn(async move {
                    let time = contender.ask().await.success();
                    time.map(|time| (turn, place, time)).map_err(|error| format!("{}: {error}", contender.name))
                });
                while let Some(ended) = tasks.try_join_next() {
                    taken.push(ended??);
                }
            }
        }
        while let Some(ended) = tasks.join_next().await {
            taken.push(ended??);
        }

        taken.sort_by_key(|(turn, ..)| *turn);
        let mut columns: Vec<_> = contenders.iter().map(|contender| Column::new(contender.name)).collect();
        for round in taken.chunk_by(|one, other| self.round(one.0) == self.round(other.0)) {
            columns.iter_mut().for_each(Column::begin_round);
            round.iter().for_each(|(_, place, time)| columns[*place].push(*time));
        }
        report_calm("latency", Judged::P50AndP99, &columns);
        columns.iter().for_each(|column| column.row(report, "healthy", "latency", &columns[0]));
        Ok(())
    }

    fn round(&self, turn: usize) -> usize {
        turn * ROUNDS / self.requests
    }
}

fn base_url(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_http && uri.authority().is_some() && uri.query().is_none()).then_some(uri)
}

/// An answer of the primary: that of a fallback is no measure of what the layer adds.
fn by_the_first<E: Into<BoxError>>(result: Result<Response<Incoming>, E>) -> Result<Response<Incoming>, BoxError> {
    let response = result.map_err(Into::into)?;
    match response.extensions().get::<Served>().and_then(Served::model) {
        Some(model) if model.name() == "upstream 1" => Ok(response),
        _ => Err("the primary failed, and a fallback has answered".into()),
    }
}
