import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import harness.Countersign;
import harness.Folders;
import harness.Forgeries;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.autoconfigure.jdbc.DataSourceAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.http.HttpEntity;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpMethod;
import org.springframework.security.core.Authentication;
import org.springframework.security.oauth2.client.OAuth2RestTemplate;
import org.springframework.security.oauth2.client.resource.OAuth2AccessDeniedException;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.HttpClientErrorException;
import org.springframework.web.client.RestTemplate;

/** A client and APIs of spring-security-oauth 2.5, with the code of the docs. */
class OldProgramsTest {
    static Countersign issuer;
    static Countersign other;

    @BeforeAll
    static void startTheIssuers() {
        issuer = Countersign.start();
        other = Countersign.start();
        for (var each : List.of(issuer, other)) {
            createClient(each, "billing-batch", "https://api.example.com", "--typ", "JWT");
        }
        createClient(issuer, "new-type", "https://api.example.com");
        createClient(issuer, "elsewhere", "https://other.example.com", "--typ", "JWT");
        createClient(issuer, "reports-api", "https://api.example.com");
    }

    private static void createClient(Countersign at, String id, String audience, String... options) {
        var all = new java.util.ArrayList<>(List.of("--grant", "client_credentials", "--scope", "reports:read", "--role",
                "ROLE_REPORTING", "--brand", "acme", "--operator", "alice.ops", "--audience", audience));
        all.addAll(List.of(options));
        at.createClient(id, all.toArray(String[]::new));
    }

    @AfterAll
    static void stopTheIssuers() {
        issuer.close();
        other.close();
    }

    @Test
    void aClientCallsAnApiWithAKeySet() {
        try (var api = start(OldApi.class, Resource.class); var program = start(OldReports.class)) {
            var reports = program.getBean(OAuth2RestTemplate.class);
            assertThat(reports.getForObject(url(api), String.class))
                    .isEqualTo("billing-batch [ROLE_REPORTING]");
            assertThat(Countersign.claims(reports.getAccessToken().getValue())).containsEntry("brandKey", "acme")
                    .containsEntry("operator", "alice.ops");
            refusesBadTokens(api);
            assertThatThrownBy(() -> call(api, issuer.accessToken("new-type")))
                    .isInstanceOf(HttpClientErrorException.Unauthorized.class)
                    .satisfies(e -> {
                        String message = ((HttpClientErrorException) e).getResponseBodyAsString()
                                .replaceFirst(".*\"error_description\":\"([^\"]*)\".*", "$1");
                        assertThat(Folders.isDocumented("verifying.md", message)).as(message).isTrue();
                    });
        }
    }

    @Test
    void anApiThatAsksTheIssuer() {
        try (var api = start(OldRemoteApi.class, Resource.class)) {
            for (String client : List.of("billing-batch", "new-type")) {
                assertThat(call(api, issuer.accessToken(client))).isEqualTo(client + " [ROLE_REPORTING]");
            }
            refusesBadTokens(api);
        }
    }

    @Test
    void aClientWithAWrongSecret() {
        var program = new SpringApplicationBuilder(Program.class, OldReports.class).run("--server.port=0",
                "--countersign.issuer=" + issuer.url, "--billing-batch.secret=wrong");
        try (program) {
            assertThatThrownBy(() -> program.getBean(OAuth2RestTemplate.class).getAccessToken())
                    .isInstanceOf(OAuth2AccessDeniedException.class);
        }
    }

    private static void refusesBadTokens(ConfigurableApplicationContext api) {
        Map<String, String> bad = new LinkedHashMap<>(Forgeries.of(issuer.accessToken("billing-batch")));
        bad.put("another issuer", other.accessToken("billing-batch"));
        for (var each : bad.entrySet()) {
            assertThatThrownBy(() -> call(api, each.getValue())).as(each.getKey())
                    .isInstanceOf(HttpClientErrorException.Unauthorized.class);
        }
        // 2.5 answers another audience with 403.
        assertThatThrownBy(() -> call(api, issuer.accessToken("elsewhere")))
                .isInstanceOfAny(HttpClientErrorException.Forbidden.class, HttpClientErrorException.Unauthorized.class);
    }

    private static String call(ConfigurableApplicationContext api, String token) {
        var headers = new HttpHeaders();
        headers.setBearerAuth(token);
        return new RestTemplate().exchange(url(api), HttpMethod.GET, new HttpEntity<>(headers), String.class).getBody();
    }

    private static String url(ConfigurableApplicationContext api) {
        return "http://127.0.0.1:" + api.getEnvironment().getProperty("local.server.port") + "/caller";
    }

    private static ConfigurableApplicationContext start(Class<?>... sources) {
        return new SpringApplicationBuilder(Program.class).sources(sources).run("--server.port=0",
                "--server.address=127.0.0.1", "--countersign.issuer=" + issuer.url,
                "--billing-batch.secret=" + Countersign.secretOf("billing-batch"),
                "--reports-api.secret=" + Countersign.secretOf("reports-api"));
    }

    @EnableAutoConfiguration(exclude = DataSourceAutoConfiguration.class)
    static class Program {}

    @RestController
    static class Resource {
        @GetMapping("/caller")
        String caller(Authentication authentication) {
            return authentication.getName() + " " + authentication.getAuthorities();
        }
    }
}
