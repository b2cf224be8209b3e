//! Credentials come from the environment, and are never shown.

use crate::{FULL, outcome, read};
use http::HeaderValue;
use std::{
    fmt,
    sync::{Arc, Mutex},
};
use tower_failover::{ByProvider, Config, ConfigError, Failover, FailoverLayer};

const SECRET: &str = "sk-5eCrE7";

#[track_caller]
fn hides(shown: impl AsRef<str>) {
    assert!(!shown.as_ref().contains("5eCrE7"), "{}", shown.as_ref());
}

#[track_caller]
fn debug_hides(what: &impl fmt::Debug) {
    hides(format!("{what:?} {what:#?}"));
}

/// What the providers of a layer send, and a service of it.
fn credentials<A, K, R, F>(layer: &FailoverLayer<A, K, R, F>) -> (Vec<HeaderValue>, impl fmt::Debug)
where
    Failover<ByProvider<()>, A, K, R, F>: fmt::Debug,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = layer.by_provider({
        let seen = Arc::clone(&seen);
        move |provider| {
            debug_hides(provider);
            seen.lock()
                .unwrap()
                .extend(provider.get_credential().map(|credential| credential.line().unwrap().1.clone()));
        }
    });
    let seen = seen.lock().unwrap().clone();
    (seen, service)
}

fn with(credential: &str) -> String {
    format!("providers = [{{ name = 'a', credential = {credential} }}]\nmodels = [{{ name = 'm', provider = 'a' }}]\n")
}

#[test]
fn law_25_nothing_that_comes_of_a_file_shows_a_credential() {
    let config = read(FULL);
    let mut asked = Vec::new();
    let builder = config.models_with(|name| {
        asked.push(name.to_owned());
        Some(SECRET.to_owned())
    });
    let builder = builder.unwrap();
    assert_eq!(asked, ["NEXA_KEY", "AZURE_KEY"]);
    debug_hides(&config);
    debug_hides(&builder);
    let models = builder.build().unwrap();
    debug_hides(&models);
    debug_hides(&models.snapshot());
    let layer = FailoverLayer::json(models).configure(&config).unwrap().build().unwrap();
    debug_hides(&layer);
    let (seen, service) = credentials(&layer);
    debug_hides(&service);
    // There it is all the same.
    assert_eq!(seen, ["Bearer sk-5eCrE7", "sk-5eCrE7"]);
    debug_hides(&seen);
}

#[test]
fn law_25_a_variable_that_cannot_be_used_is_named_and_not_shown() {
    let error = |credential: &str, value: Option<&str>| -> ConfigError {
        read(&with(credential)).models_with(|_| value.map(str::to_owned)).unwrap_err()
    };
    let unset = "must name an environment variable that is set, to UTF-8 text";
    let empty = "must name an environment variable that is not empty";
    let no_header = "must name an environment variable whose value a header can have";
    for (credential, field) in [
        ("{ bearer_env = 'A_KEY' }", "provider `a`: credential.bearer_env"),
        ("{ header = 'x-api-key', env = 'A_KEY' }", "provider `a`: credential.env"),
    ] {
        for (value, problem) in [
            (None, unset),
            (Some(""), empty),
            (Some("  "), empty),
            (Some("sk-5eCrE7\n"), no_header),
            (Some("sk-5eCrE7\u{7f}"), no_header),
        ] {
            let error = error(credential, value);
            assert_eq!((error.field(), error.value(), error.problem()), (field, "A_KEY", problem));
            debug_hides(&error);
        }
    }
}

#[test]
fn law_25_a_credential_in_the_file_is_refused_and_not_repeated() {
    let name = |field: &str| {
        format!(
            "`{field}` must be the name of an environment variable, of letters, digits and `_`; the \
             credential itself does not belong here"
        )
    };
    let table = "expected a table with `bearer_env`, or with `header` and `env`: a credential stands in an environment \
                 variable, never in the file";
    let unknown = "unknown field `bearer`, expected one of `bearer_env`, `header`, `env`";
    for (credential, message) in [
        ("'sk-5eCrE7'", table),
        ("{ bearer = 'sk-5eCrE7' }", unknown),
        ("{}", table),
        ("{ env = 'A_KEY' }", table),
        ("{ header = 'x-api-key' }", table),
        ("{ bearer_env = 'A_KEY', header = 'x-api-key', env = 'A_KEY' }", table),
        ("{ bearer_env = 'sk-5eCrE7' }", &name("bearer_env")),
        ("{ bearer_env = '' }", &name("bearer_env")),
        ("{ bearer_env = '5A' }", &name("bearer_env")),
        ("{ header = 'x-api-key', env = 'sk-5eCrE7' }", &name("env")),
        ("{ header = 'sk-5eCrE7', env = 'x-api-key' }", &name("env")),
        ("{ header = 'sk 5eCrE7', env = 'A_KEY' }", "`header` must be a valid header name"),
    ] {
        let file = with(credential);
        let error = toml::from_str::<Config>(&file).expect_err(credential);
        assert_eq!(error.message(), message);
        hides(error.message());
        let table: toml::Table = toml::from_str(&file).unwrap();
        let error = serde_json::from_str::<Config>(&serde_json::to_string(&table).unwrap()).unwrap_err();
        hides(error.to_string());
        debug_hides(&error);
    }
    for url in ["https://user:sk-5eCrE7@a.test", "https://a.test?key=sk-5eCrE7", "a.test#sk-5eCrE7"] {
        let file = format!("[[providers]]\nname = 'a'\nbase_url = '{url}'");
        hides(toml::from_str::<Config>(&file).unwrap_err().message());
        let mut config = read(&with("{ bearer_env = 'A_KEY' }"));
        config.providers[0].base_url = Some(url.to_owned());
        debug_hides(&outcome(&config).unwrap_err());
    }
}

#[test]
fn the_environment_is_that_of_the_process() {
    let path = std::env::var("PATH").expect("there is one everywhere");
    let models = read(&with("{ header = 'x-own', env = 'PATH' }")).models().unwrap().build().unwrap();
    let layer = FailoverLayer::http(models).build().unwrap();
    assert_eq!(credentials(&layer).0, [path.as_str()]);

    let error = read(&with("{ bearer_env = 'TOWER_FAILOVER_NO_SUCH_VARIABLE' }")).models().unwrap_err();
    assert_eq!(error.value(), "TOWER_FAILOVER_NO_SUCH_VARIABLE");
}
