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

/** The encoders of Spring Security 5.7, by the names that they have in a DelegatingPasswordEncoder. */
@SuppressWarnings("deprecation")
final class Hashes {
    private static final Map<String, PasswordEncoder> ENCODERS = new LinkedHashMap<>();

    static {
        ENCODERS.put("bcrypt", new BCryptPasswordEncoder(4));
        ENCODERS.put("argon2", new Argon2PasswordEncoder());
        ENCODERS.put("pbkdf2", new Pbkdf2PasswordEncoder());
        ENCODERS.put("scrypt", new SCryptPasswordEncoder());
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

    /** Accepts all of them, and a bcrypt without a prefix. */
    static PasswordEncoder decoder() {
        var decoder = new DelegatingPasswordEncoder("bcrypt", ENCODERS);
        decoder.setDefaultPasswordEncoderForMatches(new BCryptPasswordEncoder());
        return decoder;
    }
}
