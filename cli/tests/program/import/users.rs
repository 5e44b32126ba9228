//! Users and operators from tables: their roles, and the columns that lock them out.

use std::path::Path;

use countersign_tests::TestIssuer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{actions, import};
use crate::shell::Shell;

const HASH: &str = "{bcrypt}$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu";

fn roles(shell: &Shell<'_>, user: &str) -> Value {
    shell.ok(&format!("user show {user} --brand acme"), "")["roles"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_without_a_column_of_roles_are_refused_unless_roles_are_given() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let (file, mapping) = (folder.path().join("users"), folder.path().join("mapping.toml"));
    std::fs::write(&mapping, "[default]\nroles = []\n").unwrap();
    let line = format!("user import {} --brand acme", file.display());
    for rows in [
        format!("username,password\nkim,{HASH}\n"),
        json!({ "username": "kim", "password": HASH }).to_string(),
    ] {
        std::fs::write(&file, rows).unwrap();
        let output = shell.run(&format!("{line} --dry-run"), "");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert!(error.contains("no column of roles or authorities") && error.contains("--role"), "{error}");
        assert_eq!(import(&shell, &format!("{line} --role guest --dry-run"), 0)["summary"]["rows"], 1);
        let with_mapping = format!("{line} --mapping {} --dry-run", mapping.display());
        assert_eq!(import(&shell, &with_mapping, 0)["summary"]["verdicts"]["ready"], 1);
    }
    // In a table with the column, a user without a role is a loss.
    std::fs::write(&file, format!("username,password,authorities\nkim,{HASH},\\N\nlee,{HASH},ROLE_X\n"))
        .unwrap();
    let report = import(&shell, &format!("{line} --dry-run"), 3);
    let loss = report["principals"][0]["losses"][0].as_str().unwrap();
    assert!(loss.starts_with("roles: none; Spring lets no user in without an authority"), "{report}");
    assert_eq!(report["principals"][1]["verdict"], "ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_for_each_authority_is_refused() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("users.csv");
    let rows =
        format!("username,password,authority\nkim,{HASH},ROLE_A\nlee,{HASH},ROLE_B\nkim,{HASH},ROLE_C\n");
    std::fs::write(&file, rows).unwrap();
    let output = shell.run(&format!("user import {} --brand acme", file.display()), "");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("a row for each authority: lines 2 and 4"), "{error}");
    assert!(error.contains("string_agg(authority, ',')") && !error.contains("kim"), "{error}");
    assert_eq!(issuer.count("principals").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whom_spring_locks_out_is_imported_disabled() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("users.tsv");
    // The first is how `mysql -B` writes bit(1).
    for (number, (flag, value, enabled)) in [
        ("enabled", "\\0", false),
        ("enabled", "\u{1}", true),
        ("enabled", "b'0'", false),
        ("account_non_locked", "false", false),
        ("accountNonLocked", "1", true),
        ("account_non_expired", "f", false),
        ("credentialsNonExpired", "0", false),
        ("account_locked", "true", false),
        ("locked", "no", true),
    ]
    .into_iter()
    .enumerate()
    {
        let rows = format!("username\tpassword\tauthorities\t{flag}\nu{number}\t{HASH}\tROLE_A\t{value}\n");
        std::fs::write(&file, rows).unwrap();
        let report = import(&shell, &format!("user import {} --brand acme", file.display()), 0);
        let shown = shell.ok(&format!("user show u{number} --brand acme"), "");
        assert_eq!(shown["enabled"], enabled, "{flag} {value}: {report}");
        let is_loss = report["principals"][0]["verdict"] == "ready with a loss";
        assert_eq!(is_loss, !enabled && flag != "enabled", "{report}");
    }
    std::fs::write(&file, format!("username\tpassword\tauthorities\tenabled\nx\t{HASH}\tROLE_A\tperhaps\n"))
        .unwrap();
    let report = import(&shell, &format!("user import {} --brand acme", file.display()), 4);
    assert_eq!(report["principals"][0]["reasons"][0], "enabled: neither true nor false");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queries_of_the_documentation_give_each_user_all_roles() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/import/files/users");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    for (number, file) in files.iter().enumerate() {
        let report = import(&shell, &format!("user import {} --brand acme", file.display()), 0);
        let action = if number == 0 { "created" } else { "unchanged" };
        let expected = ["ann", "bob", "cid", "dan"].map(|name| format!("{name} {action}"));
        assert_eq!(actions(&report, "principals"), expected, "{}: {report}", file.display());
        assert_eq!(report["principals"][3]["verdict"], "ready with a loss", "no roles at all: {report}");
    }
    assert_eq!(roles(&shell, "ann"), json!(["ROLE_ADMIN", "ROLE_USER"]));
    assert_eq!(roles(&shell, "bob"), json!(["ROLE_STAFF", "ROLE_USER"]), "from a group, and its own");
    assert_eq!(roles(&shell, "cid"), json!(["ROLE_STAFF", "ROLE_USER"]), "from a group alone");
    assert_eq!(shell.ok("user show cid --brand acme", "")["enabled"], false);
}

/// Imports a file of users for a brand, and returns the rows of the report.
fn import_users(shell: &Shell<'_>, file: &Path, content: &str, code: i32) -> Vec<Value> {
    std::fs::write(file, content).unwrap();
    let line = format!("user import {} --brand acme", file.display());
    import(shell, &line, code)["principals"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heading_inside_a_file_is_no_user() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("users.csv");
    for heading in ["username,password,authorities", "PASSWORD,authorities,userName"] {
        let content = format!("username,password,authorities\nkim,{HASH},R\n{heading}\nlee,{HASH},R\n");
        std::fs::write(&file, content).unwrap();
        let report =
            import(&shell, &format!("user import {} --brand acme --hash-plain --dry-run", file.display()), 4);
        let rows = report["principals"].as_array().unwrap();
        let verdicts: Vec<&Value> = rows.iter().map(|row| &row["verdict"]).collect();
        assert_eq!(verdicts, ["ready", "refused", "ready"], "{report}");
        assert!(rows[1]["reasons"][0].as_str().unwrap().starts_with("it repeats the heading"), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flag_that_is_null_locks_out_as_in_jdbc() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("users");
    let mut contents: Vec<String> = ["NULL", "[ ]", "-", "N/A", "", "\\N"]
        .map(|null| format!("username\tpassword\tauthorities\taccount_non_locked\nUSER\t{HASH}\tR\t{null}\n"))
        .into();
    contents.push(
        json!({ "username": "USER", "password": HASH, "authorities": "R", "enabled": null }).to_string(),
    );
    for (number, content) in contents.iter().enumerate() {
        let rows = import_users(&shell, &file, &content.replace("USER", &format!("n{number}")), 0);
        assert!(rows[0]["losses"].to_string().contains("is NULL, which JDBC reads as false"), "{rows:?}");
        assert_eq!(shell.ok(&format!("user show n{number} --brand acme"), "")["enabled"], false, "{content}");
    }
    let content = format!("username,password,authorities,locked\nkim,{HASH},R,NULL\n");
    import_users(&shell, &file, &content, 0);
    assert_eq!(shell.ok("user show kim --brand acme", "")["enabled"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flag_is_read_in_every_spelling() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("users.json");
    for (number, (flag, value)) in [
        ("accountLocked", true),
        ("isEnabled", false),
        ("isActive", false),
        ("credentialsExpired", true),
        ("is_locked", true),
        ("IS_ACCOUNT_NON_EXPIRED", false),
        ("Non-Locked", false),
    ]
    .into_iter()
    .enumerate()
    {
        let row = json!({ "username": format!("u{number}"), "password": HASH, "roles": "R", flag: value });
        let rows = import_users(&shell, &file, &row.to_string(), 0);
        assert_eq!(rows[0]["dropped"], json!([]), "{flag}: {rows:?}");
        assert_eq!(shell.ok(&format!("user show u{number} --brand acme"), "")["enabled"], false, "{flag}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_columns_of_roles_that_differ_are_refused() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let (file, mapping) = (folder.path().join("users.csv"), folder.path().join("mapping.toml"));
    let content = format!(
        "username,password,role,authorities\nkim,{HASH},staff,ROLE_ADMIN\nlee,{HASH},X,X\nmia,{HASH},,ROLE_Y\n"
    );
    let rows = import_users(&shell, &file, &content, 4);
    let reason = rows[0]["reasons"][0].as_str().unwrap();
    assert!(reason.contains("authorities, role: two columns") && reason.contains("[from] roles"), "{reason}");
    assert_eq!((roles(&shell, "lee"), roles(&shell, "mia")), (json!(["X"]), json!(["ROLE_Y"])));
    std::fs::write(&mapping, "[from]\nroles = \"/authorities\"\n").unwrap();
    let line = format!("user import {} --brand acme --mapping {}", file.display(), mapping.display());
    import(&shell, &line, 0);
    assert_eq!(roles(&shell, "kim"), json!(["ROLE_ADMIN"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_for_each_authority_is_known_by_the_columns_that_are_read() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let (one, two) = (folder.path().join("one.csv"), folder.path().join("two.csv"));
    for (first, second) in [
        (format!("username,password,role_id,authority\nkim,{HASH},7,A\nkim,{HASH},8,B\n"), None),
        (format!("username,password,authority\nkim,{HASH},A\nKim,{HASH},B\n"), None),
        (
            format!("username,password,authority\nkim,{HASH},A\n"),
            Some(format!("id,username,password,authority\n1,kim,{HASH},B\n")),
        ),
    ] {
        std::fs::write(&one, &first).unwrap();
        std::fs::write(
            &two,
            second.unwrap_or_else(|| format!("username,password,authority\nlee,{HASH},A\n")),
        )
        .unwrap();
        let line = format!("user import {} {} --brand acme", one.display(), two.display());
        let error = String::from_utf8(shell.run(&line, "").stderr).unwrap();
        assert!(
            error.contains("a row for each authority") && error.contains("the same user"),
            "{first}: {error}"
        );
        assert_eq!(issuer.count("principals").await, 2, "{first}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_in_json_may_be_called_nan() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("users.json");
    for name in ["nan", "na", "nil"] {
        let row = json!({ "username": name, "password": HASH, "roles": "R" });
        import_users(&shell, &file, &row.to_string(), 0);
        assert_eq!(roles(&shell, name), json!(["R"]));
    }
    let row = json!({ "username": "NULL", "password": HASH, "roles": "R" });
    import_users(&shell, &file, &row.to_string(), 4);
}
