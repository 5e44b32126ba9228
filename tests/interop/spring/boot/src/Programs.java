import harness.Folders;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.security.core.Authentication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** Starts programs of Spring Boot that consist of the docs' snippets. */
final class Programs {
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    private Programs() {}

    /** An API with one resource, which tells its caller who that is. */
    static Api api(String issuer, String configuration, List<Class<?>> snippets, String... properties) {
        List<Class<?>> sources = new ArrayList<>(snippets);
        sources.add(Resource.class);
        return new Api(start(issuer, configuration, sources, properties));
    }

    /** Gets a public document. */
    static String text(String url) {
        try {
            return HTTP.send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofString()).body();
        } catch (IOException | InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static ConfigurableApplicationContext start(
            String issuer, String configuration, List<Class<?>> sources, String... properties) {
        List<String> arguments = new ArrayList<>(List.of(properties));
        arguments.add("--server.port=0");
        arguments.add("--server.address=127.0.0.1");
        arguments.add("--spring.config.location=" + Folders.configuration(configuration, issuer).toUri());
        return new SpringApplicationBuilder(sources.toArray(Class<?>[]::new)).run(arguments.toArray(String[]::new));
    }

    /** Boot's own set-up, except that an authorization server on the classpath is no part of it. */
    @EnableAutoConfiguration(excludeName = {
        "org.springframework.boot.autoconfigure.security.oauth2.server.servlet.OAuth2AuthorizationServerAutoConfiguration",
        "org.springframework.boot.autoconfigure.security.oauth2.server.servlet.OAuth2AuthorizationServerJwtAutoConfiguration",
        "org.springframework.boot.security.oauth2.server.authorization.autoconfigure.servlet"
                + ".OAuth2AuthorizationServerAutoConfiguration",
        "org.springframework.boot.security.oauth2.server.authorization.autoconfigure.servlet"
                + ".OAuth2AuthorizationServerJwtAutoConfiguration",
    })
    static class Defaults {}

    @RestController
    static class Resource extends Defaults {
        @GetMapping("/caller")
        Map<String, Object> caller(Authentication authentication) {
            var authorities = new TreeSet<String>();
            authentication.getAuthorities().forEach(authority -> authorities.add(authority.getAuthority()));
            return Map.of("name", authentication.getName(), "authorities", String.join(" ", authorities));
        }
    }

    record Api(ConfigurableApplicationContext context) implements AutoCloseable {
        String url() {
            return "http://127.0.0.1:" + context.getEnvironment().getProperty("local.server.port") + "/caller";
        }

        /** Calls the API with a token. */
        HttpResponse<String> call(String token) {
            try {
                return HTTP.send(
                        HttpRequest.newBuilder(URI.create(url())).header("Authorization", "Bearer " + token).build(),
                        HttpResponse.BodyHandlers.ofString());
            } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void close() {
            context.close();
        }
    }
}
