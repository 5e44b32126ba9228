package harness;

import com.nimbusds.jose.util.JSONObjectUtils;
import java.nio.file.Path;
import java.text.ParseException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The import of all exports of one table, which must agree. */
public final class Imports {
    private Imports() {}

    /** What `--json` prints for one row. */
    public record Row(String verdict, String action, Map<String, Object> all) {}

    /**
     * Imports the first export. A dry run of each other export must find the same rows, each
     * unchanged or refused as in the first.
     */
    public static Map<String, Row> run(
            Countersign issuer, List<String> command, Map<String, Path> exports, String... options) {
        Map<String, Row> imported = null;
        for (var export : exports.entrySet()) {
            List<String> arguments = new ArrayList<>(List.of("--json"));
            arguments.addAll(command);
            arguments.add(export.getValue().toString());
            arguments.addAll(List.of(options));
            if (imported == null) {
                imported = rows(issuer.execute("", arguments.toArray(String[]::new)));
                continue;
            }
            arguments.add("--dry-run");
            var again = rows(issuer.execute("", arguments.toArray(String[]::new)));
            if (!again.keySet().equals(imported.keySet())) {
                throw new AssertionError(export + " has " + again.keySet() + ", not " + imported.keySet());
            }
            for (var row : again.entrySet()) {
                String first = imported.get(row.getKey()).verdict();
                boolean same = first.equals("refused") ? row.getValue().verdict().equals("refused")
                        : "unchanged".equals(row.getValue().action());
                if (!same) {
                    throw new AssertionError(export + ": " + row + ", the first export: " + imported.get(row.getKey()));
                }
            }
        }
        return imported;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Row> rows(Outcome outcome) {
        Map<String, Row> rows = new LinkedHashMap<>();
        try {
            Map<String, Object> report = JSONObjectUtils.parse(outcome.output());
            for (String list : List.of("clients", "principals")) {
                for (Object each : (List<Object>) report.getOrDefault(list, List.of())) {
                    Map<String, Object> row = (Map<String, Object>) each;
                    rows.put((String) row.get("id"), new Row((String) row.get("verdict"), (String) row.get("action"), row));
                }
            }
        } catch (ParseException e) {
            throw new AssertionError(outcome.toString(), e);
        }
        if (rows.isEmpty()) {
            throw new AssertionError(outcome.toString());
        }
        return rows;
    }
}
