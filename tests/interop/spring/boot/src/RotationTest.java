import static org.assertj.core.api.Assertions.assertThat;

import com.nimbusds.jwt.SignedJWT;
import harness.Countersign;
import java.text.ParseException;
import java.time.Duration;
import java.time.Instant;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** An API while the issuer's keys change. */
class RotationTest {
    static final String[] REPORTER = {"--grant", "client_credentials", "--audience", "https://api.example.com"};

    /** Each token passes while keys rotate, and the first one until a minute after its `exp`. */
    @Test
    void keysRotateWhileTheApiRuns() throws ParseException {
        try (var issuer = Countersign.start("--rotate-every", "20s");
                var api = Programs.api(issuer.url, "api.yaml", List.of(AccessTokenType.class))) {
            issuer.createClient("reporter", REPORTER);
            Set<String> kids = new HashSet<>();
            String first = issuer.accessToken("reporter");
            var expires = Instant.ofEpochSecond(((Number) Countersign.claims(first).get("exp")).longValue());
            var refused = expires.plusSeconds(60);
            while (kids.size() < 4 || Instant.now().isBefore(refused)) {
                assertThat(Instant.now()).as("%s", kids).isBefore(expires.plusSeconds(180));
                String token = issuer.accessToken("reporter");
                kids.add(SignedJWT.parse(token).getHeader().getKeyID());
                assertThat(api.call(token).statusCode()).isEqualTo(200);
                pause(500);
            }
            assertThat(api.call(first).statusCode()).isEqualTo(401);
        }
    }

    /** A withdrawn key is trusted for at most five minutes after the JWKS no longer has it. */
    @Test
    void aKeyIsWithdrawn() throws Exception {
        try (var issuer = Countersign.start();
                var api = Programs.api(issuer.url, "api.yaml", List.of(AccessTokenType.class))) {
            issuer.createClient("reporter", REPORTER);
            String token = issuer.accessToken("reporter");
            String kid = SignedJWT.parse(token).getHeader().getKeyID();
            assertThat(api.call(token).statusCode()).isEqualTo(200);
            issuer.run("key", "withdraw", kid, "--force", "--yes");
            assertThat(api.call(token).statusCode()).as("Spring's copy of the JWKS").isEqualTo(200);
            var limit = Instant.now().plus(Duration.ofMinutes(5));
            while (Programs.text(issuer.url + "/.well-known/jwks.json").contains(kid)) {
                assertThat(Instant.now()).isBefore(limit);
                pause(500);
            }
            limit = Instant.now().plus(Duration.ofMinutes(5)).plusSeconds(10);
            while (api.call(token).statusCode() == 200) {
                assertThat(Instant.now()).isBefore(limit);
                pause(1000);
            }
            assertThat(api.call(issuer.accessToken("reporter")).statusCode()).isEqualTo(200);
        }
    }

    private static void pause(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
