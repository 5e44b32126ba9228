//! Secrets, passwords and tokens go through every flow. None of them appears, in any encoding, in a
//! log line or in a response that should not contain it. `countersign_tests::canaries` checks the
//! same in all other tests.

use countersign_tests::canaries::{self, encodings};
use countersign_tests::in_process::{APP_SECRET, CHOSEN_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET};
use countersign_tests::log::Log;
use countersign_tests::store::Fault;
use tracing_subscriber::filter::LevelFilter;

#[tokio::test(start_paused = true)]
async fn no_secret_is_logged_or_echoed_in_any_flow_or_fault() {
    canaries::watch();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let wrong = "wrong canary passphrase";
    let mut secrets: Vec<String> =
        [APP_SECRET, SERVICE_SECRET, CHOSEN_SECRET, PASSWORD, wrong].map(str::to_owned).to_vec();
    let mut answers = Vec::new();
    for fault in [None].into_iter().chain(Fault::ALL.map(Some)) {
        let client =
            |id: &str, secret: &str, form: &[(&str, &str)]| Post::new("/oauth/token", id, secret, form);
        let login = |password| [("grant_type", "password"), ("username", "jane"), ("password", password)];
        let first = client("app", APP_SECRET, &login(PASSWORD)).to(&world.issuer).await;
        let (access, refresh) = (first.access_token(), first.refresh_token());
        if let Some(fault) = fault {
            world.store.fail_with(fault);
        }
        let credentials = [("grant_type", "client_credentials"), ("operator", "alice")];
        let token = [("token", refresh.as_str())];
        for (path, id, secret, form) in [
            ("/oauth/token", "service", SERVICE_SECRET, &credentials[..]),
            ("/oauth/token", "service", wrong, &credentials),
            ("/oauth/token", "chosen", CHOSEN_SECRET, &credentials[..1]),
            ("/oauth/token", "chosen", wrong, &credentials[..1]),
            ("/oauth/token", "nobody", wrong, &credentials),
            ("/oauth/token", "app", APP_SECRET, &login(wrong)),
            ("/oauth/token", "app", APP_SECRET, &login(PASSWORD)),
            ("/oauth/refresh", "app", APP_SECRET, &[("refresh_token", &access)]),
            ("/oauth/introspect", "app", APP_SECRET, &token),
            ("/oauth/refresh", "app", APP_SECRET, &[("refresh_token", &refresh)]),
            ("/oauth/revoke", "app", APP_SECRET, &token),
            ("/oauth/refresh", "app", APP_SECRET, &[("refresh_token", &refresh)]),
        ] {
            let answer = Post::new(path, id, secret, form).to(&world.issuer).await;
            // A response with status 200 may contain a token.
            if answer.status != 200 {
                answers.push(answer.text);
            }
        }
        world.store.heal();
        clock.advance(std::time::Duration::from_secs(15 * 60));
        // The signature is the secret part of a token. The audit log contains the rest anyway.
        secrets.extend([access, refresh].map(|token| token.rsplit('.').next().unwrap().to_owned()));
    }
    let log = log.text();
    assert!(
        log.contains("issued") && log.contains("refused") && log.contains("failed"),
        "the log has the expected events"
    );
    for secret in &secrets {
        for encoding in encodings(secret) {
            for (what, text) in [("log", &log), ("answers", &answers.join("\n"))] {
                let found = text.find(&encoding).map(|at| &text[at.saturating_sub(200)..at + encoding.len()]);
                assert_eq!(found, None, "{encoding} in the {what}");
            }
        }
    }
}
