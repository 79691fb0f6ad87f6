import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.tuple.Tuple4;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.GlobalConfiguration;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.functions.windowing.WindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Submits a job to the running cluster, waits for its end and prints the milliseconds it took and the
 * checkpoints it completed, as the cluster says.
 *
 * <p>{@code Submit CONF_DIR JAR sql FILE DATA OUT}: a SQL script, {@code ${data}} and
 * {@code ${out}} replaced. {@code ... window ROWS}: count and sum of price per auction in tumbling
 * windows of 10 s. {@code ... shuffle ROWS}: keyBy(auction) into a discarding sink.
 */
public final class Submit {
    private static final Pattern SET = Pattern.compile("(?is)SET\\s+'([^']*)'\\s*=\\s*'([^']*)'");
    private static final TypeInformation<Tuple4<Long, Long, Long, Long>> BID = new TypeHint<Tuple4<Long, Long, Long, Long>>() {}.getTypeInfo();
    private static final long JOB_MINUTES_MAX = 20;

    public static void main(String[] args) throws Exception {
        // Checkpointing and object reuse are the job's own options: the cluster's file is the client's too.
        Configuration configuration = GlobalConfiguration.loadConfiguration(args[0]);
        int port = configuration.get(RestOptions.PORT);
        String jar = args[1];
        List<JobClient> jobs = switch (args[2]) {
            case "sql" -> sql(configuration, Files.readString(Path.of(args[3])).replace("${data}", args[4]).replace("${out}", args[5]));
            case "window" -> List.of(window(remote(configuration, jar), Long.parseLong(args[3])));
            case "shuffle" -> List.of(shuffle(remote(configuration, jar), Long.parseLong(args[3])));
            default -> throw new IllegalArgumentException(args[2]);
        };
        long duration = 0;
        long checkpoints = 0;
        for (JobClient job : jobs) {
            job.getJobExecutionResult().get(JOB_MINUTES_MAX, TimeUnit.MINUTES);
            duration += number(port, "/jobs/" + job.getJobID(), "duration");
            checkpoints += number(port, "/jobs/" + job.getJobID() + "/checkpoints", "completed");
        }
        System.out.println(duration + " " + checkpoints);
        System.exit(0);
    }

    private static List<JobClient> sql(Configuration configuration, String script) throws Exception {
        configuration.setString("execution.target", "remote");
        TableEnvironment env = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        List<JobClient> jobs = new ArrayList<>();
        for (String statement : Statements.split(script)) {
            Matcher set = SET.matcher(statement);
            if (set.matches()) {
                env.getConfig().set(set.group(1), set.group(2));
            } else if (statement.toUpperCase(Locale.ROOT).matches("(?s)(INSERT|EXECUTE)\\b.*")) {
                jobs.add(env.executeSql(statement).getJobClient().orElseThrow());
            } else {
                env.executeSql(statement);
            }
        }
        return jobs;
    }

    private static StreamExecutionEnvironment remote(Configuration configuration, String jar) {
        return StreamExecutionEnvironment.createRemoteEnvironment("127.0.0.1", configuration.get(RestOptions.PORT), configuration, jar);
    }

    private static DataStream<Tuple4<Long, Long, Long, Long>> bids(StreamExecutionEnvironment env, long rows) {
        return env.fromSource(new BidSource(rows), WatermarkStrategy.forMonotonousTimestamps(), "bids", BID);
    }

    private static JobClient window(StreamExecutionEnvironment env, long rows) throws Exception {
        bids(env, rows)
                .keyBy(bid -> bid.f0)
                .window(TumblingEventTimeWindows.of(Duration.ofSeconds(10)))
                .aggregate(new CountAndSum(), new WithKey(), new TypeHint<Tuple2<Long, Long>>() {}.getTypeInfo(), BID)
                .sinkTo(new DiscardingSink<>());
        return env.executeAsync("window");
    }

    private static JobClient shuffle(StreamExecutionEnvironment env, long rows) throws Exception {
        bids(env, rows).keyBy(bid -> bid.f0).sinkTo(new DiscardingSink<>());
        return env.executeAsync("shuffle");
    }

    /** The accumulator is changed in place: no object is made for a row. */
    private static final class CountAndSum
            implements AggregateFunction<Tuple4<Long, Long, Long, Long>, Tuple2<Long, Long>, Tuple4<Long, Long, Long, Long>> {
        @Override
        public Tuple2<Long, Long> createAccumulator() {
            return Tuple2.of(0L, 0L);
        }

        @Override
        public Tuple2<Long, Long> add(Tuple4<Long, Long, Long, Long> bid, Tuple2<Long, Long> sum) {
            sum.f0++;
            sum.f1 += bid.f2;
            return sum;
        }

        @Override
        public Tuple4<Long, Long, Long, Long> getResult(Tuple2<Long, Long> sum) {
            return Tuple4.of(0L, 0L, sum.f0, sum.f1);
        }

        @Override
        public Tuple2<Long, Long> merge(Tuple2<Long, Long> a, Tuple2<Long, Long> b) {
            return Tuple2.of(a.f0 + b.f0, a.f1 + b.f1);
        }
    }

    private static final class WithKey
            implements WindowFunction<Tuple4<Long, Long, Long, Long>, Tuple4<Long, Long, Long, Long>, Long, TimeWindow> {
        @Override
        public void apply(Long key, TimeWindow window, Iterable<Tuple4<Long, Long, Long, Long>> sums,
                org.apache.flink.util.Collector<Tuple4<Long, Long, Long, Long>> out) {
            for (Tuple4<Long, Long, Long, Long> sum : sums) {
                sum.f0 = key;
                sum.f1 = window.getStart();
                out.collect(sum);
            }
        }
    }

    /** The number that a field of the cluster's answer has first. */
    private static long number(int port, String path, String field) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).build();
        String body = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
        Matcher matcher = Pattern.compile("\"" + field + "\":(\\d+)").matcher(body);
        if (!matcher.find()) {
            throw new IllegalStateException("no " + field + " in " + body);
        }
        return Long.parseLong(matcher.group(1));
    }
}
