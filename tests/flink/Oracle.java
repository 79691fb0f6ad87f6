import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.util.EnvironmentInformation;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs Flink SQL scripts on a local mini cluster and records what they wrote.
 *
 * <p>Usage: {@code Oracle DATA OUT SCRIPT...}. In every script {@code ${data}} becomes DATA and
 * {@code ${out}} becomes OUT/NAME, where NAME is the script's name without its ending. Beside each
 * script a NAME.expected is written. Streaming mode unless the script sets another,
 * parallelism 1 unless the property {@code parallelism} says otherwise, the defaults for the rest. Records are
 * sorted, unless a line of the script is {@code -- ordered}.
 */
public final class Oracle {
    private static final Pattern SET = Pattern.compile("(?is)SET\\s+'([^']*)'\\s*=\\s*'([^']*)'");
    private static final Pattern BATCH =
            Pattern.compile("(?im)^SET\\s+'execution\\.runtime-mode'\\s*=\\s*'batch'");
    private static final Pattern ORDERED = Pattern.compile("(?m)^-- ordered$");
    private static final String PARALLELISM = System.getProperty("parallelism", "1");
    private static final long STATEMENT_SECONDS_MAX = 120;

    public static void main(String[] args) throws Exception {
        Path data = Path.of(args[0]).toAbsolutePath();
        Path out = Path.of(args[1]).toAbsolutePath();
        int failures = 0;
        for (int i = 2; i < args.length; i++) {
            Path script = Path.of(args[i]);
            String name = script.getFileName().toString().replaceFirst("\\.sql$", "");
            long start = System.nanoTime();
            try {
                int lines = record(script, data, out.resolve(name), script.resolveSibling(name + ".expected"));
                System.out.printf("%s: %d records, %d ms%n", name, lines, (System.nanoTime() - start) / 1_000_000);
            } catch (Throwable e) {
                failures++;
                System.out.printf("%s: FAILED%n", name);
                for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                    System.out.printf("    %s%n", cause);
                }
            }
        }
        System.exit(failures == 0 ? 0 : 1);
    }

    /** Runs one script and writes its expected file; returns the number of records in it. */
    private static int record(Path script, Path data, Path out, Path expected) throws Exception {
        deleteRecursively(out);
        Files.createDirectories(out);
        String text = Files.readString(script)
                .replace("${data}", data.toString())
                .replace("${out}", out.toString());

        Configuration configuration = new Configuration();
        configuration.setString("parallelism.default", PARALLELISM);
        EnvironmentSettings.Builder settings = EnvironmentSettings.newInstance().withConfiguration(configuration);
        // The mode of an environment is its own for good.
        boolean batch = BATCH.matcher(text).find();
        settings = batch ? settings.inBatchMode() : settings.inStreamingMode();
        TableEnvironment env = TableEnvironment.create(settings.build());

        Map<String, String> options = new TreeMap<>();
        int selects = 0;
        for (String statement : Statements.split(text)) {
            Matcher set = SET.matcher(statement);
            String head = statement.toUpperCase(Locale.ROOT);
            if (set.matches()) {
                env.getConfig().set(set.group(1), set.group(2));
                options.put(set.group(1), set.group(2));
            } else if (head.matches("(?s)(SELECT|WITH|VALUES|\\()\\b.*")) {
                selects++;
                collect(env.executeSql(statement), out.resolve("select-" + selects + ".txt"));
            } else if (head.matches("(?s)(INSERT|EXECUTE)\\b.*")) {
                env.executeSql(statement).await(STATEMENT_SECONDS_MAX, TimeUnit.SECONDS);
            } else if (head.matches("(?s)(SHOW|DESCRIBE|DESC)\\b.*")) {
                selects++;
                Files.writeString(out.resolve("select-" + selects + ".txt"), printed(statement, env.executeSql(statement)));
            } else {
                // CREATE TABLE AS SELECT starts a job.
                TableResult result = env.executeSql(statement);
                if (result.getJobClient().isPresent()) {
                    result.await(STATEMENT_SECONDS_MAX, TimeUnit.SECONDS);
                }
            }
        }
        boolean ordered = ORDERED.matcher(text).find();
        return write(out, expected, (batch ? "batch" : "streaming") + (ordered ? ", ordered" : ""), ordered, options);
    }

    /** What a client prints of a result. */
    private static String printed(String statement, TableResult result) throws Exception {
        if (statement.matches("(?is)SHOW\\s+CREATE\\b.*")) {
            // Clients print the text as it is, without a frame.
            try (CloseableIterator<Row> rows = result.collect()) {
                return rows.next().getField(0) + "\n";
            }
        }
        PrintStream console = System.out;
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
        try {
            result.print();
        } finally {
            System.setOut(console);
        }
        return bytes.toString(StandardCharsets.UTF_8);
    }

    private static void collect(TableResult result, Path file) throws Exception {
        List<String> lines = new ArrayList<>();
        try (CloseableIterator<Row> rows = result.collect()) {
            while (rows.hasNext()) {
                lines.add(rows.next().toString());
            }
        }
        Files.write(file, lines);
    }

    private static int write(Path out, Path expected, String mode, boolean ordered, Map<String, String> options)
            throws IOException {
        Map<String, List<byte[]>> outputs = new TreeMap<>();
        List<Path> files;
        try (Stream<Path> walk = Files.walk(out)) {
            files = walk.filter(Files::isRegularFile).sorted().toList();
        }
        // A sink that nothing was written to is listed too: its directory may exist, empty.
        try (Stream<Path> walk = Files.list(out)) {
            walk.filter(p -> Files.isDirectory(p) && !isHidden(out.relativize(p))).forEach(p -> outputs.put(out.relativize(p).toString(), new ArrayList<>()));
        }
        for (Path file : files) {
            Path relative = out.relativize(file);
            if (isHidden(relative.getParent())) {
                continue;
            }
            boolean mark = file.getFileName().toString().startsWith("_");
            String key = relative.getNameCount() == 1
                    ? relative.toString().replaceFirst("\\.txt$", "")
                    : mark ? relative.toString() : relative.getParent().toString();
            if (relative.getNameCount() > 1 && file.getFileName().toString().startsWith(".")) {
                throw new IOException("an unfinished part file: " + file);
            }
            List<byte[]> lines = outputs.computeIfAbsent(key, k -> new ArrayList<>());
            for (String line : Files.readString(file).split("\n")) {
                if (!line.isEmpty()) {
                    lines.add(line.getBytes(StandardCharsets.UTF_8));
                }
            }
        }
        StringBuilder text = new StringBuilder();
        text.append("# flink ").append(EnvironmentInformation.getVersion());
        text.append(", parallelism ").append(PARALLELISM).append(", ").append(mode).append("; options:");
        options.forEach((key, value) -> text.append(' ').append(key).append('=').append(value.isEmpty() ? "''" : value));
        text.append('\n');
        int records = 0;
        for (Map.Entry<String, List<byte[]>> output : outputs.entrySet()) {
            text.append("== ").append(output.getKey()).append('\n');
            if (!ordered) {
                output.getValue().sort(java.util.Arrays::compareUnsigned);
            }
            for (byte[] line : output.getValue()) {
                text.append(new String(line, StandardCharsets.UTF_8)).append('\n');
                records++;
            }
        }
        Files.writeString(expected, text.toString());
        return records;
    }

    /** Whether a directory, or one that it is in, has a name that begins with an underscore. */
    private static boolean isHidden(Path directory) {
        if (directory != null) {
            for (Path part : directory) {
                if (part.toString().startsWith("_")) {
                    return true;
                }
            }
        }
        return false;
    }

    private static void deleteRecursively(Path path) throws IOException {
        if (!Files.exists(path)) {
            return;
        }
        List<Path> paths;
        try (Stream<Path> walk = Files.walk(path)) {
            paths = walk.sorted(java.util.Comparator.reverseOrder()).toList();
        }
        for (Path p : paths) {
            Files.delete(p);
        }
    }
}
