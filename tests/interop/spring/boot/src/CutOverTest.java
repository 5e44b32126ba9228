import static org.assertj.core.api.Assertions.assertThat;

import harness.Countersign;
import harness.Database;
import harness.Forgeries;
import harness.Imports;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.springframework.core.io.ClassPathResource;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import org.springframework.jdbc.datasource.init.ResourceDatabasePopulator;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.server.authorization.client.JdbcRegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.settings.ClientSettings;
import org.springframework.web.client.RestClient;

/** The cut-over of docs/migrate-from-spring.md, with Spring Authorization Server as the old issuer. */
class CutOverTest {
    static final List<String> CLIENTS = List.of("billing-batch", "voice-gateway", "partner-app");
    static final String[] SECRETS = {
        "--BILLING_BATCH_SECRET=" + Countersign.secretOf("billing-batch"),
        "--PARTNER_APP_SECRET=" + Countersign.secretOf("partner-app"),
    };
    static final String CALLBACK = "http://127.0.0.1/callback";

    private final Database database = Database.create(Database.Kind.H2, "cutover");
    private final JdbcRegisteredClientRepository clients = fill(database);
    private final String signingKey = AuthorizationServer.newSigningKey();

    @Test
    void clientsMoveOneByOneAndBack() throws Exception {
        String port;
        String oldLogin;
        try (var countersign = Countersign.start(); var stranger = Countersign.start()) {
            stranger.createClient("billing-batch", "--grant", "client_credentials", "--audience", "https://api.example.com");
            try (var old = AuthorizationServer.start(clients, signingKey, "--server.port=0")) {
                port = old.url().replaceFirst(".*:", "");
                try (var api = api(old.url(), countersign.url)) {
                    // Step 1: the API trusts both, and nothing has moved.
                    assertThat(api.call(token(old, "voice-gateway")).statusCode()).isEqualTo(200);
                    assertThat(callerThroughProgram(old.url(), api)).isEqualTo("billing-batch");

                    // Step 2: the import. Both issuers know the client and its secret.
                    importClients(countersign);
                    assertThat(api.call(token(old, "billing-batch")).statusCode()).isEqualTo(200);
                    assertThat(api.call(countersign.accessToken("billing-batch")).statusCode()).isEqualTo(200);

                    String good = countersign.accessToken(
                            "billing-batch", "grant_type", "client_credentials", "scope", "reports:read");
                    for (var bad : Forgeries.of(good).entrySet()) {
                        assertThat(api.call(bad.getValue()).statusCode()).as(bad.getKey()).isEqualTo(401);
                    }
                    assertThat(api.call(stranger.accessToken("billing-batch")).statusCode()).isEqualTo(401);

                    // Step 3: a client moves by its issuer-uri alone, back, and again; the other one stays.
                    for (String issuer : List.of(countersign.url, old.url(), countersign.url)) {
                        assertThat(callerThroughProgram(issuer, api)).isEqualTo("billing-batch");
                        assertThat(api.call(token(old, "voice-gateway")).statusCode()).isEqualTo(200);
                    }

                    // Step 4: users. A refresh token of the old issuer stays with the old issuer.
                    oldLogin = old.login("partner-app", Countersign.secretOf("partner-app"), CALLBACK);
                    var refused = countersign.token("partner-app", Countersign.secretOf("partner-app"), "grant_type",
                            "refresh_token", "refresh_token", oldLogin, "brandKey", "acme");
                    assertThat(refused.status()).isEqualTo(400);
                    assertThat(refused.text("error")).isEqualTo("invalid_grant");
                    var again = countersign.token("partner-app", Countersign.secretOf("partner-app"), "grant_type",
                            "password", "username", "kim@example.com", "password", "correct horse", "brandKey", "acme");
                    assertThat(api.call(again.text("access_token")).statusCode()).isEqualTo(200);
                    assertThat(api.call(refreshed(old, oldLogin)).statusCode()).isEqualTo(200);
                }
            }

            // Step 5: the old issuer is off. An API that still trusts both serves the new tokens.
            String oldUrl = "http://127.0.0.1:" + port;
            try (var api = api(oldUrl, countersign.url)) {
                assertThat(api.call(countersign.accessToken("billing-batch")).statusCode()).isEqualTo(200);
                // The way back: its table and its key are still there.
                try (var old = AuthorizationServer.start(clients, signingKey, "--server.port=" + port)) {
                    assertThat(api.call(token(old, "voice-gateway")).statusCode()).isEqualTo(200);
                    // The end: an API that trusts the new issuer alone.
                    try (var last = Programs.api(countersign.url, "api.yaml", List.of(AccessTokenType.class))) {
                        assertThat(last.call(countersign.accessToken("voice-gateway")).statusCode()).isEqualTo(200);
                        assertThat(last.call(token(old, "voice-gateway")).statusCode()).isEqualTo(401);
                    }
                }
            }
        }
    }

    private static Programs.Api api(String old, String countersign) {
        return Programs.api(countersign, "both-issuers.yaml", List.of(BothIssuers.class, Authorities.class),
                "--issuers.old=" + old);
    }

    /** The program of docs/clients.md, with another issuer in its configuration. */
    private static Object callerThroughProgram(String issuer, Programs.Api api) {
        List<Class<?>> sources = List.of(Programs.Defaults.class, Tokens.class, Reports.class);
        try (var program = Programs.start(issuer, "client.yaml", sources, SECRETS)) {
            return program.getBean(RestClient.class).get().uri(api.url()).retrieve().body(Map.class).get("name");
        }
    }

    private static String token(AuthorizationServer old, String client) {
        return Countersign.post(old.url() + "/oauth2/token", client, Countersign.secretOf(client),
                List.of("grant_type", "client_credentials", "scope", "reports:read")).text("access_token");
    }

    private static String refreshed(AuthorizationServer old, String refreshToken) {
        return Countersign.post(old.url() + "/oauth2/token", "partner-app", Countersign.secretOf("partner-app"),
                List.of("grant_type", "refresh_token", "refresh_token", refreshToken)).text("access_token");
    }

    private void importClients(Countersign countersign) {
        var dumps = database.export("clients", "SELECT * FROM oauth2_registered_client", RegisteredClientsTest.COLUMNS);
        var rows = Imports.run(countersign, List.of("client", "import", "spring"), dumps, "--brand", "acme",
                "--operator", "alice.ops", "--audience", "https://api.example.com");
        assertThat(rows.keySet()).containsExactlyInAnyOrderElementsOf(CLIENTS);
        assertThat(rows.values()).noneMatch(row -> row.verdict().equals("refused"));
        // Spring Authorization Server has no password grant; here the app has no authorization code.
        countersign.run("client", "update", "partner-app", "--grant", "password", "--grant", "refresh_token");
        countersign.runWithInput("correct horse", "user", "create", "kim@example.com", "--brand", "acme",
                "--role", "subscriber", "--password-stdin");
    }

    private static JdbcRegisteredClientRepository fill(Database database) {
        var source = new DriverManagerDataSource(database.url, database.user, "");
        var schema = "org/springframework/security/oauth2/server/authorization/client/oauth2-registered-client-schema.sql";
        new ResourceDatabasePopulator(new ClassPathResource(schema)).execute(source);
        var repository = new JdbcRegisteredClientRepository(new JdbcTemplate(source));
        for (String id : CLIENTS) {
            var client = RegisteredClient.withId("row-" + id)
                    .clientId(id)
                    .clientSecret(Hashes.encode("bcrypt", Countersign.secretOf(id)))
                    .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)
                    .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
                    .scope("reports:read");
            if (id.equals("partner-app")) {
                client.authorizationGrantType(AuthorizationGrantType.AUTHORIZATION_CODE)
                        .authorizationGrantType(AuthorizationGrantType.REFRESH_TOKEN)
                        .redirectUri(CALLBACK)
                        .clientSettings(ClientSettings.builder().requireProofKey(false)
                                .requireAuthorizationConsent(false).build());
            }
            repository.save(client.build());
        }
        return repository;
    }
}
