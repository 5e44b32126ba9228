import static org.assertj.core.api.Assertions.assertThat;

import harness.Countersign;
import harness.Database;
import harness.Imports;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TimeZone;
import java.util.function.Consumer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.springframework.core.io.ClassPathResource;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import org.springframework.jdbc.datasource.init.ResourceDatabasePopulator;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.server.authorization.client.JdbcRegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.settings.OAuth2TokenFormat;
import org.springframework.security.oauth2.server.authorization.settings.TokenSettings;

/**
 * Spring Authorization Server's table: Spring fills it, the usual tools export it, and each client's
 * token is compared with the one of Spring's own server over the same table.
 */
class RegisteredClientsTest {
    static final String SECRET = "p&rtner sécret+1%";
    static final List<String> COLUMNS = List.of("id", "client_id", "client_id_issued_at", "client_secret",
            "client_secret_expires_at", "client_name", "client_authentication_methods", "authorization_grant_types",
            "redirect_uris", "post_logout_redirect_uris", "scopes", "client_settings", "token_settings");

    /** A client moves as it is, with a loss that is named, or not at all. */
    enum Fate { READY, LOSS, REFUSED }

    private final Map<RegisteredClient, Fate> clients = new LinkedHashMap<>();

    RegisteredClientsTest() {
        for (String hash : Hashes.names()) {
            client(hash.replace('@', '.'), Fate.READY, c -> c.clientSecret(Hashes.encode(hash, SECRET)));
        }
        client("without-scopes", Fate.READY, c -> c.scopes(Set::clear));
        client("a-week", Fate.READY, c -> c.tokenSettings(lifetime(Duration.ofHours(12))));
        client("odd-seconds", Fate.READY, c -> c.tokenSettings(lifetime(Duration.ofMillis(90_500))));
        client("expiring", Fate.READY, c -> c.clientSecretExpiresAt(Instant.parse("2031-02-03T04:05:06Z")));
        client("expired", Fate.LOSS, c -> c.clientSecretExpiresAt(Instant.parse("2021-02-03T04:05:06Z")));
        client("named", Fate.READY, c -> c.clientName("São Paulo\\Zürich, \"a;b\"\tc | 'd'"));
        client("in-the-body", Fate.READY, c -> c.clientAuthenticationMethods(methods -> {
            methods.clear();
            methods.add(ClientAuthenticationMethod.CLIENT_SECRET_POST);
        }));
        client("web-portal", Fate.LOSS, c -> c.authorizationGrantType(AuthorizationGrantType.AUTHORIZATION_CODE)
                .authorizationGrantType(AuthorizationGrantType.REFRESH_TOKEN)
                .redirectUri("https://portal.example.com/cb?a=1&b=%2C")
                .postLogoutRedirectUri("https://portal.example.com/"));
        client("opaque", Fate.LOSS, c -> c.tokenSettings(
                TokenSettings.builder().accessTokenFormat(OAuth2TokenFormat.REFERENCE).build()));
        client("browser", Fate.REFUSED, c -> c.clientSecret(null)
                .clientAuthenticationMethods(methods -> {
                    methods.clear();
                    methods.add(ClientAuthenticationMethod.NONE);
                })
                .authorizationGrantTypes(grants -> {
                    grants.clear();
                    grants.add(AuthorizationGrantType.AUTHORIZATION_CODE);
                })
                .redirectUri("https://spa.example.com/"));
        client("device", Fate.REFUSED, c -> c.authorizationGrantTypes(grants -> {
            grants.clear();
            grants.add(AuthorizationGrantType.DEVICE_CODE);
        }));
    }

    private static TokenSettings lifetime(Duration duration) {
        return TokenSettings.builder().accessTokenTimeToLive(duration).refreshTokenTimeToLive(Duration.ofDays(7)).build();
    }

    private void client(String id, Fate fate, Consumer<RegisteredClient.Builder> changes) {
        var client = RegisteredClient.withId("row-" + clients.size())
                .clientId(id)
                .clientSecret(Hashes.encode("bcrypt", SECRET))
                .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)
                .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
                .scope("reports:read")
                .scope("reports:write");
        changes.accept(client);
        clients.put(client.build(), fate);
    }

    @ParameterizedTest
    @EnumSource(Database.Kind.class)
    void everyClientKeepsItsSecretAndItsClaims(Database.Kind kind) throws IOException {
        var database = Database.create(kind, "registered");
        var source = new DriverManagerDataSource(database.url, database.user, "");
        var schema = "org/springframework/security/oauth2/server/authorization/client/oauth2-registered-client-schema.sql";
        new ResourceDatabasePopulator(new ClassPathResource(schema)).execute(source);
        var repository = new JdbcRegisteredClientRepository(new JdbcTemplate(source));
        clients.keySet().forEach(repository::save);
        var exports = database.export("clients", "SELECT * FROM oauth2_registered_client", COLUMNS);

        var mapping = harness.Folders.fresh("mapping").resolve("mapping.toml");
        Files.writeString(mapping, "[from]\naudiences = \"/client_id\"\n");
        try (var issuer = Countersign.start(); var spring = AuthorizationServer.start(repository)) {
            var rows = Imports.run(issuer, List.of("client", "import", "spring"), exports, "--brand", "acme",
                    "--mapping", mapping.toString(), "--hash-plain", "--allow-legacy",
                    "--time-zone", TimeZone.getDefault().getID());
            assertThat(rows.keySet()).containsExactlyInAnyOrderElementsOf(
                    clients.keySet().stream().map(RegisteredClient::getClientId).toList());
            assertThat(issuer.run("--json", "client", "secret", "list", "expiring")).contains("2031-02-03T04:05:06");
            clients.forEach((client, fate) -> compare(client, fate, rows.get(client.getClientId()), issuer, spring));
        }
    }

    private static void compare(RegisteredClient client, Fate fate, Imports.Row row, Countersign issuer,
            AuthorizationServer spring) {
        String id = client.getClientId();
        String verdict = switch (fate) {
            case READY -> "ready";
            case LOSS -> "ready with a loss";
            case REFUSED -> "refused";
        };
        assertThat(row.verdict()).as(row.toString()).isEqualTo(verdict);
        if (fate == Fate.REFUSED) {
            return;
        }
        for (String scope : List.of("", "reports:read", "reports:write reports:read", "reports:delete")) {
            var form = new ArrayList<>(List.of("grant_type", "client_credentials"));
            if (!scope.isEmpty()) {
                form.addAll(List.of("scope", scope));
            }
            var ours = issuer.token(id, SECRET, form.toArray(String[]::new));
            var theirs = id.equals("in-the-body")
                    ? Countersign.postInBody(spring.url() + "/oauth2/token", id, SECRET, form)
                    : Countersign.post(spring.url() + "/oauth2/token", id, SECRET, form);
            String what = id + ", scope " + scope + ": ours " + ours + ", theirs " + theirs;
            assertThat(ours.status()).as(what).isEqualTo(theirs.status());
            if (ours.status() != 200) {
                assertThat(ours.text("error")).as(what).isEqualTo(theirs.text("error"));
                continue;
            }
            assertThat(Countersign.words(ours.body().get("scope"))).as(what)
                    .isEqualTo(Countersign.words(theirs.body().get("scope")));
            var claims = Countersign.claims(ours.text("access_token"));
            assertThat(claims).as(what).containsEntry("sub", id).containsEntry("aud", id);
            if (!id.equals("opaque")) {
                var expected = Countersign.claims(theirs.text("access_token"));
                assertThat(claims.get("sub")).as(what).isEqualTo(expected.get("sub"));
                assertThat(List.of(claims.get("aud"))).as(what).isIn(expected.get("aud"), List.of(expected.get("aud")));
                assertThat(Countersign.words(claims.get("scope"))).as(what)
                        .isEqualTo(expected.get("scope") == null ? List.of() : sorted((List<?>) expected.get("scope")));
                long difference = lifetime(claims) - lifetime(expected);
                assertThat(difference).as(what).isBetween(0L, 1L);
            }
        }
        assertThat(issuer.token(id, SECRET + "x", "grant_type", "client_credentials").status()).isEqualTo(401);
    }

    private static List<String> sorted(List<?> list) {
        return list.stream().map(Object::toString).sorted().toList();
    }

    private static long lifetime(Map<String, Object> claims) {
        return ((Number) claims.get("exp")).longValue() - ((Number) claims.get("iat")).longValue();
    }
}
