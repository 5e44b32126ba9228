import static org.assertj.core.api.Assertions.assertThat;

import harness.Countersign;
import harness.Database;
import harness.Folders;
import harness.Imports;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.springframework.core.io.ByteArrayResource;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import org.springframework.jdbc.datasource.init.ResourceDatabasePopulator;
import org.springframework.security.core.authority.AuthorityUtils;
import org.springframework.security.core.userdetails.User;
import org.springframework.security.crypto.bcrypt.BCryptPasswordEncoder;
import org.springframework.security.crypto.password.NoOpPasswordEncoder;
import org.springframework.security.oauth2.provider.client.BaseClientDetails;
import org.springframework.security.oauth2.provider.client.JdbcClientDetailsService;
import org.springframework.security.provisioning.JdbcUserDetailsManager;

/**
 * The tables of spring-security-oauth 2.5 and of Spring Security's users: Spring fills them, the
 * usual tools export them, and each token is compared with the one of Spring's own server over the
 * same tables.
 */
@SuppressWarnings("deprecation")
class ClientDetailsTest {
    static final String SECRET = "p&rtner sécret+1%";
    static final List<String> CLIENT_COLUMNS = List.of("client_id", "resource_ids", "client_secret", "scope",
            "authorized_grant_types", "web_server_redirect_uri", "authorities", "access_token_validity",
            "refresh_token_validity", "additional_information", "autoapprove");
    static final List<String> USER_COLUMNS = List.of("username", "password", "enabled", "authorities");
    /** The tables as the reference of Spring Security and the repository of spring-security-oauth have them. */
    static final String SCHEMA = """
            create table oauth_client_details (client_id varchar(256) primary key, resource_ids varchar(256),
              client_secret varchar(256), scope varchar(256), authorized_grant_types varchar(256),
              web_server_redirect_uri varchar(256), authorities varchar(256), access_token_validity integer,
              refresh_token_validity integer, additional_information varchar(4096), autoapprove varchar(256));
            create table users (username varchar(50) not null primary key, password varchar(500) not null,
              enabled boolean not null);
            create table authorities (username varchar(50) not null, authority varchar(50) not null);
            create table groups (id ID, group_name varchar(50) not null);
            create table group_authorities (group_id bigint not null, authority varchar(50) not null);
            create table group_members (id ID, username varchar(50) not null, group_id bigint not null);
            """;
    /** A client moves as it is, with a loss that is named, or not at all. */
    enum Fate { READY, LOSS, REFUSED }

    private final Map<BaseClientDetails, Fate> clients = new LinkedHashMap<>();

    ClientDetailsTest() {
        for (String hash : Hashes.names()) {
            client(hash, Fate.READY, c -> c.setClientSecret(Hashes.encode(hash, SECRET)));
        }
        client("bare-bcrypt", Fate.READY, c -> c.setClientSecret(new BCryptPasswordEncoder(4).encode(SECRET)));
        client("defaults", Fate.READY, c -> {
            c.setAccessTokenValiditySeconds(null);
            c.setRefreshTokenValiditySeconds(null);
        });
        client("two-apis", Fate.READY, c -> c.setResourceIds(List.of("https://api.example.com", "reports")));
        client("informed", Fate.READY, c -> c.setAdditionalInformation(Map.of("contact",
                "São Paulo\\Zürich, \"a;b\"\tc | 'd'\n{e}", "since", 2019, "tags", List.of("a", "b"))));
        client("without-scopes", Fate.LOSS, c -> c.setScope(List.of()));
        client("app", Fate.READY, c -> c.setAuthorizedGrantTypes(List.of("password", "refresh_token")));
        client("never", Fate.LOSS, c -> c.setAccessTokenValiditySeconds(0));
        client("web-portal", Fate.LOSS, c -> {
            c.setAuthorizedGrantTypes(List.of("authorization_code", "client_credentials"));
            c.setRegisteredRedirectUri(Set.of("https://portal.example.com/cb?a=1"));
            c.setAutoApproveScopes(List.of("true"));
        });
        client("browser", Fate.REFUSED, c -> {
            c.setClientSecret(null);
            c.setAuthorizedGrantTypes(List.of("implicit"));
        });
    }

    private void client(String id, Fate fate, Consumer<BaseClientDetails> changes) {
        var client = new BaseClientDetails(id, "https://api.example.com", "reports:read,reports:write", "client_credentials",
                "ROLE_REPORTING,ROLE_BATCH");
        client.setClientSecret(Hashes.encode("bcrypt", SECRET));
        client.setAccessTokenValiditySeconds(600);
        client.setRefreshTokenValiditySeconds(86_400);
        changes.accept(client);
        clients.put(client, fate);
    }

    @ParameterizedTest
    @EnumSource(Database.Kind.class)
    void everyClientAndUserKeepsItsSecretAndItsClaims(Database.Kind kind) {
        var database = Database.create(kind, "details");
        var source = new DriverManagerDataSource(database.url, database.user, "");
        String id = switch (kind) {
            case POSTGRESQL -> "bigserial primary key";
            case MARIADB -> "bigint auto_increment primary key";
            case H2 -> "bigint generated by default as identity primary key";
            case SQLITE -> "integer primary key";
        };
        new ResourceDatabasePopulator(new ByteArrayResource(SCHEMA.replace(" ID", " " + id).getBytes())).execute(source);
        var details = new JdbcClientDetailsService(source);
        details.setPasswordEncoder(NoOpPasswordEncoder.getInstance());
        clients.keySet().forEach(details::addClientDetails);
        var users = new JdbcUserDetailsManager(source);
        users.setEnableGroups(true);
        fill(users);

        // The query of the page, which names the other databases' function too.
        String query = Folders.snippet("users.sql");
        if (kind != Database.Kind.POSTGRESQL) {
            query = query.replaceFirst("string_agg\\(.*?\\) AS", "group_concat(a.authority) AS");
        }
        var clientDumps = database.export("clients", "SELECT * FROM oauth_client_details", CLIENT_COLUMNS);
        var userDumps = database.export("users", query, USER_COLUMNS);
        try (var issuer = Countersign.start(); var spring = OldServer.start(details, users)) {
            var rows = Imports.run(issuer, List.of("client", "import", "spring"), clientDumps, "--brand", "acme",
                    "--hash-plain", "--allow-legacy");
            assertThat(rows.keySet()).containsExactlyInAnyOrderElementsOf(
                    clients.keySet().stream().map(BaseClientDetails::getClientId).toList());
            clients.forEach((client, fate) -> compare(client, fate, rows.get(client.getClientId()), issuer, spring));
            issuer.run("client", "update", "app", "--username-claim", "user_name");
            var imported = Imports.run(issuer, List.of("user", "import"), userDumps, "--brand", "acme", "--hash-plain",
                    "--allow-legacy");
            // Spring lets this user in nowhere.
            assertThat(imported.get("without@example.com").verdict()).isEqualTo("ready with a loss");
            assertThat(spring.token("app", SECRET, List.of("grant_type", "password", "username", "without@example.com",
                    "password", SECRET)).status()).isEqualTo(400);
            compareUsers(issuer, spring);
        }
    }

    private static void fill(JdbcUserDetailsManager users) {
        users.createGroup("support", AuthorityUtils.createAuthorityList("ROLE_CARE", "ROLE_BOTH"));
        for (String hash : Hashes.names()) {
            user(users, hash.toLowerCase() + "@example.com", Hashes.encode(hash, SECRET), true, "ROLE_SUBSCRIBER");
        }
        user(users, "member@example.com", Hashes.encode("bcrypt", SECRET), true, "ROLE_SUBSCRIBER", "ROLE_BOTH");
        users.addUserToGroup("member@example.com", "support");
        user(users, "only-group@example.com", Hashes.encode("bcrypt", SECRET), true);
        users.addUserToGroup("only-group@example.com", "support");
        user(users, "disabled@example.com", Hashes.encode("bcrypt", SECRET), false, "ROLE_SUBSCRIBER");
        user(users, "without@example.com", Hashes.encode("bcrypt", SECRET), true);
        user(users, "many@example.com", Hashes.encode("bcrypt", SECRET), true,
                IntStream.range(0, 60).mapToObj(n -> "ROLE_NUMBER_" + n + "_OF_MANY").toArray(String[]::new));
    }

    private static void user(JdbcUserDetailsManager users, String name, String hash, boolean enabled, String... roles) {
        users.createUser(User.withUsername(name).password(hash).disabled(!enabled).authorities(roles).build());
    }

    private static void compare(BaseClientDetails client, Fate fate, Imports.Row row, Countersign issuer, OldServer spring) {
        String id = client.getClientId();
        String verdict = switch (fate) {
            case READY -> "ready";
            case LOSS -> "ready with a loss";
            case REFUSED -> "refused";
        };
        assertThat(row.verdict()).as(row.toString()).isEqualTo(verdict);
        if (!client.getAuthorizedGrantTypes().contains("client_credentials") || client.getScope().isEmpty()) {
            return;
        }
        for (String scope : List.of("", "reports:read", "reports:write reports:read", "reports:delete")) {
            var form = new ArrayList<>(List.of("grant_type", "client_credentials"));
            if (!scope.isEmpty()) {
                form.addAll(List.of("scope", scope));
            }
            var ours = issuer.token(id, SECRET, form.toArray(String[]::new));
            var theirs = spring.token(id, SECRET, form);
            String what = id + ", scope " + scope + ": ours " + ours + ", theirs " + theirs;
            assertThat(ours.status()).as(what).isEqualTo(theirs.status());
            if (ours.status() != 200) {
                assertThat(ours.text("error")).as(what).isEqualTo(theirs.text("error"));
                continue;
            }
            var claims = Countersign.claims(ours.text("access_token"));
            var expected = Countersign.claims(theirs.text("access_token"));
            assertThat(claims.get("client_id")).as(what).isEqualTo(expected.get("client_id"));
            assertThat(claims.get("aud")).as(what).isEqualTo(client.getResourceIds().iterator().next());
            assertThat(sorted(expected.get("aud"))).as(what).isEqualTo(sorted(client.getResourceIds()));
            assertThat(Countersign.words(claims.get("scope"))).as(what).isEqualTo(sorted(expected.get("scope")));
            assertThat(sorted(claims.get("roles"))).as(what).isEqualTo(sorted(expected.get("authorities")));
            if (fate == Fate.READY) {
                assertThat(((Number) ours.body().get("expires_in")).longValue()).as(what)
                        .isBetween(((Number) theirs.body().get("expires_in")).longValue(),
                                ((Number) theirs.body().get("expires_in")).longValue() + 1);
            }
        }
        assertThat(issuer.token(id, SECRET + "x", "grant_type", "client_credentials").status()).isEqualTo(401);
    }

    private static void compareUsers(Countersign issuer, OldServer spring) {
        var names = new ArrayList<>(List.of("member@example.com", "only-group@example.com", "disabled@example.com",
                "many@example.com"));
        Hashes.names().forEach(hash -> names.add(hash.toLowerCase() + "@example.com"));
        for (String name : names) {
            var form = List.of("grant_type", "password", "username", name, "password", SECRET);
            var ours = issuer.token("app", SECRET, form.toArray(String[]::new));
            var theirs = spring.token("app", SECRET, form);
            String what = name + ": ours " + ours + ", theirs " + theirs;
            assertThat(ours.status()).as(what).isEqualTo(theirs.status());
            if (ours.status() != 200) {
                assertThat(name).isEqualTo("disabled@example.com");
                continue;
            }
            var claims = Countersign.claims(ours.text("access_token"));
            var expected = Countersign.claims(theirs.text("access_token"));
            assertThat(sorted(claims.get("roles"))).as(what).isEqualTo(sorted(expected.get("authorities")));
            assertThat((String) claims.get("sub")).startsWith("usr_");
            assertThat(claims).as(what).containsEntry("user_name", name);
            assertThat(expected).containsEntry("user_name", name);
            assertThat(ours.body()).containsKey("refresh_token");
        }
    }

    private static List<String> sorted(Object list) {
        return ((Collection<?>) list).stream().map(Object::toString).sorted().toList();
    }
}
