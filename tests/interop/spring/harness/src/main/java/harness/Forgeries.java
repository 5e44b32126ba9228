package harness;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyPairGenerator;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Tokens that somebody made from a good one without the issuer's key. */
public final class Forgeries {
    private Forgeries() {}

    public static Map<String, String> of(String good) {
        String[] parts = good.split("\\.");
        String header = decode(parts[0]);
        String payload = decode(parts[1]);
        String raised = encode(replaced(payload, "reports:read", "reports:all"));
        Map<String, String> forgeries = new LinkedHashMap<>();
        forgeries.put("a changed payload", parts[0] + "." + raised + "." + parts[2]);
        forgeries.put("a changed signature", parts[0] + "." + parts[1] + "." + flipped(parts[2]));
        forgeries.put("no algorithm", encode(replaced(header, "ES256", "none")) + "." + raised + ".");
        String mac = encode(replaced(header, "ES256", "HS256")) + "." + raised;
        forgeries.put("a MAC", mac + "." + encode(mac(mac)));
        String own = parts[0] + "." + raised;
        forgeries.put("another key under the same kid", own + "." + encode(signature(own)));
        String anonymous = encode("{\"typ\":\"at+jwt\",\"alg\":\"ES256\"}") + "." + raised;
        forgeries.put("no kid", anonymous + "." + encode(signature(anonymous)));
        for (String odd : List.of("[]", "5", "null", "\"x\"", "{}", "{\"alg\":[\"ES256\"]}", "")) {
            forgeries.put("the header " + odd, encode(odd) + "." + parts[1] + "." + parts[2]);
            forgeries.put("the payload " + odd, parts[0] + "." + encode(odd) + "." + parts[2]);
        }
        forgeries.put("dots", "..");
        return forgeries;
    }

    private static String replaced(String text, String from, String to) {
        if (!text.contains(from)) {
            throw new IllegalArgumentException(from + " is not in " + text);
        }
        return text.replace(from, to);
    }

    private static String flipped(String signature) {
        byte[] bytes = Base64.getUrlDecoder().decode(signature);
        bytes[40] ^= 1;
        return encode(bytes);
    }

    private static byte[] mac(String input) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(BigInteger.TEN.pow(40).toByteArray(), "HmacSHA256"));
            return mac.doFinal(input.getBytes(StandardCharsets.US_ASCII));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private static byte[] signature(String input) {
        try {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
            generator.initialize(new ECGenParameterSpec("secp256r1"));
            Signature signature = Signature.getInstance("SHA256withECDSAinP1363Format");
            signature.initSign(generator.generateKeyPair().getPrivate());
            signature.update(input.getBytes(StandardCharsets.US_ASCII));
            return signature.sign();
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private static String decode(String part) {
        return new String(Base64.getUrlDecoder().decode(part), StandardCharsets.UTF_8);
    }

    private static String encode(String text) {
        return encode(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String encode(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }
}
