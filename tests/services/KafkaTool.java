import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What kafka.sh does against a running broker; one short JVM a call, or one for a session. */
public final class KafkaTool {
    private static final Duration CONSUME_IDLE_MAX = Duration.ofSeconds(20);
    private static final Duration DRAIN_IDLE = Duration.ofSeconds(3);

    public static void main(String[] args) throws Exception {
        if (args[0].equals("session")) {
            session(args[1]);
        } else {
            run(args);
        }
    }

    /** One command a line of standard input, without the server; a line ends the answer to each. */
    private static void session(String servers) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            List<String> args = new ArrayList<>(List.of(line.split(" ")));
            args.add(1, servers);
            String end = "--- done";
            try {
                run(args.toArray(new String[0]));
            } catch (Exception e) {
                end = "--- failed: " + e;
            }
            System.out.println(end);
            System.out.flush();
        }
    }

    private static void run(String[] args) throws Exception {
        String command = args[0];
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[1]);
        switch (command) {
            case "wait" -> await(properties, Integer.parseInt(args[2]));
            case "topic" -> topic(properties, args[2], Integer.parseInt(args[3]));
            case "produce" -> produce(properties, args[2], Path.of(args[3]));
            case "consume" -> consume(properties, args[2], Integer.parseInt(args[3]));
            case "drain" -> drain(properties, args[2]);
            case "offsets" -> offsets(properties, args[2]);
            default -> throw new IllegalArgumentException(command);
        }
    }

    private static void await(Properties properties, int seconds) throws Exception {
        properties.put("reconnect.backoff.max.ms", "100");
        try (Admin admin = Admin.create(properties)) {
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
            while (true) {
                try {
                    if (!admin.describeCluster().nodes().get(2, TimeUnit.SECONDS).isEmpty()) {
                        return;
                    }
                } catch (Exception e) {
                    if (System.nanoTime() > deadline) {
                        throw e;
                    }
                }
                Thread.sleep(50);
            }
        }
    }

    private static void topic(Properties properties, String name, int partitions) throws Exception {
        try (Admin admin = Admin.create(properties)) {
            String[] parts = name.split("\\?", 2);
            Map<String, String> configuration = new HashMap<>();
            for (String setting : parts.length > 1 ? parts[1].split(",") : new String[0]) {
                configuration.put(setting.substring(0, setting.indexOf('=')), setting.substring(setting.indexOf('=') + 1));
            }
            NewTopic topic = new NewTopic(parts[0], partitions, (short) 1).configs(configuration);
            admin.createTopics(List.of(topic)).all().get(30, TimeUnit.SECONDS);
        }
    }

    private static void produce(Properties properties, String topic, Path file) throws Exception {
        properties.put("acks", "all");
        properties.put("linger.ms", "5");
        ByteArraySerializer bytes = new ByteArraySerializer();
        Future<RecordMetadata> last = null;
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties, bytes, bytes);
                Stream<String> lines = Files.lines(file)) {
            for (String line : (Iterable<String>) lines::iterator) {
                int tab = line.indexOf('\t');
                byte[] key = tab < 0 ? null : line.substring(0, tab).getBytes(StandardCharsets.UTF_8);
                last = producer.send(new ProducerRecord<>(topic, key, line.substring(tab + 1).getBytes(StandardCharsets.UTF_8)));
            }
            producer.flush();
        }
        if (last != null) {
            last.get();
        }
    }

    private static void consume(Properties properties, String topic, int count) throws Exception {
        properties.put("auto.offset.reset", "earliest");
        properties.put("isolation.level", "read_committed");
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        int seen = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
            assignAll(consumer, topic);
            long deadline = System.nanoTime() + CONSUME_IDLE_MAX.toNanos();
            while (seen < count && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    if (seen < count) {
                        System.out.println(record.value() == null ? "" : new String(record.value(), StandardCharsets.UTF_8));
                        seen++;
                    }
                    deadline = System.nanoTime() + CONSUME_IDLE_MAX.toNanos();
                }
            }
        }
        if (seen < count) {
            System.err.println("kafka: only " + seen + " of " + count + " messages in " + topic);
            System.exit(1);
        }
    }

    /** All that is committed, until nothing has come for some seconds. */
    private static void drain(Properties properties, String topic) throws Exception {
        properties.put("auto.offset.reset", "earliest");
        properties.put("isolation.level", "read_committed");
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
            assignAll(consumer, topic);
            long deadline = System.nanoTime() + DRAIN_IDLE.toNanos();
            while (System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    System.out.println(record.value() == null ? "" : new String(record.value(), StandardCharsets.UTF_8));
                    deadline = System.nanoTime() + DRAIN_IDLE.toNanos();
                }
            }
        }
    }

    private static void offsets(Properties properties, String topic) throws Exception {
        properties.put("isolation.level", "read_committed");
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
            Map<TopicPartition, Long> ends = consumer.endOffsets(assignAll(consumer, topic));
            ends.entrySet().stream()
                    .sorted((a, b) -> Integer.compare(a.getKey().partition(), b.getKey().partition()))
                    .forEach(e -> System.out.println(e.getKey().partition() + " " + e.getValue()));
        }
    }

    private static List<TopicPartition> assignAll(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        List<TopicPartition> partitions = new ArrayList<>();
        consumer.partitionsFor(topic).forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
        consumer.assign(partitions);
        return partitions;
    }
}
