import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Records what Flink makes of expressions over a few rows of every type.
 *
 * <p>Usage: {@code Expressions DDL ROWS EXPRESSIONS ANSWERS}: the columns, the rows as JSON lines, one
 * expression a line, and the file to write. An answer is the expression, its type and the text of its
 * value ({@code CAST(... AS STRING)}) for each row, between tabs: {@code \N} is NULL, {@code \E} a
 * failure of that row. A type of {@code \E} is an expression that does not plan.
 */
public final class Expressions {
    private static final int BATCH = 24;
    private static final int THREADS = Integer.getInteger("threads", 2);

    private final String ddl;
    private final Path rows;
    private final int rowCount;
    private final Configuration configuration;
    private final String[] answers;
    private final List<String> expressions;

    private Expressions(String ddl, Path rows, List<String> expressions, Configuration configuration) throws IOException {
        this.ddl = ddl;
        this.rows = rows.toAbsolutePath();
        this.rowCount = Files.readAllLines(rows).size();
        this.expressions = expressions;
        this.configuration = configuration;
        this.answers = new String[expressions.size()];
    }

    public static void main(String[] args) throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("rest.port", "0");
        configuration.setString("rest.bind-port", "0");
        configuration.setString("rest.address", "127.0.0.1");
        configuration.setString("taskmanager.memory.network.min", "64mb");
        configuration.setString("taskmanager.memory.network.max", "64mb");
        configuration.setString("taskmanager.memory.managed.size", "64mb");
        MiniCluster cluster = new MiniCluster(new MiniClusterConfiguration.Builder()
                .setConfiguration(configuration).setNumTaskManagers(1).setNumSlotsPerTaskManager(THREADS * 2).build());
        cluster.start();
        configuration.setString("execution.target", "remote");
        configuration.setString("rest.port", Integer.toString(cluster.getRestAddress().get().getPort()));
        configuration.setString("parallelism.default", "1");
        configuration.setString("table.local-time-zone", "America/New_York");

        List<String> expressions = Files.readAllLines(Path.of(args[2]), StandardCharsets.UTF_8);
        Expressions recorder = new Expressions(args[0], Path.of(args[1]), expressions, configuration);
        AtomicInteger next = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        for (int n = 0; n < THREADS; n++) {
            Thread thread = new Thread(() -> {
                TableEnvironment env = recorder.environment();
                for (int from; (from = next.getAndAdd(BATCH)) < expressions.size();) {
                    recorder.batch(env, from, Math.min(from + BATCH, expressions.size()));
                    if (from % (BATCH * 20) == 0) {
                        System.err.printf("%d of %d%n", from, expressions.size());
                    }
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        try (PrintWriter out = new PrintWriter(args[3], StandardCharsets.UTF_8)) {
            for (int n = 0; n < expressions.size(); n++) {
                out.print(expressions.get(n) + "\t" + recorder.answers[n] + "\n");
            }
        }
        System.exit(0);
    }

    private TableEnvironment environment() {
        TableEnvironment env = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        env.executeSql("CREATE TABLE t (" + ddl + ") WITH ('connector' = 'filesystem', 'path' = '" + rows + "', 'format' = 'json')");
        return env;
    }

    private void batch(TableEnvironment env, int from, int to) {
        List<Integer> planned = new ArrayList<>();
        String[] types = new String[to - from];
        for (int n = from; n < to; n++) {
            try {
                types[n - from] = type(env.sqlQuery("SELECT " + expressions.get(n) + " AS x FROM t")
                        .getResolvedSchema().getColumnDataTypes().get(0).getLogicalType().asSerializableString());
                planned.add(n);
            } catch (Throwable e) {
                answers[n] = "\\E\t" + reason(e);
            }
        }
        evaluate(env, planned, from, types);
    }

    /** Evaluates together what can be, and halves what fails until it is one expression, which goes row by row. */
    private void evaluate(TableEnvironment env, List<Integer> planned, int from, String[] types) {
        if (planned.isEmpty()) {
            return;
        }
        try {
            List<String[]> values = run(env, planned, "");
            for (int column = 0; column < planned.size(); column++) {
                StringBuilder text = new StringBuilder(types[planned.get(column) - from]);
                for (String[] row : values) {
                    text.append('\t').append(row[column]);
                }
                answers[planned.get(column)] = text.toString();
            }
        } catch (Throwable e) {
            if (planned.size() > 1) {
                int middle = planned.size() / 2;
                evaluate(env, planned.subList(0, middle), from, types);
                evaluate(env, planned.subList(middle, planned.size()), from, types);
                return;
            }
            int n = planned.get(0);
            StringBuilder text = new StringBuilder(types[n - from]);
            int failed = 0;
            for (int row = 1; row <= rowCount; row++) {
                String value;
                try {
                    value = run(env, planned, " WHERE id = " + row).get(0)[0];
                } catch (Throwable again) {
                    value = "\\E";
                    failed++;
                    e = again;
                }
                text.append('\t').append(value);
            }
            // What no row can be planned with fails in the planner behind validation.
            answers[n] = text + (failed > 0 ? "\t" + reason(e) : "");
        }
    }

    private List<String[]> run(TableEnvironment env, List<Integer> planned, String where) throws Exception {
        StringBuilder sql = new StringBuilder("SELECT id");
        for (int n : planned) {
            sql.append(", CAST(").append(expressions.get(n)).append(" AS STRING)");
        }
        List<String[]> values = new ArrayList<>();
        try (CloseableIterator<Row> rows = env.executeSql(sql + " FROM t" + where).collect()) {
            while (rows.hasNext()) {
                Row row = rows.next();
                String[] texts = new String[planned.size()];
                for (int column = 0; column < texts.length; column++) {
                    Object value = row.getField(column + 1);
                    texts[column] = value == null ? "\\N" : escaped(value.toString());
                }
                values.add(texts);
            }
        }
        if (values.isEmpty()) {
            throw new IllegalStateException("no rows");
        }
        return values;
    }

    private static String escaped(String text) {
        return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r");
    }

    private static String type(String serializable) {
        return serializable
                .replace("VARCHAR(2147483647)", "STRING")
                .replace("VARBINARY(2147483647)", "BYTES")
                .replaceAll("TIMESTAMP\\((\\d)\\) WITH LOCAL TIME ZONE", "TIMESTAMP_LTZ($1)");
    }

    /** The first line of the innermost cause, for people who wonder. */
    private static String reason(Throwable e) {
        while (e.getCause() != null && e.getCause() != e) {
            e = e.getCause();
        }
        String text = e.getClass().getSimpleName() + ": " + e.getMessage();
        int end = text.indexOf('\n');
        text = escaped(end < 0 ? text : text.substring(0, end));
        return "# " + (text.length() > 100 ? text.substring(0, 100) : text);
    }
}
