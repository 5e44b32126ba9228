import java.util.LinkedHashMap;
import java.util.Map;
import org.springframework.security.crypto.argon2.Argon2PasswordEncoder;
import org.springframework.security.crypto.bcrypt.BCryptPasswordEncoder;
import org.springframework.security.crypto.password.DelegatingPasswordEncoder;
import org.springframework.security.crypto.password.MessageDigestPasswordEncoder;
import org.springframework.security.crypto.password.NoOpPasswordEncoder;
import org.springframework.security.crypto.password.PasswordEncoder;
import org.springframework.security.crypto.password.StandardPasswordEncoder;
import org.springframework.security.crypto.password.Pbkdf2PasswordEncoder;
import org.springframework.security.crypto.scrypt.SCryptPasswordEncoder;

/** Spring's own encoders, by the names that they have in a DelegatingPasswordEncoder. */
@SuppressWarnings("deprecation")
final class Hashes {
    private static final Map<String, PasswordEncoder> ENCODERS = new LinkedHashMap<>();

    static {
        ENCODERS.put("bcrypt", new BCryptPasswordEncoder(4));
        ENCODERS.put("argon2", Argon2PasswordEncoder.defaultsForSpringSecurity_v5_2());
        ENCODERS.put("argon2@SpringSecurity_v5_8", Argon2PasswordEncoder.defaultsForSpringSecurity_v5_8());
        ENCODERS.put("pbkdf2", Pbkdf2PasswordEncoder.defaultsForSpringSecurity_v5_5());
        ENCODERS.put("pbkdf2@SpringSecurity_v5_8", Pbkdf2PasswordEncoder.defaultsForSpringSecurity_v5_8());
        ENCODERS.put("scrypt", SCryptPasswordEncoder.defaultsForSpringSecurity_v4_1());
        ENCODERS.put("scrypt@SpringSecurity_v5_8", SCryptPasswordEncoder.defaultsForSpringSecurity_v5_8());
        ENCODERS.put("noop", NoOpPasswordEncoder.getInstance());
        ENCODERS.put("MD5", new MessageDigestPasswordEncoder("MD5"));
        ENCODERS.put("SHA-1", new MessageDigestPasswordEncoder("SHA-1"));
        ENCODERS.put("SHA-256", new MessageDigestPasswordEncoder("SHA-256"));
        ENCODERS.put("sha256", new StandardPasswordEncoder());
    }

    private Hashes() {}

    static Iterable<String> names() {
        return ENCODERS.keySet();
    }

    static String encode(String name, String password) {
        return new DelegatingPasswordEncoder(name, ENCODERS).encode(password);
    }
}
