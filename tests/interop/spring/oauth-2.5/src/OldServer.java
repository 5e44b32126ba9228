import harness.Countersign;
import java.util.List;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.autoconfigure.jdbc.DataSourceAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.support.GenericApplicationContext;
import org.springframework.security.authentication.ProviderManager;
import org.springframework.security.authentication.dao.DaoAuthenticationProvider;
import org.springframework.security.core.userdetails.UserDetailsService;
import org.springframework.security.oauth2.config.annotation.configurers.ClientDetailsServiceConfigurer;
import org.springframework.security.oauth2.config.annotation.web.configuration.AuthorizationServerConfigurerAdapter;
import org.springframework.security.oauth2.config.annotation.web.configuration.EnableAuthorizationServer;
import org.springframework.security.oauth2.config.annotation.web.configurers.AuthorizationServerEndpointsConfigurer;
import org.springframework.security.oauth2.config.annotation.web.configurers.AuthorizationServerSecurityConfigurer;
import org.springframework.security.oauth2.provider.client.JdbcClientDetailsService;
import org.springframework.security.oauth2.provider.token.store.JwtAccessTokenConverter;
import org.springframework.security.oauth2.provider.token.store.JwtTokenStore;

/** The authorization server of spring-security-oauth 2.5, with JWTs, over tables of clients and users. */
@SuppressWarnings("deprecation")
record OldServer(ConfigurableApplicationContext context) implements AutoCloseable {
    static OldServer start(JdbcClientDetailsService clients, UserDetailsService users) {
        return new OldServer(new SpringApplicationBuilder(Program.class)
                .initializers(context -> ((GenericApplicationContext) context)
                        .registerBean(Server.class, () -> new Server(clients, users)))
                .run("--server.port=0", "--server.address=127.0.0.1"));
    }

    Countersign.Answer token(String client, String secret, List<String> form) {
        String url = "http://127.0.0.1:" + context.getEnvironment().getProperty("local.server.port") + "/oauth/token";
        return Countersign.postUnencoded(url, client, secret, form);
    }

    @Override
    public void close() {
        context.close();
    }

    @EnableAutoConfiguration(exclude = DataSourceAutoConfiguration.class)
    @EnableAuthorizationServer
    static class Program {}

    static class Server extends AuthorizationServerConfigurerAdapter {
        private final JdbcClientDetailsService clients;
        private final UserDetailsService users;

        Server(JdbcClientDetailsService clients, UserDetailsService users) {
            this.clients = clients;
            this.users = users;
        }

        @Override
        public void configure(ClientDetailsServiceConfigurer configurer) throws Exception {
            configurer.withClientDetails(clients);
        }

        @Override
        public void configure(AuthorizationServerSecurityConfigurer security) {
            security.passwordEncoder(Hashes.decoder());
        }

        @Override
        public void configure(AuthorizationServerEndpointsConfigurer endpoints) {
            var logins = new DaoAuthenticationProvider();
            logins.setUserDetailsService(users);
            logins.setPasswordEncoder(Hashes.decoder());
            var converter = new JwtAccessTokenConverter();
            endpoints.authenticationManager(new ProviderManager(logins))
                    .tokenStore(new JwtTokenStore(converter))
                    .accessTokenConverter(converter);
        }
    }
}
