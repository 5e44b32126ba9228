package harness;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** A new and empty database of one of four kinds, and the tools that export from it. */
public final class Database {
    public enum Kind { POSTGRESQL, MARIADB, H2, SQLITE }

    /** By default MariaDB cuts what group_concat returns. */
    private static final String UNCUT = "SET SESSION group_concat_max_len = 1000000; ";

    public final Kind kind;
    public final String url;
    public final String user;
    private final String name;
    private final Path folder;

    private Database(Kind kind, String name) {
        this.kind = kind;
        this.name = name;
        this.folder = Folders.fresh(name);
        switch (kind) {
            case POSTGRESQL -> {
                user = "spring";
                execute("jdbc:postgresql://127.0.0.1:" + port() + "/postgres", user, "CREATE DATABASE " + name);
                url = "jdbc:postgresql://127.0.0.1:" + port() + "/" + name;
            }
            case MARIADB -> {
                user = "root";
                execute("jdbc:mariadb://127.0.0.1:" + port() + "/", user,
                        "CREATE DATABASE " + name + " CHARACTER SET utf8mb4");
                url = "jdbc:mariadb://127.0.0.1:" + port() + "/" + name;
            }
            case H2 -> {
                user = "sa";
                url = "jdbc:h2:file:" + folder.resolve(name);
            }
            default -> {
                user = "";
                url = "jdbc:sqlite:" + folder.resolve(name + ".db");
            }
        }
    }

    /** Creates a database in one of the servers that the script has started, or as a file. */
    public static Database create(Kind kind, String purpose) {
        return new Database(kind, purpose + "_" + ProcessHandle.current().pid() + "_" + Long.toString(System.nanoTime(), 36));
    }

    private String port() {
        return System.getenv(kind + "_PORT");
    }

    private static void execute(String url, String user, String sql) {
        try (Connection connection = DriverManager.getConnection(url, user, "");
                Statement statement = connection.createStatement()) {
            statement.execute(sql);
        } catch (SQLException e) {
            throw new IllegalStateException(sql, e);
        }
    }

    /**
     * Exports a table or the rows of a query with each of the usual tools. The columns are named for
     * the tools that have to list them.
     */
    public Map<String, Path> export(String what, String query, List<String> columns) {
        Map<String, Path> exports = new LinkedHashMap<>();
        switch (kind) {
            case POSTGRESQL -> {
                Path csv = folder.resolve(what + ".copy.csv");
                psql("\\copy (" + query + ") TO '" + csv + "' CSV HEADER");
                exports.put("\\copy", csv);
                exports.put("psql --csv", write(what + ".csv", psql("--csv", query)));
                exports.put("json_agg", write(what + ".json",
                        psql("-At", "SELECT json_agg(c) FROM (" + query + ") c")));
            }
            case MARIADB -> {
                String pairs = columns.stream().map(c -> "'" + c + "', " + c).collect(Collectors.joining(", "));
                exports.put("JSON_OBJECT", write(what + ".json", mariadb("--raw", "--skip-column-names",
                        UNCUT + "SELECT JSON_OBJECT(" + pairs + ") FROM (" + query + ") c")));
                exports.put("mysql --batch", write(what + ".tsv", mariadb("--batch", UNCUT + query)));
            }
            case H2 -> {
                Path csv = folder.resolve(what + ".csv");
                execute(url, user, "CALL CSVWRITE('" + csv + "', '" + query.replace("'", "''") + "')");
                exports.put("CSVWRITE", csv);
            }
            default -> {
                exports.put("sqlite3 -csv", write(what + ".csv", sqlite("-header", "-csv", query)));
                exports.put("sqlite3 -json", write(what + ".json", sqlite("-json", query)));
            }
        }
        return exports;
    }

    private String psql(String... arguments) {
        return tool(List.of("psql", "-X", "-q", "-h", "127.0.0.1", "-p", port(), "-U", user, "-d", name), "-c", arguments);
    }

    private String mariadb(String... arguments) {
        return tool(List.of("mariadb", "--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", port(), "-u", user,
                "--default-character-set=utf8mb4", "-D", name), "-e", arguments);
    }

    private String sqlite(String... arguments) {
        return tool(List.of("sqlite3", folder.resolve(name + ".db").toString()), null, arguments);
    }

    /** Runs a tool; the last argument is the SQL. */
    private static String tool(List<String> command, String sqlOption, String... arguments) {
        List<String> all = new java.util.ArrayList<>(command);
        all.addAll(List.of(arguments));
        if (sqlOption != null) {
            all.add(all.size() - 1, sqlOption);
        } else {
            // sqlite3 takes its options before the name of the file.
            String file = all.remove(1);
            all.add(all.size() - 1, file);
        }
        Outcome outcome = Outcome.of(all, Map.of(), "");
        if (outcome.code() != 0) {
            throw new IllegalStateException(all + " exited with " + outcome);
        }
        return outcome.output();
    }

    private Path write(String file, String text) {
        try {
            return Files.writeString(folder.resolve(file), text, StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
