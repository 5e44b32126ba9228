import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.nimbusds.jose.util.JSONObjectUtils;
import harness.Countersign;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.security.authentication.TestingAuthenticationToken;
import org.springframework.security.oauth2.client.ClientAuthorizationException;
import org.springframework.security.oauth2.client.OAuth2AuthorizeRequest;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClient;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClientManager;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClientService;
import org.springframework.web.client.HttpClientErrorException;
import org.springframework.web.client.RestClient;
import org.springframework.web.reactive.function.client.WebClient;

/** Programs with the clients of docs/clients.md, and an API that they call. */
class ClientTest {
    static final String[] SECRETS = {
        "--BILLING_BATCH_SECRET=" + Countersign.secretOf("billing-batch"),
        "--PARTNER_APP_SECRET=" + Countersign.secretOf("partner-app"),
    };
    static Countersign issuer;
    static Programs.Api api;

    @BeforeAll
    static void start() {
        issuer = Countersign.start();
        issuer.runWithInput("staple battery", "operator", "create", "bert.ops", "--brand", "acme", "--role", "care",
                "--password-stdin");
        issuer.runWithInput("correct horse", "user", "create", "kim@example.com", "--brand", "acme",
                "--role", "subscriber", "--password-stdin");
        issuer.createClient("billing-batch", "--grant", "client_credentials", "--scope", "reports:read", "--brand",
                "acme", "--brand", "globex", "--operator", "alice.ops", "--audience", "https://api.example.com");
        // Spring refreshes a token a minute before its end: this one at each use.
        issuer.createClient("partner-app", "--grant", "operator_password", "--grant", "password", "--grant", "refresh_token",
                "--brand", "acme", "--scope", "care:read", "--audience", "https://api.example.com", "--access-ttl", "60");
        api = Programs.api(issuer.url, "api.yaml", List.of(AccessTokenType.class));
    }

    @AfterAll
    static void stop() {
        api.close();
        issuer.close();
    }

    private static ConfigurableApplicationContext program(String... properties) {
        List<Class<?>> sources = List.of(Programs.Defaults.class, Tokens.class, Reports.class, OperatorLogin.class);
        return Programs.start(issuer.url, "client.yaml", sources, properties);
    }

    @Test
    void bothHttpClientsBringATokenForTheBrandAndTheOperator() throws Exception {
        try (var program = program(SECRETS)) {
            String answer = program.getBean(RestClient.class).get().uri(api.url()).retrieve().body(String.class);
            assertThat(JSONObjectUtils.parse(answer)).containsEntry("name", "billing-batch");
            var token = program.getBean(OAuth2AuthorizedClientService.class)
                    .loadAuthorizedClient("reports", "anonymousUser").getAccessToken();
            assertThat(Countersign.claims(token.getTokenValue())).containsEntry("brandKey", "acme")
                    .containsEntry("operator", "alice.ops").containsEntry("scope", "reports:read");
        }
        try (var program = program(SECRETS)) {
            var answer = program.getBean(WebClient.class).get().uri(api.url()).retrieve().bodyToMono(Map.class).block();
            assertThat(answer.get("name")).isEqualTo("billing-batch");
        }
    }

    @Test
    void anOperatorLogsInAndStaysLoggedIn() {
        try (var program = program(SECRETS)) {
            var principal = new TestingAuthenticationToken("bert", null);
            var first = program.getBean(OperatorLogin.class).login(principal, "bert.ops", "staple battery", "acme");
            assertThat(Countersign.claims(first.getAccessToken().getTokenValue()))
                    .containsEntry("operator", "bert.ops").containsEntry("brandKey", "acme");
            var manager = program.getBean(OAuth2AuthorizedClientManager.class);
            OAuth2AuthorizedClient last = first;
            for (int refresh = 0; refresh < 3; refresh++) {
                var next = manager.authorize(OAuth2AuthorizeRequest.withClientRegistrationId("operators")
                        .principal(principal).build());
                assertThat(next.getRefreshToken().getTokenValue()).isNotEqualTo(last.getRefreshToken().getTokenValue());
                assertThat(api.call(next.getAccessToken().getTokenValue()).statusCode()).isEqualTo(200);
                last = next;
            }
        }
    }

    @Test
    void aUserLogsIn() {
        try (var program = program(SECRETS[0], SECRETS[1],
                "--spring.security.oauth2.client.registration.operators.authorization-grant-type=password")) {
            var tokens = program.getBean(OperatorLogin.class).login(
                    new TestingAuthenticationToken("kim", null), "kim@example.com", "correct horse", "acme");
            assertThat((String) Countersign.claims(tokens.getAccessToken().getTokenValue()).get("sub")).startsWith("usr_");
        }
    }

    @Test
    void afterA401TheNextRequestHasANewToken() {
        try (var program = program(SECRETS)) {
            var store = program.getBean(OAuth2AuthorizedClientService.class);
            for (Runnable call : List.<Runnable>of(
                    () -> program.getBean(RestClient.class).get().uri(api.url() + "?x").retrieve().body(String.class),
                    () -> program.getBean(WebClient.class).get().uri(api.url()).retrieve().toBodilessEntity().block())) {
                call.run();
                var good = store.loadAuthorizedClient("reports", "anonymousUser");
                var spoilt = new org.springframework.security.oauth2.core.OAuth2AccessToken(
                        good.getAccessToken().getTokenType(), good.getAccessToken().getTokenValue() + "A",
                        good.getAccessToken().getIssuedAt(), good.getAccessToken().getExpiresAt());
                store.saveAuthorizedClient(
                        new OAuth2AuthorizedClient(good.getClientRegistration(), "anonymousUser", spoilt),
                        new TestingAuthenticationToken("anonymousUser", null));
                assertThatThrownBy(call::run).hasMessageContaining("401");
                call.run();
            }
        }
    }

    @Test
    void errors() {
        try (var program = program("--BILLING_BATCH_SECRET=wrong", SECRETS[1])) {
            assertThat(errorOf(program)).isEqualTo("invalid_token_response");
            var login = program.getBean(OperatorLogin.class);
            assertThatThrownBy(() -> login.login(new TestingAuthenticationToken("b", null), "bert.ops", "no", "acme"))
                    .hasMessageContaining("invalid_grant");
        }
        try (var program = program(SECRETS[0], "--PARTNER_APP_SECRET=wrong",
                "--spring.security.oauth2.client.registration.reports.scope=reports:write")) {
            assertThat(errorOf(program)).isEqualTo("invalid_scope");
            var login = program.getBean(OperatorLogin.class);
            assertThatThrownBy(() -> login.login(new TestingAuthenticationToken("b", null), "bert.ops", "no", "acme"))
                    .isInstanceOf(HttpClientErrorException.Unauthorized.class);
        }
    }

    private static String errorOf(ConfigurableApplicationContext program) {
        try {
            program.getBean(RestClient.class).get().uri(api.url()).retrieve().body(String.class);
            throw new AssertionError("the request succeeded");
        } catch (ClientAuthorizationException e) {
            String code = e.getError().getErrorCode();
            if (code.equals("invalid_token_response")) {
                assertThat(e).hasRootCauseInstanceOf(HttpClientErrorException.Unauthorized.class);
            }
            return code;
        }
    }
}
