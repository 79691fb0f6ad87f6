import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.CompletableFuture;

import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SourceSplit;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.java.tuple.Tuple4;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/**
 * Bids of four longs (auction, bidder, price, event time in ms) made in the process, in order.
 *
 * <p>Row i of ROWS is the same whatever the parallelism: subtask s of n makes the rows i with
 * i mod n = s, so that event time advances evenly. There are {@link #EVENTS_PER_MS} rows for each
 * millisecond of event time; see {@link #mix} for the values. The Rust half makes the same rows.
 */
public final class BidSource implements Source<Tuple4<Long, Long, Long, Long>, BidSource.Stride, Long> {
    private static final long serialVersionUID = 1;

    public static final long EVENTS_PER_MS = 100;
    public static final long START_MS = 1_700_000_000_000L;
    public static final long AUCTIONS = 10_000;
    public static final long BIDDERS = 10_000;
    public static final long PRICES = 1_000_000;

    private final long rows;

    public BidSource(long rows) {
        this.rows = rows;
    }

    /** The rows next, next + step, next + 2 * step, ... below the number of rows. */
    public static final class Stride implements SourceSplit {
        final int subtask;
        final long step;
        long next;

        Stride(int subtask, long step, long next) {
            this.subtask = subtask;
            this.step = step;
            this.next = next;
        }

        @Override
        public String splitId() {
            return Integer.toString(subtask);
        }
    }

    /** The finalizer of splitmix64. */
    static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }

    static Tuple4<Long, Long, Long, Long> row(long i) {
        long random = mix((i + 1) * 0x9e3779b97f4a7c15L);
        return Tuple4.of(
                1000 + (random & 0xffff_ffffL) % AUCTIONS,
                1000 + (random >>> 32) % BIDDERS,
                1 + (mix(random) & Long.MAX_VALUE) % PRICES,
                START_MS + i / EVENTS_PER_MS);
    }

    @Override
    public Boundedness getBoundedness() {
        return Boundedness.BOUNDED;
    }

    @Override
    public SplitEnumerator<Stride, Long> createEnumerator(SplitEnumeratorContext<Stride> context) {
        return new Enumerator(context);
    }

    @Override
    public SplitEnumerator<Stride, Long> restoreEnumerator(SplitEnumeratorContext<Stride> context, Long none) {
        return new Enumerator(context);
    }

    @Override
    public SourceReader<Tuple4<Long, Long, Long, Long>, Stride> createReader(SourceReaderContext context) {
        return new Reader(context);
    }

    @Override
    public SimpleVersionedSerializer<Stride> getSplitSerializer() {
        return new StrideSerializer();
    }

    @Override
    public SimpleVersionedSerializer<Long> getEnumeratorCheckpointSerializer() {
        return new NoStateSerializer();
    }

    private static final class Enumerator implements SplitEnumerator<Stride, Long> {
        private final SplitEnumeratorContext<Stride> context;
        private final boolean[] assigned;

        Enumerator(SplitEnumeratorContext<Stride> context) {
            this.context = context;
            this.assigned = new boolean[context.currentParallelism()];
        }

        @Override
        public void start() {}

        @Override
        public void handleSplitRequest(int subtask, String host) {}

        @Override
        public void addSplitsBack(List<Stride> splits, int subtask) {
            throw new IllegalStateException("a measurement does not recover");
        }

        @Override
        public void addReader(int subtask) {
            if (!assigned[subtask]) {
                assigned[subtask] = true;
                context.assignSplit(new Stride(subtask, assigned.length, subtask), subtask);
                context.signalNoMoreSplits(subtask);
            }
        }

        @Override
        public Long snapshotState(long checkpoint) {
            return 0L;
        }

        @Override
        public void close() {}
    }

    private final class Reader implements SourceReader<Tuple4<Long, Long, Long, Long>, Stride> {
        private final SourceReaderContext context;
        private final CompletableFuture<Void> available = new CompletableFuture<>();
        private Stride stride;

        Reader(SourceReaderContext context) {
            this.context = context;
        }

        @Override
        public void start() {}

        @Override
        public InputStatus pollNext(ReaderOutput<Tuple4<Long, Long, Long, Long>> output) {
            if (stride == null) {
                return InputStatus.NOTHING_AVAILABLE;
            }
            // One record a call, as Flink's own readers do: the mailbox decides when to look up.
            if (stride.next >= rows) {
                return InputStatus.END_OF_INPUT;
            }
            Tuple4<Long, Long, Long, Long> bid = row(stride.next);
            stride.next += stride.step;
            output.collect(bid, bid.f3);
            return InputStatus.MORE_AVAILABLE;
        }

        @Override
        public List<Stride> snapshotState(long checkpoint) {
            return stride == null ? List.of() : List.of(new Stride(stride.subtask, stride.step, stride.next));
        }

        @Override
        public CompletableFuture<Void> isAvailable() {
            return stride == null ? available : CompletableFuture.completedFuture(null);
        }

        @Override
        public void addSplits(List<Stride> splits) {
            stride = splits.get(0);
            available.complete(null);
        }

        @Override
        public void notifyNoMoreSplits() {}

        @Override
        public void close() {}
    }

    private static final class StrideSerializer implements SimpleVersionedSerializer<Stride> {
        @Override
        public int getVersion() {
            return 1;
        }

        @Override
        public byte[] serialize(Stride stride) throws IOException {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            DataOutputStream out = new DataOutputStream(bytes);
            out.writeInt(stride.subtask);
            out.writeLong(stride.step);
            out.writeLong(stride.next);
            return bytes.toByteArray();
        }

        @Override
        public Stride deserialize(int version, byte[] bytes) throws IOException {
            DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes));
            return new Stride(in.readInt(), in.readLong(), in.readLong());
        }
    }

    private static final class NoStateSerializer implements SimpleVersionedSerializer<Long> {
        @Override
        public int getVersion() {
            return 1;
        }

        @Override
        public byte[] serialize(Long none) {
            return new byte[0];
        }

        @Override
        public Long deserialize(int version, byte[] bytes) {
            return 0L;
        }
    }
}
