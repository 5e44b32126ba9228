import static org.assertj.core.api.Assertions.assertThat;

import com.nimbusds.jose.util.JSONObjectUtils;
import harness.Countersign;
import harness.Folders;
import harness.Forgeries;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.oauth2.jwt.JwtTypeValidator;

/** APIs with the configurations of docs/verifying.md, on good tokens and on bad ones. */
class ApiTest {
    static final String[] GRANT = {"--grant", "client_credentials", "--scope", "reports:read", "--role", "reporting"};
    static Countersign issuer;
    static Countersign other;

    @BeforeAll
    static void startTheIssuers() {
        issuer = Countersign.start();
        other = Countersign.start();
        for (Countersign each : List.of(issuer, other)) {
            createClient(each, "reporter", "--audience", "https://api.example.com");
        }
        createClient(issuer, "elsewhere", "--audience", "https://other.example.com");
        createClient(issuer, "old-type", "--audience", "https://api.example.com", "--typ", "JWT");
        createClient(issuer, "reports-api", "--audience", "https://api.example.com");
        issuer.runWithInput("correct horse", "user", "create", "kim@example.com", "--brand", "acme",
                "--role", "subscriber", "--password-stdin");
        createClient(issuer, "app", "--audience", "https://api.example.com", "--grant", "password", "--brand", "acme");
    }

    private static void createClient(Countersign at, String id, String... options) {
        var all = new java.util.ArrayList<>(List.of(GRANT));
        all.addAll(List.of(options));
        at.createClient(id, all.toArray(String[]::new));
    }

    @AfterAll
    static void stopTheIssuers() {
        issuer.close();
        other.close();
    }

    @Test
    void withItsIssuersUrl() throws Exception {
        try (var api = Programs.api(issuer.url, "api.yaml", List.of(AccessTokenType.class))) {
            assertThat(caller(api, issuer.accessToken("reporter"))).containsEntry("name", "reporter")
                    .containsEntry("authorities", "FACTOR_BEARER SCOPE_reports:read".substring(isBoot4() ? 0 : 14));
            refusesBadTokens(api);
            assertThat(api.call(issuer.accessToken("old-type")).statusCode()).isEqualTo(401);
        }
    }

    @Test
    void withItsKeySetAndTheRoles() throws Exception {
        var snippets = List.<Class<?>>of(AccessTokenType.class, Authorities.class);
        try (var api = Programs.api(issuer.url, "api-jwk-set.yaml", snippets)) {
            assertThat(words(caller(api, issuer.accessToken("reporter")).get("authorities")))
                    .contains("SCOPE_reports:read", "ROLE_reporting");
            String login = issuer.accessToken("app", "grant_type", "password", "brandKey", "acme",
                    "username", "kim@example.com", "password", "correct horse");
            assertThat(words(caller(api, login).get("authorities"))).contains("ROLE_subscriber");
            assertThat((String) caller(api, login).get("name")).startsWith("usr_");
            refusesBadTokens(api);
        }
    }

    /** Two properties turn roles into authorities; imported roles have Spring's prefix already. */
    @Test
    void withRolesByProperties() throws Exception {
        String jwt = "--spring.security.oauth2.resourceserver.jwt.";
        for (var prefix : Map.of("ROLE_", "ROLE_reporting", "", "reporting").entrySet()) {
            try (var api = Programs.api(issuer.url, "api.yaml", List.of(AccessTokenType.class),
                    jwt + "authorities-claim-name=roles", jwt + "authority-prefix=" + prefix.getKey())) {
                assertThat(words(caller(api, issuer.accessToken("reporter")).get("authorities")))
                        .contains(prefix.getValue());
            }
        }
    }

    /** Clients may move from one type to the other. */
    @Test
    void withBothTypes() throws Exception {
        try (var api = Programs.api(issuer.url, "api.yaml", List.of(BothTypes.class))) {
            assertThat(caller(api, issuer.accessToken("reporter"))).containsEntry("name", "reporter");
            assertThat(caller(api, issuer.accessToken("old-type"))).containsEntry("name", "old-type");
            refusesBadTokens(api);
        }
    }

    @Configuration
    static class BothTypes extends AccessTokenType {
        @Bean
        @Override
        JwtTypeValidator rfc9068Type() {
            return new JwtTypeValidator("at+jwt", "JWT");
        }
    }

    /** Spring's defaults, which take the tokens of clients with `--typ JWT` alone. */
    @Test
    void withoutTheBean() throws Exception {
        try (var api = Programs.api(issuer.url, "api.yaml", List.of())) {
            assertThat(api.call(issuer.accessToken("old-type")).statusCode()).isEqualTo(200);
            refusesWithAMessageOfThePage(api, issuer.accessToken("reporter"));
        }
    }

    @Test
    void withoutTheAlgorithm() throws Exception {
        try (var api = Programs.api(issuer.url, "api-jwk-set.yaml", List.of(AccessTokenType.class),
                "--spring.security.oauth2.resourceserver.jwt.jws-algorithms=RS256")) {
            refusesWithAMessageOfThePage(api, issuer.accessToken("reporter"));
        }
    }

    @Test
    void withIntrospection() throws Exception {
        try (var api = Programs.api(issuer.url, "api-introspection.yaml", List.of(),
                "--REPORTS_API_SECRET=" + Countersign.secretOf("reports-api"))) {
            String token = issuer.accessToken("reporter");
            assertThat(caller(api, token)).containsEntry("name", "reporter");
            assertThat(words(caller(api, token).get("authorities"))).contains("SCOPE_reports:read");
            for (var bad : Forgeries.of(token).entrySet()) {
                assertThat(api.call(bad.getValue()).statusCode()).as(bad.getKey()).isEqualTo(401);
            }
            assertThat(api.call(other.accessToken("reporter")).statusCode()).isEqualTo(401);
            assertThat(api.call(refreshToken()).statusCode()).isEqualTo(401);
            assertThat(api.call(issuer.accessToken("elsewhere")).statusCode()).isEqualTo(401);
        }
    }

    private static void refusesWithAMessageOfThePage(Programs.Api api, String token) {
        var refused = api.call(token);
        assertThat(refused.statusCode()).isEqualTo(401);
        String challenge = refused.headers().firstValue("WWW-Authenticate").orElseThrow();
        String message = challenge.replaceFirst(".*error_description=\"([^\"]*)\".*", "$1");
        assertThat(Folders.isDocumented("verifying.md", message)).as(message).isTrue();
    }

    private static void refusesBadTokens(Programs.Api api) throws Exception {
        Map<String, String> bad = new LinkedHashMap<>(Forgeries.of(issuer.accessToken("reporter")));
        bad.put("another audience", issuer.accessToken("elsewhere"));
        bad.put("another issuer", other.accessToken("reporter"));
        bad.put("a refresh token", refreshToken());
        for (var each : bad.entrySet()) {
            assertThat(api.call(each.getValue()).statusCode()).as(each.getKey()).isEqualTo(401);
        }
        assertThat(api.call(issuer.accessToken("reporter")).statusCode()).isEqualTo(200);
    }

    private static String refreshToken() {
        return issuer.token("app", Countersign.secretOf("app"), "grant_type", "password", "brandKey", "acme",
                "username", "kim@example.com", "password", "correct horse").text("refresh_token");
    }

    private static Map<String, Object> caller(Programs.Api api, String token) throws Exception {
        var response = api.call(token);
        assertThat(response.statusCode()).as("%s %s", response.headers().map(), response.body()).isEqualTo(200);
        return JSONObjectUtils.parse(response.body());
    }

    private static List<String> words(Object text) {
        return Countersign.words(text);
    }

    private static boolean isBoot4() {
        return org.springframework.boot.SpringBootVersion.getVersion().startsWith("4");
    }
}
