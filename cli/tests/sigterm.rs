//! What was answered 200 is there after a SIGTERM in the middle of load, and after a restart.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A `countersign dev` of its own process, over the data in a folder.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path, port: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["dev", "--port", port, "--dynamodb-port", "0", "--data-dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned));
        // Read on, or the program would stop at a full pipe.
        std::thread::spawn(move || lines.count());
        Self { child, url: listening.unwrap() }
    }

    fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status, and the body where there is one; none where no answer came.
async fn post(http: &reqwest::Client, url: &str, path: &str, form: &[(&str, &str)]) -> Option<(u16, Value)> {
    let request = http.post(format!("{url}{path}")).basic_auth("demo-app", Some("demo-app-secret"));
    let response = request.form(form).send().await.ok()?;
    Some((response.status().as_u16(), response.json().await.ok()?))
}

/// The last token that somebody was given, and whether it was revoked.
#[derive(Clone)]
struct Acknowledged {
    token: String,
    is_revoked: bool,
}

/// Refreshes until no answer comes any more; every third one then and there revokes what it has.
async fn refresh_on(http: reqwest::Client, url: String, mut token: String, revokes: bool) -> Acknowledged {
    for turn in 0.. {
        if revokes && turn == 3 {
            let answer = post(&http, &url, "/oauth/revoke", &[("token", &token)]).await;
            return Acknowledged { token, is_revoked: answer.is_some_and(|(status, _)| status == 200) };
        }
        let Some((200, answer)) = post(&http, &url, "/oauth/refresh", &[("refresh_token", &token)]).await
        else {
            break;
        };
        answer["refresh_token"].as_str().unwrap().clone_into(&mut token);
    }
    Acknowledged { token, is_revoked: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_in_the_middle_of_load_loses_nothing_that_was_answered() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), "0");
    let http = reqwest::Client::new();
    let form = [
        ("grant_type", "password"),
        ("username", "jane@example.com"),
        ("password", "correct horse battery staple"),
    ];
    let mut running = Vec::new();
    for n in 0..12 {
        let (_, login) = post(&http, &server.url, "/oauth/token", &form).await.unwrap();
        let token = login["refresh_token"].as_str().unwrap().to_owned();
        running.push(tokio::spawn(refresh_on(http.clone(), server.url.clone(), token, n % 3 == 0)));
    }
    // Load has to build up in a process that this one sees nothing of.
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.terminate();
    let mut known = Vec::new();
    for one in running {
        known.push(one.await.unwrap());
    }

    let port = server.url.rsplit_once(':').unwrap().1.to_owned();
    let server = Server::start(folder.path(), &port);
    assert!(known.iter().any(|one| one.is_revoked), "some were revoked");
    for Acknowledged { token, is_revoked } in known {
        let (status, _) =
            post(&http, &server.url, "/oauth/refresh", &[("refresh_token", &token)]).await.unwrap();
        assert_eq!(status, if is_revoked { 400 } else { 200 });
    }
}
