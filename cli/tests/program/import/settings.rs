//! Authentication methods, lifetimes, times, settings and names that tools or people write otherwise.

use countersign_tests::TestIssuer;
use serde_json::{Value, json};

use super::values::{Fixture, HASH, details, registered};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_client_is_refused_and_none_beside_a_secret_is_a_loss() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for (methods, verdict) in [
        (json!("none"), "refused"),
        (json!(["none"]), "refused"),
        (json!("private_key_jwt,none"), "refused"),
        (json!("none,client_secret_basic"), "ready with a loss"),
        (json!(["client_secret_post", "none"]), "ready with a loss"),
        (json!("NULL"), "ready"),
        (Value::Null, "ready"),
    ] {
        let row = registered(&json!({ "client_authentication_methods": methods }));
        let report = fixture.convert(&row, "--audience a --dry-run");
        assert_eq!(report["verdict"], verdict, "{methods}: {report}");
        let said = format!("{}{}", report["reasons"], report["losses"]);
        assert!(
            !said.contains("NULL") && (verdict == "ready" || said.contains("none: not served here")),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lifetime_that_is_no_whole_number_is_refused() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for value in [
        json!("3.600"),
        json!("43.200"),
        json!("12.000"),
        json!("2h ago"),
        json!(-0.5),
        json!("-0.5"),
        json!(59.5),
    ] {
        let report = fixture.convert(&details(&json!({ "access_token_validity": value })), "--audience a");
        assert!(report["reasons"].to_string().contains("not a number of seconds"), "{value}: {report}");
        let settings = json!({ "settings.token.access-token-time-to-live": value });
        let report = fixture.convert(&registered(&json!({ "token_settings": settings })), "--audience a");
        let is_read = value == json!(59.5);
        assert_eq!(report["verdict"] != "refused", is_read, "{value}: {report}");
    }
    let row = details(&json!({ "client_id": "d", "accessTokenValiditySeconds": "720.0" }));
    fixture.convert(&row, "--audience a");
    assert_eq!(fixture.shell.ok("client show d", "")["access_ttl"], 720);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_with_a_zone_behind_it_is_read_in_that_zone() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for (value, expires) in [
        ("2034-06-30T20:00:00[Europe/Berlin]", "2034-06-30T18:00:00Z"),
        ("2034-06-30T20:00:00+02:00[Europe/Berlin]", "2034-06-30T18:00:00Z"),
        ("2034-06-30 20:00:00 +0000 UTC", "2034-06-30T20:00:00Z"),
        ("20340630T200000Z", "2034-06-30T20:00:00Z"),
    ] {
        let row = registered(&json!({ "client_secret_expires_at": value }));
        let report = fixture.convert(&row, "--audience a --time-zone Asia/Tokyo");
        assert_eq!(report["losses"], json!([]), "{value}: {report}");
        assert_eq!(fixture.shell.ok("client secret list c", "")[0]["expires"], expires, "{value}");
    }
    let row = registered(&json!({ "client_secret_expires_at": "+infinity" }));
    assert_eq!(fixture.convert(&row, "--audience a")["verdict"], "ready");
    for value in ["2034063020", "2034-06-30T20:00:00+09:00[Europe/Berlin]", "2034-06-30T20:00:00[Nowhere]"] {
        let row = registered(&json!({ "client_secret_expires_at": value }));
        let report = fixture.convert(&row, "--audience a");
        assert!(report["reasons"].to_string().contains("not a time"), "{value}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_work_differently_are_losses_in_every_spelling() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    let losses = |settings: Value| {
        let more =
            json!({ "token_settings": settings, "authorization_grant_types": "password,refresh_token" });
        let report = fixture.convert(&registered(&more), "--audience a --brand acme --dry-run");
        assert_ne!(report["verdict"], "refused", "{report}");
        report["losses"].to_string()
    };
    let class = json!({ "@class": "java.util.HashMap" });
    for none in [
        Value::Null,
        json!("None"),
        json!("{}"),
        class,
        json!({ "settings.token.access-token-time-to-live": null }),
    ] {
        let losses = losses(none.clone());
        assert!(
            losses.contains("its default of 300 s") && losses.contains("its default of 3600 s"),
            "{none}: {losses}"
        );
    }
    for (name, value, loss) in [
        ("settings.token.reuse-refresh-tokens", json!("true"), "reuse-refresh-tokens"),
        ("settings.token.reuseRefreshTokens", json!(1), "reuse-refresh-tokens"),
        ("settings.token.access-token-format", json!({ "value": "REFERENCE" }), "opaque"),
        (
            "settings.token.access-token-format",
            json!(["org.example.Format", { "value": "reference" }]),
            "opaque",
        ),
    ] {
        assert!(losses(json!({ name: value })).contains(loss), "{name} {value}");
    }
    let settings = json!({
        "settings.token.accessTokenTimeToLive": "PT8M", "settings.token.refreshTokenTimeToLive": "PT2H",
    });
    let more = json!({ "token_settings": settings, "authorization_grant_types": "password,refresh_token" });
    let report = fixture.convert(&registered(&more), "--audience a --brand acme");
    assert_eq!((&report["verdict"], &report["dropped"]), (&json!("ready"), &json!([])), "{report}");
    assert_eq!((fixture.show("access_ttl"), fixture.show("refresh_ttl")), (json!(480), json!(7200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_an_id_is_no_name_and_a_rounded_number_is_no_id() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    let uuid = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
    for (more, name) in [
        (json!({ "client_name": uuid }), "c"),
        (json!({ "id": uuid.to_uppercase(), "client_name": uuid }), "c"),
        (json!({ "id": "AB1", "client_name": "ab1" }), "c"),
        (json!({ "id": "AB1", "client_name": "AB2" }), "AB2"),
    ] {
        let report = fixture.convert(&registered(&more), "--audience a");
        assert_eq!((&report["verdict"], fixture.show("name")), (&json!("ready"), json!(name)), "{report}");
    }
    for id in ["1.23457E+15", "5E+11", "9,87654E+20"] {
        let report = fixture.convert(&registered(&json!({ "client_id": id })), "--audience a");
        assert!(report["reasons"].to_string().contains("a spreadsheet has rounded"), "{id}: {report}");
    }
    let report = fixture.convert(&registered(&json!({ "client_id": 1001 })), "--audience a");
    assert_eq!(report["verdict"], "ready", "{report}");
    assert_eq!(fixture.shell.ok("client show 1001", "")["name"], "1001");
    for id in ["nan", "Nil"] {
        fixture.convert(&registered(&json!({ "client_id": id })), "--audience a");
        assert_eq!(fixture.shell.ok(&format!("client show {id}"), "")["client_id"], id);
    }
    let file = fixture.write(
        "row.csv",
        format!("client_id,client_secret,scope,authorized_grant_types\nnan,{HASH},a,password\n"),
    );
    assert_eq!(fixture.run(&file, "--audience a --brand acme")["clients"][0]["verdict"], "refused");
}
