package harness;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** The end of a program: its exit code, and what it printed to both outputs. */
public record Outcome(int code, String output, String errors) {
    /** Runs a program with further environment variables and an input. */
    public static Outcome of(List<String> command, Map<String, String> environment, String input) {
        try {
            Path output = Files.createTempFile("output", null);
            Path errors = Files.createTempFile("errors", null);
            Path in = Files.writeString(Files.createTempFile("input", null), input);
            try {
                ProcessBuilder builder = new ProcessBuilder(command)
                        .redirectInput(in.toFile())
                        .redirectOutput(output.toFile())
                        .redirectError(errors.toFile());
                builder.environment().putAll(environment);
                int code = builder.start().waitFor();
                return new Outcome(code, Files.readString(output, StandardCharsets.UTF_8),
                        Files.readString(errors, StandardCharsets.UTF_8));
            } finally {
                for (Path file : List.of(output, errors, in)) {
                    Files.delete(file);
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
