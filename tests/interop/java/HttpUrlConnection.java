import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;

/** Prints what java.net.HttpURLConnection shows of a 401. */
class HttpUrlConnection {
    static final byte[] FORM = "grant_type=client_credentials".getBytes(StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws IOException {
        show("buffered", arguments[0], false);
        show("streaming", arguments[0], true);
    }

    static void show(String mode, String issuer, boolean streaming) throws IOException {
        var connection = (HttpURLConnection) new URL(issuer + "/oauth/token").openConnection();
        connection.setDoOutput(true);
        if (streaming) connection.setFixedLengthStreamingMode(FORM.length);
        connection.getOutputStream().write(FORM);
        try {
            connection.getInputStream();
        } catch (IOException refused) {
            var message = refused.getMessage();
            System.out.println(mode + ": " + (message.contains("retry") ? message : "no body in the exception"));
            if (message.contains("invalid_client")) throw refused;
        }
        try (var errors = connection.getErrorStream()) {
            var body = errors == null ? "" : new String(errors.readAllBytes(), StandardCharsets.UTF_8);
            System.out.println(mode + (body.contains("invalid_client") ? ": invalid_client in the error stream" : ": no error stream"));
        }
    }
}
