//! Imports of what `export` wrote.

use countersign_tests::TestIssuer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BY_ITSELF, LOG_IN, SECRET, ask, data, details, import};
use crate::shell::Shell;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_imported_into_another_stack() {
    let (from, to) = (TestIssuer::start().await, TestIssuer::start().await);
    let (from_shell, to_shell) = (Shell { issuer: &from }, Shell { issuer: &to });
    import(&from_shell, &format!("{} --allow-legacy", details()), 4);
    import(&from_shell, &format!("user import {} --brand acme", data("users.csv").display()), 4);
    let folder = TempDir::new().unwrap();
    for what in ["client", "user", "operator"] {
        let file = folder.path().join(what).display().to_string();
        let export = from_shell.run(&format!("{what} export --output {file}"), "");
        assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        assert!(from_shell.refused(&format!("{what} export --output {file}"), "").contains("File exists"));
        let report = import(&to_shell, &format!("{what} import {file}"), 4);
        // The other stack has its own demo records, which differ.
        let reasons = report.to_string();
        assert!(reasons.contains("left alone"), "{reasons}");
    }
    ask(&to, "partner-app", SECRET, LOG_IN).await.ok();
    ask(&to, "old-crm", SECRET, BY_ITSELF).await.ok();
    let show = |shell: &Shell<'_>| shell.ok("client show partner-app", "")["created"].clone();
    assert_eq!(show(&from_shell), show(&to_shell), "refresh tokens contain it");

    let refresh_token = ask(&to, "partner-app", SECRET, LOG_IN).await.refresh_token();
    let bob = folder.path().join("bob");
    let exported = std::fs::read_to_string(folder.path().join("user")).unwrap();
    let line = exported.lines().find(|line| line.contains("bob@example.com")).unwrap().trim_end_matches(',');
    for enabled in ["\"enabled\":false", "\"enabled\":true"] {
        std::fs::write(&bob, line.replace("\"enabled\":true", enabled)).unwrap();
        let report = import(&to_shell, &format!("user import {}", bob.display()), 0);
        assert_eq!(report["principals"][0]["action"], "updated", "{report}");
    }
    let form = [("grant_type", "refresh_token"), ("refresh_token", &refresh_token)];
    ask(&to, "partner-app", SECRET, &form).await.assert_error(400, "invalid_grant");
    ask(&to, "partner-app", SECRET, LOG_IN).await.ok();

    let hostile = folder.path().join("hostile");
    let exported = std::fs::read_to_string(folder.path().join("user")).unwrap();
    std::fs::write(
        &hostile,
        exported.replace("m=19456", "m=4194304").replace("user#acme#jane", "user#acme#Jane"),
    )
    .unwrap();
    let report = import(&to_shell, &format!("user import {}", hostile.display()), 4).to_string();
    assert!(
        report.contains("password_hash: has an unknown form or is too costly to verify")
            && report.contains("principal: not a key"),
        "{report}"
    );
    let report = import(&to_shell, &format!("operator import {}", folder.path().join("user").display()), 4);
    assert!(report.to_string().contains("not a key of this kind"));

    let exported = std::fs::read_to_string(folder.path().join("client")).unwrap();
    let line = exported.lines().find(|line| line.contains("\"partner-app\"")).unwrap().trim_end_matches(',');
    let mut client: Value = serde_json::from_str(line).unwrap();
    let mut second = client["secrets"][0].clone();
    second["created"] = json!(u64::MAX);
    client["secrets"].as_array_mut().unwrap().push(second);
    client["surprise"] = json!(1);
    std::fs::write(&hostile, client.to_string()).unwrap();
    let report = import(&to_shell, &format!("client import {}", hostile.display()), 4).to_string();
    for problem in ["secrets: an id is given twice", "beyond the year 9999", "surprise"] {
        assert!(report.contains(problem), "{problem} in {report}");
    }
    std::fs::write(&hostile, "[]").unwrap();
    let output = to_shell.run(&format!("client import {}", hostile.display()), "");
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no rows"));

    to_shell.ok("operator create all.ops --brand * --password-stdin", SECRET);
    let acme = String::from_utf8(to_shell.run("operator export --brand acme", "").stdout).unwrap();
    assert!(acme.contains("all.ops"), "{acme}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_id_is_a_generated_one_that_no_other_record_has() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    let export = |what: &str| -> Vec<Value> {
        serde_json::from_slice(&shell.run(&format!("{what} export"), "").stdout).unwrap()
    };
    let (jane, alice) = (export("user")[0].clone(), export("operator")[0].clone());
    let row = |model: &Value, key: &str, id: &str| {
        let mut row = model.clone();
        row["principal"] = key.into();
        row["id"] = id.into();
        row
    };
    let fresh = "usr_AAAAAAAAAAAAAAAAAAAAAA";
    let long = format!("usr_{}", "x".repeat(5000));
    let try_import = |what: &str, rows: &[Value]| {
        std::fs::write(&file, json!(rows).to_string()).unwrap();
        let run = |more: &str| {
            let output = shell.run(&format!("--json {what} import {}{more}", file.display()), "");
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let (dry, real) = (run(" --dry-run"), run(""));
        assert_eq!(dry["principals"], real["principals"], "a dry run says what a run does");
        real["principals"].clone()
    };
    let (janes_id, alices_id) = (jane["id"].as_str().unwrap(), alice["id"].as_str().unwrap());
    for (id, why) in [
        ("demo-service", "id: not a generated one"),
        ("", "id: not a generated one"),
        (&long, "id: not a generated one"),
        ("usr_AAAAAAAAAAAAAAAAAAAAAB", "id: not a generated one"),
        ("usr_AAAAAAAAAAAAAAAAAAAAA=", "id: not a generated one"),
        (alices_id, "id: not a generated one"),
        (janes_id, "id: user#acme#jane@example.com has it"),
    ] {
        let report = try_import("user", &[row(&jane, "user#acme#mallory", id)]);
        assert_eq!(report[0]["action"], "refused", "{id}");
        assert!(report[0]["reasons"][0].as_str().unwrap().starts_with(why), "{report}");
    }
    let report = try_import("operator", &[row(&alice, "operator#mallory", janes_id)]);
    assert!(report[0]["reasons"][0].as_str().unwrap().starts_with("id: not a generated one"), "{report}");
    assert_eq!(issuer.count("principals").await, 2);

    let twice = [row(&jane, "user#acme#one", fresh), row(&jane, "user#acme#two", fresh)];
    let report = try_import("user", &twice);
    assert_eq!(report[0]["verdict"], "ready");
    let why = report[1]["reasons"][0].as_str().unwrap();
    assert!(why.starts_with("id: given twice; the first is at") && report[1]["action"] == "refused", "{why}");

    // A person who was deleted comes back as the same person.
    shell.ok("user delete jane@example.com --brand acme --yes", "");
    assert_eq!(try_import("user", std::slice::from_ref(&jane))[0]["verdict"], "ready");
    assert_eq!(shell.ok("user show jane@example.com --brand acme", "")["id"], jane["id"]);
}
