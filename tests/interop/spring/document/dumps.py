"""Dumps of Spring's two tables, which go through a database first."""

import csv
import json
import sqlite3

DETAILS = (
    "client_id resource_ids client_secret scope authorized_grant_types web_server_redirect_uri authorities "
    "access_token_validity refresh_token_validity additional_information autoapprove"
).split()
REGISTERED = (
    "id client_id client_id_issued_at client_secret client_secret_expires_at client_name "
    "client_authentication_methods authorization_grant_types redirect_uris post_logout_redirect_uris scopes "
    "client_settings token_settings"
).split()


def rows_of(table, columns, rows):
    """Writes the rows into a table and returns them as a dump of it would."""
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.execute(f"create table {table} ({', '.join(columns)})")
    for row in rows:
        values = [row.get(column) for column in columns]
        db.execute(f"insert into {table} values ({', '.join('?' for _ in columns)})", values)
    return [dict(row) for row in db.execute(f"select * from {table}")]


def details_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, DETAILS)
        writer.writeheader()
        writer.writerows(rows_of("oauth_client_details", DETAILS, rows))


def registered_json(path, rows):
    path.write_text(json.dumps(rows_of("oauth2_registered_client", REGISTERED, rows), indent=2))


def jackson(settings):
    return json.dumps({"@class": "java.util.Collections$UnmodifiableMap", **settings})


def token_settings(access, refresh):
    """Formats settings as JdbcRegisteredClientRepository does, except that json.dumps omits the
    zeros of 300.000000000."""
    return jackson(
        {
            "settings.token.reuse-refresh-tokens": True,
            "settings.token.id-token-signature-algorithm": [
                "org.springframework.security.oauth2.jose.jws.SignatureAlgorithm",
                "RS256",
            ],
            "settings.token.access-token-time-to-live": ["java.time.Duration", float(access)],
            "settings.token.access-token-format": {
                "@class": "org.springframework.security.oauth2.server.authorization.settings.OAuth2TokenFormat",
                "value": "self-contained",
            },
            "settings.token.refresh-token-time-to-live": ["java.time.Duration", float(refresh)],
        }
    )
