import java.io.BufferedOutputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;

/**
 * Writes JSON bids of about 200 bytes for the SQL jobs: {@code MakeBids DIR FILES ROWS}.
 *
 * <p>Row i goes to file i mod FILES, so that readers of one file each advance evenly in event time:
 * 100 rows for a millisecond, as {@link BidSource}. Seeded by the row number, the same on every machine.
 */
public final class MakeBids {
    private static final String[] NAMED = {"Google", "Facebook", "Baidu", "Apple"};
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss.SSS");
    private static final String FILLER = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop";

    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[0]);
        int files = Integer.parseInt(args[1]);
        long rows = Long.parseLong(args[2]);
        Files.createDirectories(dir);
        OutputStream[] out = new OutputStream[files];
        for (int f = 0; f < files; f++) {
            out[f] = new BufferedOutputStream(Files.newOutputStream(dir.resolve("bids-" + f + ".json")), 1 << 20);
        }
        String time = "";
        long timeMs = -1;
        StringBuilder line = new StringBuilder(256);
        for (long i = 0; i < rows; i++) {
            long random = BidSource.mix((i + 1) * 0x9e3779b97f4a7c15L);
            long ms = BidSource.START_MS + i / BidSource.EVENTS_PER_MS;
            if (ms != timeMs) {
                timeMs = ms;
                time = TIME.format(LocalDateTime.ofEpochSecond(ms / 1000, (int) (ms % 1000) * 1_000_000, ZoneOffset.UTC));
            }
            int number = (int) (random >>> 8 & 0xffff) % 100;
            String channel = (random & 1) == 0 ? NAMED[(int) (random >>> 1 & 3)] : "channel-" + number;
            line.setLength(0);
            line.append("{\"auction\":").append(1000 + (random & 0xffff_ffffL) % BidSource.AUCTIONS)
                    .append(",\"bidder\":").append(1000 + (random >>> 32) % BidSource.BIDDERS)
                    .append(",\"price\":").append(1 + (BidSource.mix(random) & Long.MAX_VALUE) % BidSource.PRICES)
                    .append(",\"channel\":\"").append(channel)
                    .append("\",\"url\":\"https://www.nexmark.com/").append(channel).append("/item.htm?query=1&id=").append(number)
                    .append("\",\"dateTime\":\"").append(time)
                    .append("\",\"extra\":\"").append(FILLER, number % 40, number % 40 + 20)
                    .append("\"}\n");
            out[(int) (i % files)].write(line.toString().getBytes(StandardCharsets.US_ASCII));
        }
        for (OutputStream o : out) {
            o.close();
        }
    }
}
