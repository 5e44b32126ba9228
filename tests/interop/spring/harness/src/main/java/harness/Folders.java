package harness;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The folders of this run: its own files, and what was extracted from the docs. */
public final class Folders {
    private static final Path WORK = Path.of(System.getProperty("run"));
    private static final Path DOCS = Path.of(System.getProperty("docs"));

    private Folders() {}

    /** Makes a folder for the files of one program. */
    public static Path fresh(String name) {
        try {
            return Files.createTempDirectory(Files.createDirectories(WORK), name + "-");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Reads a snippet of the docs as one line. */
    public static String snippet(String name) {
        try {
            return Files.readString(Path.of(System.getProperty("snippets"), name)).replaceAll("\\s+", " ").strip();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Writes a snippet of the docs to a file, with a running issuer's URL instead of the example's. */
    public static Path configuration(String snippet, String issuer) {
        try {
            String text = Files.readString(Path.of(System.getProperty("snippets"), snippet));
            String changed = text.replace("https://issuer.example.com", issuer);
            return Files.writeString(fresh("configuration").resolve(Path.of(snippet).getFileName()), changed);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Looks for a message in a page of the docs. */
    public static boolean isDocumented(String page, String message) {
        try {
            return Files.readString(DOCS.resolve(page)).contains(message);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
