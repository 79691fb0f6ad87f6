#!/usr/bin/env python3
"""Writes the synthetic inputs of the golden scripts beside itself.

The generator is seeded and uses nothing that differs between runs or machines, so the committed
files are what it writes: `generate.py && git diff --exit-code` says whether they still agree.
The inputs that come from elsewhere (see NOTE.md) are not its business.
"""

import csv
import json
import pathlib
import random
from datetime import datetime, timedelta

HERE = pathlib.Path(__file__).resolve().parent


def write_json(name, rows):
    with open(HERE / name, "w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_csv(name, rows):
    with open(HERE / name, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)


def stamp(t, digits=3):
    """A timestamp in the SQL format of Flink's json and csv formats."""
    text = t.strftime("%Y-%m-%d %H:%M:%S")
    return text + "." + f"{t.microsecond:06d}"[:digits] if digits else text


def bids(rng):
    """Nexmark bids: hot auctions and bidders, 4 channels by name and many by number.

    About 20 a second over a minute; some are up to 3 s out of order, within Nexmark's 4 s delay.
    """
    start = datetime(2024, 3, 10, 12, 0, 0)
    named = ["Google", "Facebook", "Baidu", "Apple"]
    at = 0
    for n in range(1200):
        at += rng.randint(20, 80)
        event = start + timedelta(milliseconds=max(0, at - (rng.randint(0, 3000) if rng.random() < 0.1 else 0)))
        auction = 1000 + (rng.randint(0, 3) * 100 if rng.random() < 0.5 else rng.randint(0, 399))
        bidder = 1001 + (rng.randint(0, 4) if rng.random() < 0.4 else rng.randint(0, 199))
        if rng.random() < 0.6:
            channel = rng.choice(named)
            url = f"https://www.nexmark.com/{channel.lower()}/{rng.choice('abcdef')}{rng.randint(0, 99)}/item.htm?query=1"
        else:
            number = rng.randint(0, 99)
            channel = f"channel-{number}"
            url = f"https://www.nexmark.com/{rng.choice('abcdef')}/{rng.randint(0, 9)}/x{number}/item.htm?query=1"
            if rng.random() < 0.9:
                url += f"&channel_id={number * 67}"
        extra = "".join(rng.choice("abcdefghijklmnop") for _ in range(rng.randint(0, 30)))
        yield {
            "auction": auction,
            "bidder": bidder,
            "price": int(10 ** (rng.random() * 6)) + 1,
            "channel": channel,
            "url": url,
            "dateTime": stamp(event),
            "extra": extra,
        }


def access(rng):
    """Web access events of a shop, twelve minutes, up to 4 s out of order, revenue in cents rarely."""
    start = datetime(2024, 6, 1, 9, 58, 30)
    sections = ["home", "search", "product", "cart", "checkout"]
    regions = ["eu-west", "us-east", "ap-south", None]
    at = 0
    for n in range(1400):
        at += rng.randint(50, 1000)
        event = start + timedelta(milliseconds=at - (rng.randint(0, 4000) if rng.random() < 0.15 else 0))
        section = rng.choices(sections, [30, 25, 30, 10, 5])[0]
        status = rng.choices([200, 304, 404, 500, 503], [85, 5, 6, 3, 1])[0]
        yield {
            "ts": stamp(event),
            "user_id": f"u{rng.randint(1, 120):04d}" if rng.random() < 0.97 else None,
            "region": rng.choices(regions, [50, 30, 15, 5])[0],
            "section": section,
            "path": f"/{section}/{rng.randint(1, 40)}?ref={rng.choice(['ad', 'mail', 'seo'])}&v={rng.randint(1, 3)}",
            "status": status,
            "ms": rng.randint(1, 50) if status == 304 else rng.randint(5, 900),
            "bytes": None if status >= 500 else rng.randint(200, 90000),
            "revenue": round(rng.randint(100, 50000) / 100, 2) if section == "checkout" and status == 200 else None,
        }


def orders(rng):
    """Orders with decimals, nullable columns and a date; two days, a jump of a night between."""
    at = datetime(2024, 2, 28, 20, 0, 0)
    for n in range(400):
        at += timedelta(seconds=rng.randint(1, 90))
        if n == 200:
            at += timedelta(hours=9, minutes=17)
        yield {
            "id": n + 1,
            "customer": rng.choice(["ann", "bob", "cyd", "dee", "eve", None]),
            "item": rng.choice(["anvil", "bolt", "crate", "drill", "easel", "flask"]),
            "quantity": rng.randint(1, 12),
            "price": rng.randint(1, 99999) / 100,
            "discount": rng.choice([None, 0, 5, 10, 12.5, 33.333]),
            "express": rng.choice([True, False, None]),
            "placed": stamp(at),
            "due": (at + timedelta(days=rng.randint(1, 9))).strftime("%Y-%m-%d"),
            "store": rng.choice([1, 2, 3, 4]),
        }


def sensors(rng):
    """Readings of six devices every few seconds, half an hour, with gaps and missing values (csv)."""
    start = datetime(2024, 10, 27, 0, 30, 0)
    at = 0
    for n in range(600):
        at += rng.randint(1, 5)
        if n in (150, 420):
            at += 300
        late = rng.randint(1, 5) if rng.random() < 0.2 else 0
        yield [
            f"dev-{rng.randint(1, 6)}",
            stamp(start + timedelta(seconds=at - late), 0),
            "" if rng.random() < 0.05 else repr(round(rng.gauss(20, 5), 2)),
            "" if rng.random() < 0.05 else repr(round(rng.random() * 100, 1)),
            rng.randint(0, 100),
            rng.choice(["ok", "ok", "ok", "warn", "fail, hard", 'a "quoted" word']),
        ]


def sessions(rng):
    """Clicks of users in bursts, so that session windows merge and split; ordered."""
    start = datetime(2024, 1, 1, 0, 0, 0)
    events = []
    for user in ["ann", "bob", "cyd", "dee", None]:
        at = rng.randint(0, 30)
        for _ in range(12):
            for _ in range(rng.randint(1, 8)):
                at += rng.randint(1, 9)
                events.append((at, user, rng.choice(["view", "add", "buy"]), rng.randint(1, 500)))
            at += rng.randint(10, 90)
    events.sort(key=lambda e: (e[0], e[1] or ""))
    # Neighbours swapped: out of order by a few seconds, never more than 10.
    for i in range(0, len(events) - 1, 5):
        if events[i + 1][0] - events[i][0] <= 8:
            events[i], events[i + 1] = events[i + 1], events[i]
    for at, user, action, amount in events:
        yield {"user": user, "action": action, "amount": amount, "ts": stamp(start + timedelta(seconds=at), 0)}


def late():
    """Few rows by hand: what is late under a 5 s delay and 10 s windows is marked in `note`.

    Every step forward is a second or more, so a watermark follows each row that advances time.
    """
    rows = [
        ("a", "00:00:01", 1, "in time"),
        ("b", "00:00:09", 2, "in time"),
        ("a", "00:00:14", 4, "watermark 09"),
        ("a", "00:00:05", 8, "behind, its window is open"),
        ("b", "00:00:15", 16, "watermark 10: fires [00,10)"),
        ("a", "00:00:09", 32, "late"),
        ("a", "00:00:10", 64, "on the watermark, its window is open"),
        ("c", "00:00:31", 128, "watermark 26: fires [10,20)"),
        ("b", "00:00:19", 256, "late"),
        ("b", "00:00:20", 512, "its window is open"),
        ("a", "00:00:29", 1024, "its window is open"),
        ("c", "00:00:35", 2048, "watermark 30: fires [20,30)"),
        ("c", "00:00:29", 4096, "late"),
        ("c", "00:00:34", 8192, "in time"),
        ("a", "00:01:10", 16384, "two empty windows between"),
        ("a", "00:00:59", 32768, "late, though its window never fired"),
    ]
    for key, time, n, note in rows:
        yield {"k": key, "ts": f"2024-05-05 {time}", "n": n, "note": note}


def numbers():
    """Edges of the integer types, decimals and floating point; strings that may not be numbers."""
    rows = [
        (0, 0, 0, 0, 0.0, 0.0, "0.00", "0"),
        (1, 1, 1, 1, 1.0, 1.0, "1.00", "1"),
        (-1, -1, -1, -1, -1.0, -1.0, "-1.00", " -1 "),
        (127, 32767, 2147483647, 9223372036854775807, 3.4028235e38, 1.7976931348623157e308, "99999999.99", "127"),
        (-128, -32768, -2147483648, -9223372036854775808, 1.17549435e-38, 2.2250738585072014e-308, "-99999999.99", "-129"),
        (7, 7, 7, 7, 0.1, 0.1, "0.05", "abc"),
        (-7, -7, -7, -7, -0.1, -0.1, "-0.05", ""),
        (3, 300, 70000, 5000000000, 1.5, 2.5, "2.50", "1.5"),
        (10, 1000, 1000000, 1000000000000, 123456.79, 123456789.125, "1234.56", "1e3"),
        (2, 20, 200, 2000, 1e7, 1e7, "10.10", "0x1F"),
        (5, 50, 500, 5000, 9999999.0, 0.001, "3.33", "+5"),
        (6, 60, 600, 6000, 0.001, 0.000999, "6.67", "6."),
        (9, 90, 900, 9000, 1e10, 1e21, "0.01", ".5"),
        (8, 80, 800, 8000, 3.3333333, 0.3333333333333333, "-0.01", "99999999999999999999"),
        (4, 40, 400, 4000, -2.5, -3.5, "4.44", "true"),
        (11, 110, 1100, 11000, 100.0, 1234567.0, "12345678.90", "NaN"),
        (12, 120, 1200, 12000, 16777216.0, 9007199254740993.0, "0.99", "Infinity"),
        (13, 130, 1300, 13000, 2.0, 4.35, "5.55", "2024-01-01"),
        (14, None, 1400, None, None, 5.0e-324, None, None),
        (None, 150, None, 15000, 0.3, None, "7.77", "\t12\n"),
        (None, None, None, None, None, None, None, None),
    ]
    for n, (t, s, i, b, f, d, dec, txt) in enumerate(rows):
        yield {"id": n, "t": t, "s": s, "i": i, "b": b, "f": f, "d": d,
               "dec": None if dec is None else float(dec), "txt": txt}


def strings():
    rows = [
        "hello world", "Hello, World!", "", " ", "  padded  ", "UPPER lower", "a,b,,c", "straße",
        "ÀÉÎõü", "日本語テキスト", "naïve café", "emoji 😀 end", "tab\there", "line\nbreak", "quote\"s and 'ticks'",
        "back\\slash", "100% sure", "under_score", "user@example.com", "key=value;k2=v2",
        "https://user:pw@example.com:8080/a/b/c.html?x=1&y=two&z=#frag", "foo bar foo baz foo", "aaa",
        "123abc456", "-42", "3.14", "true", "İstanbul", "ŒUVRE", "ends with space ", "xXxXx", None,
    ]
    for n, s in enumerate(rows):
        yield {"id": n, "s": s, "n": (n * 7) % 11 - 3, "p": [None, "a", "o", "foo", ",", ""][n % 6]}


def texts():
    """Texts that may be booleans, dates, times or timestamps."""
    for n, v in enumerate([
        "TRUE", "f", "yes", "1", "n", "off", "0", "t", "2024-2-3", "2024-02-30", "2024-02-03 04:05",
        "2024-02-03T04:05:06.789123", "04:05", "24:00:00", "4:5:6", "2024-02-03 04:05:06Z", "12:34:56.789",
        " 2024-02-03 ", "20240203", "2024-02", "2024", "2024-02-03 25:00:00", "0001-01-01", "12024-01-01",
        "2024-02-03 04:05:06+02:00", "2024-02-03 04:05:06", "2024-02-03 04:05:06.7", "2024-02-03 4:5:6", "", None,
    ]):
        yield {"id": n, "v": v}


def times():
    rows = [
        ("2024-02-29", "00:00:00", "2024-02-29 00:00:00", 0),
        ("2023-12-31", "23:59:59", "2023-12-31 23:59:59.999", 1703980799999),
        ("1970-01-01", "12:34:56", "1970-01-01 00:00:00", 1),
        ("1969-12-31", "01:02:03", "1969-12-31 23:59:59.5", -1),
        ("2000-01-01", "06:30:00", "2000-01-01 12:00:00.123", 946684800000),
        ("1900-03-01", "18:00:00", "1900-03-01 10:20:30.4", -2203891200000),
        ("2024-03-31", "02:30:00", "2024-03-31 02:30:00", 1711848600000),
        ("2024-10-27", "02:30:00", "2024-10-27 02:30:00.001", 1729992600000),
        ("2026-07-04", "09:08:07", "2026-07-04 09:08:07.06", 1783155600000),
        ("9999-12-31", "23:00:00", "9999-12-31 23:59:59.999", 253402300799999),
        ("2021-01-03", "05:05:05", "2021-01-03 05:05:05.555", 1609650305555),
        ("2020-12-28", "10:10:10", "2020-12-28 10:10:10.1", 1609150210100),
        (None, None, None, None),
        ("2024-01-15", None, "2024-01-15 15:16:17.189", None),
    ]
    for n, (d, t, ts, ms) in enumerate(rows):
        yield {"id": n, "d": d, "t": t, "ts": ts, "ms": ms}


def nested():
    rows = [
        ({"name": "ann", "age": 31, "home": {"city": "Oslo", "zip": "0150"}}, ["a", "b", "c"], [1, 2, 3], {"x": 1, "y": 2}),
        ({"name": "bob", "age": None, "home": {"city": "Rome", "zip": None}}, [], [], {}),
        ({"name": None, "age": 7, "home": None}, ["only"], [None, 5], {"z": None}),
        (None, None, None, None),
        ({"name": "dee", "age": -1, "home": {"city": "", "zip": "x"}}, ["p", None, "q", "p"], [9, 9, -9, 0], {"y": 20}),
        ({"name": "eve"}, ["ünï", "日本"], [2147483647], {"x": -5, "longer key": 6}),
    ]
    for n, (who, tags, nums, attrs) in enumerate(rows):
        yield {"id": n, "who": who, "tags": tags, "nums": nums, "attrs": attrs}


def main():
    write_json("bids.json", bids(random.Random(1)))
    write_json("access.json", access(random.Random(2)))
    write_json("orders.json", orders(random.Random(3)))
    write_csv("sensors.csv", sensors(random.Random(4)))
    write_json("clicks.json", sessions(random.Random(5)))
    write_json("late.json", late())
    write_json("numbers.json", numbers())
    write_json("strings.json", strings())
    write_json("texts.json", texts())
    write_json("times.json", times())
    write_json("nested.json", nested())


if __name__ == "__main__":
    main()
