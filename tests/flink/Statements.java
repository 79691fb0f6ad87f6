import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Splits a Flink SQL script into statements.
 *
 * <p>A semicolon ends a statement unless it stands in a string, a quoted identifier, a comment, or
 * between the BEGIN and END of a statement set. Comments are dropped, hints are kept.
 */
final class Statements {
    private Statements() {}

    static List<String> split(String script) {
        List<String> statements = new ArrayList<>();
        StringBuilder current = new StringBuilder();
        int at = 0;
        while (at < script.length()) {
            char c = script.charAt(at);
            if (script.startsWith("--", at)) {
                int end = script.indexOf('\n', at);
                at = end < 0 ? script.length() : end;
            } else if (script.startsWith("/*", at) && !script.startsWith("/*+", at)) {
                int end = script.indexOf("*/", at + 2);
                at = end < 0 ? script.length() : end + 2;
                current.append(' ');
            } else if (c == '\'' || c == '`' || c == '"') {
                int end = script.indexOf(c, at + 1);
                end = end < 0 ? script.length() - 1 : end;
                // A doubled quote reads as two adjacent literals, which copies it unchanged.
                current.append(script, at, end + 1);
                at = end + 1;
            } else if (c == ';' && !insideStatementSet(current)) {
                add(statements, current);
                at++;
            } else {
                current.append(c);
                at++;
            }
        }
        add(statements, current);
        return statements;
    }

    /** True while {@code text} is a statement set whose last word is not yet END. */
    private static boolean insideStatementSet(CharSequence text) {
        String upper = text.toString().toUpperCase(Locale.ROOT).strip();
        if (!upper.matches("(?s)EXECUTE\\s+STATEMENT\\s+SET\\s+BEGIN\\b.*")) {
            return false;
        }
        // END that follows a semicolon (or BEGIN) closes the set; the END of a CASE does not.
        return !upper.matches("(?s).*(;|\\bBEGIN)\\s*END");
    }

    private static void add(List<String> statements, StringBuilder current) {
        String statement = current.toString().strip();
        if (!statement.isEmpty()) {
            statements.add(statement);
        }
        current.setLength(0);
    }
}
