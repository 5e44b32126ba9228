package harness;

import com.nimbusds.jose.util.JSONObjectUtils;
import com.nimbusds.jwt.JWTParser;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.ParseException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** A running `countersign dev` with an empty store, and the commands that administer it. */
public final class Countersign implements AutoCloseable {
    private static final Path PROGRAM = Path.of(System.getenv("COUNTERSIGN_BINARIES"), "countersign");
    private static final Pattern READY = Pattern.compile("^listening on (http://\\S*)$", Pattern.MULTILINE);
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    private final Process process;
    private final Map<String, String> environment = new LinkedHashMap<>();
    public final String url;

    private Countersign(Process process, Path folder, Path log) throws IOException, InterruptedException {
        this.process = process;
        this.url = awaitReady(process, log);
        for (String line : Files.readAllLines(folder.resolve("env"))) {
            if (!line.startsWith("#") && line.contains("=")) {
                environment.put(line.substring(0, line.indexOf('=')), line.substring(line.indexOf('=') + 1));
            }
        }
    }

    /** Starts it with further options of `countersign dev`, on ports that the system chooses. */
    public static Countersign start(String... options) {
        try {
            Path folder = Folders.fresh("countersign");
            Path log = folder.resolve("dev.log");
            List<String> command = new ArrayList<>(List.of(PROGRAM.toString(), "dev", "--port", "0"));
            command.addAll(List.of("--dynamodb-port", "0", "--data-dir", folder.toString()));
            command.addAll(List.of(options));
            Process process = new ProcessBuilder(command)
                    .redirectInput(Path.of("/dev/null").toFile())
                    .redirectErrorStream(true)
                    .redirectOutput(log.toFile())
                    .start();
            Runtime.getRuntime().addShutdownHook(new Thread(process::destroy));
            return new Countersign(process, folder, log);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static String awaitReady(Process process, Path log) throws IOException, InterruptedException {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (true) {
            var ready = READY.matcher(Files.readString(log));
            if (ready.find()) {
                return ready.group(1);
            }
            if (!process.isAlive() || System.nanoTime() > deadline) {
                throw new IllegalStateException("countersign dev is not ready:\n" + Files.readString(log));
            }
            Thread.sleep(50);
        }
    }

    /** Runs a command and returns what it printed. Its exit code must be 0. */
    public String run(String... arguments) {
        return runWithInput("", arguments);
    }

    public String runWithInput(String input, String... arguments) {
        Outcome outcome = execute(input, arguments);
        if (outcome.code() != 0) {
            throw new IllegalStateException(List.of(arguments) + " exited with " + outcome);
        }
        return outcome.output();
    }

    /** Runs a command and returns its exit code and what it printed. */
    public Outcome execute(String input, String... arguments) {
        List<String> command = new ArrayList<>(List.of(PROGRAM.toString()));
        command.addAll(List.of(arguments));
        return Outcome.of(command, environment, input);
    }

    /** Creates a client with a secret that follows from its id. */
    public void createClient(String id, String... options) {
        List<String> arguments = new ArrayList<>(List.of("client", "create", id, "--name", id, "--secret-stdin"));
        arguments.addAll(List.of(options));
        runWithInput(secretOf(id), arguments.toArray(String[]::new));
    }

    public static String secretOf(String id) {
        return id + "-secret-for-the-spring-suite";
    }

    /** Requests a token with HTTP Basic; `form` is a list of names and values by turns. */
    public Answer token(String client, String secret, String... form) {
        return post("/oauth/token", client, secret, form);
    }

    /** Requests a token that must be granted, with the secret of `createClient`. */
    public String accessToken(String client, String... form) {
        Answer answer = token(client, secretOf(client), form.length == 0
                ? new String[] {"grant_type", "client_credentials"} : form);
        if (answer.status() != 200) {
            throw new IllegalStateException(client + ": " + answer);
        }
        return (String) answer.body().get("access_token");
    }

    public Answer post(String path, String client, String secret, String... form) {
        return post(url + path, client, secret, List.of(form));
    }

    /** Sends a form with HTTP Basic. */
    public static Answer post(String url, String client, String secret, List<String> form) {
        String basic = Base64.getEncoder()
                .encodeToString((encode(client) + ":" + encode(secret)).getBytes(StandardCharsets.UTF_8));
        return send(HttpRequest.newBuilder(URI.create(url)).header("Authorization", "Basic " + basic), form);
    }

    /** Sends a form with HTTP Basic that is not form-encoded first, as spring-security-oauth expects it. */
    public static Answer postUnencoded(String url, String client, String secret, List<String> form) {
        String basic = Base64.getEncoder().encodeToString((client + ":" + secret).getBytes(StandardCharsets.UTF_8));
        return send(HttpRequest.newBuilder(URI.create(url)).header("Authorization", "Basic " + basic), form);
    }

    /** Sends a form with the credentials in the body. */
    public static Answer postInBody(String url, String client, String secret, List<String> form) {
        List<String> all = new ArrayList<>(form);
        all.addAll(List.of("client_id", client, "client_secret", secret));
        return send(HttpRequest.newBuilder(URI.create(url)), all);
    }

    private static Answer send(HttpRequest.Builder request, List<String> form) {
        List<String> pairs = new ArrayList<>();
        for (int i = 0; i < form.size(); i += 2) {
            pairs.add(encode(form.get(i)) + "=" + encode(form.get(i + 1)));
        }
        request.header("Content-Type", "application/x-www-form-urlencoded")
                .POST(HttpRequest.BodyPublishers.ofString(String.join("&", pairs)));
        try {
            HttpResponse<String> response = HTTP.send(request.build(), HttpResponse.BodyHandlers.ofString());
            return new Answer(response.statusCode(), JSONObjectUtils.parse(response.body()));
        } catch (IOException | InterruptedException | ParseException e) {
            throw new IllegalStateException("POST " + form, e);
        }
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }

    /** Reads a token's claims without looking at its signature. */
    public static Map<String, Object> claims(String token) {
        try {
            return JSONObjectUtils.parse(JWTParser.parse(token).getParsedParts()[1].decodeToString());
        } catch (ParseException e) {
            throw new IllegalArgumentException(token, e);
        }
    }

    @Override
    public void close() {
        process.destroy();
        process.onExit().join();
    }

    public record Answer(int status, Map<String, Object> body) {
        public String text(String member) {
            return (String) body.get(member);
        }
    }

    /** Splits a claim or a member that separates values by spaces, in the order of the alphabet. */
    public static List<String> words(Object text) {
        return text == null ? List.of()
                : Arrays.stream(text.toString().split(" ")).sorted().collect(Collectors.toList());
    }
}
