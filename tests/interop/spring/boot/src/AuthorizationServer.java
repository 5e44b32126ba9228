import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.RSAKey;
import com.nimbusds.jose.jwk.gen.RSAKeyGenerator;
import com.nimbusds.jose.jwk.source.ImmutableJWKSet;
import com.nimbusds.jose.jwk.source.JWKSource;
import harness.Countersign;
import java.io.IOException;
import java.net.CookieManager;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.text.ParseException;
import java.util.List;
import java.util.regex.Pattern;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.support.GenericApplicationContext;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClientRepository;

/** Spring Authorization Server as Spring Boot configures it, over a table of clients, with one user. */
record AuthorizationServer(ConfigurableApplicationContext context) implements AutoCloseable {
    private static final Pattern CSRF = Pattern.compile("name=\"_csrf\"[^>]*value=\"([^\"]*)\"");

    static String newSigningKey() {
        try {
            return new RSAKeyGenerator(2048).keyID("old-key").generate().toJSONString();
        } catch (JOSEException e) {
            throw new IllegalStateException(e);
        }
    }

    static AuthorizationServer start(RegisteredClientRepository clients) {
        return start(clients, newSigningKey(), "--server.port=0");
    }

    static AuthorizationServer start(RegisteredClientRepository clients, String signingKey, String port) {
        return new AuthorizationServer(new SpringApplicationBuilder(Program.class)
                .initializers(context -> {
                    var beans = (GenericApplicationContext) context;
                    beans.registerBean(RegisteredClientRepository.class, () -> clients);
                    beans.registerBean(JWKSource.class, () -> keys(signingKey));
                })
                .run(port, "--server.address=127.0.0.1", "--spring.security.user.name=kim",
                        "--spring.security.user.password=correct horse"));
    }

    private static JWKSource<?> keys(String signingKey) {
        try {
            return new ImmutableJWKSet<>(new JWKSet(RSAKey.parse(signingKey)));
        } catch (ParseException e) {
            throw new IllegalStateException(e);
        }
    }

    String url() {
        return "http://127.0.0.1:" + context.getEnvironment().getProperty("local.server.port");
    }

    /** Logs the user in with the authorization code grant and returns the refresh token. */
    String login(String client, String secret, String callback) throws IOException, InterruptedException {
        var browser = HttpClient.newBuilder().cookieHandler(new CookieManager()).build();
        String authorize = url() + "/oauth2/authorize?response_type=code&scope=reports:read&client_id=" + client
                + "&redirect_uri=" + callback;
        page(browser, HttpRequest.newBuilder(URI.create(authorize)));
        var form = CSRF.matcher(page(browser, HttpRequest.newBuilder(URI.create(url() + "/login"))).body());
        if (!form.find()) {
            throw new IllegalStateException("the login page has no form");
        }
        page(browser, HttpRequest.newBuilder(URI.create(url() + "/login"))
                .header("Content-Type", "application/x-www-form-urlencoded")
                .POST(HttpRequest.BodyPublishers.ofString(
                        "username=kim&password=correct+horse&_csrf=" + form.group(1))));
        String location = page(browser, HttpRequest.newBuilder(URI.create(authorize)))
                .headers().firstValue("Location").orElseThrow();
        var tokens = Countersign.post(url() + "/oauth2/token", client, secret, List.of("grant_type",
                "authorization_code", "code", location.replaceFirst(".*[?&]code=", ""), "redirect_uri", callback));
        return tokens.text("refresh_token");
    }

    private static HttpResponse<String> page(HttpClient browser, HttpRequest.Builder request)
            throws IOException, InterruptedException {
        return browser.send(request.header("Accept", "text/html").build(), HttpResponse.BodyHandlers.ofString());
    }

    @Override
    public void close() {
        context.close();
    }

    @EnableAutoConfiguration
    static class Program {}
}
