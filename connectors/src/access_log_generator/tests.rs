use std::collections::{BTreeMap, HashSet};

use super::*;

fn log(lines: usize) -> Vec<String> {
    let mut log = AccessLog::new(AccessLogConfig::default()).unwrap();
    let mut out = Vec::new();
    log.fill(lines, &mut out);
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

/// The parts of a well-formed line: address, time, path, status, response time.
fn parse(line: &str) -> Option<(&str, &str, &str, u16, f64)> {
    let (address, rest) = line.split_once(" - ")?;
    let (_, rest) = rest.split_once(" [")?;
    let (time, rest) = rest.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    let path = request.split(' ').nth(1)?;
    let mut rest = rest.splitn(3, ' ');
    let status = rest.next()?.parse().ok()?;
    let _bytes: u64 = rest.next()?.parse().ok()?;
    let (_, response) = rest.next()?.rsplit_once("\" ")?;
    Some((address, time, path, status, response.parse().ok()?))
}

#[test]
fn the_first_lines_never_change() {
    expect_test::expect_file!["golden.txt"].assert_eq(&(log(12).join("\n") + "\n"));
}

#[test]
fn the_log_does_not_depend_on_how_it_is_asked_for() {
    let whole = log(1000).join("\n") + "\n";
    let mut log = AccessLog::new(AccessLogConfig::default()).unwrap();
    let mut out = Vec::new();
    let mut written = 0;
    for step in 0.. {
        written += log.fill_due(Duration::from_millis(step * 100), 1000 - written, &mut out);
        if written == 1000 {
            break;
        }
    }
    assert!(whole.as_bytes() == out);
    assert_eq!(log.next_due(), Duration::from_secs(1));
}

#[test]
fn the_shop_looks_like_one() {
    let lines = log(200_000);
    let parsed: Vec<_> = lines.iter().filter_map(|line| parse(line)).collect();
    let malformed = lines.len() - parsed.len();
    assert!((50..200).contains(&malformed), "{malformed} malformed");
    let mut sections: BTreeMap<&str, u64> = BTreeMap::new();
    let mut regions: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut errors, mut orders, mut revenue) = (0, 0, 0.0);
    for (address, time, path, status, response) in &parsed {
        assert!(time.starts_with("01/Jun/2024:"), "{time}");
        assert!((0.0..60.0).contains(response));
        let section = path[1..].split(['/', '?']).next().unwrap();
        *sections.entry(section).or_default() += 1;
        let first: u8 = address.split('.').next().unwrap().parse().unwrap();
        let region = REGIONS.iter().find(|(number, _)| *number == first).map_or("robots", |(_, name)| *name);
        *regions.entry(region).or_default() += 1;
        errors += u64::from(*status >= 500);
        if let Some((_, amount)) = path.split_once("&amount=") {
            orders += 1;
            revenue += amount.parse::<f64>().unwrap();
        }
    }
    assert_eq!(
        sections.keys().copied().collect::<Vec<_>>(),
        ["account", "blog", "cart", "checkout", "home", "product", "robots.txt", "search"]
    );
    assert_eq!(regions.len(), 8, "{regions:?}");
    assert!(sections.values().chain(regions.values()).all(|lines| *lines > 100), "{sections:?} {regions:?}");
    assert!((1_000..10_000).contains(&errors), "{errors} errors");
    assert!((1_000..20_000).contains(&orders), "{orders} orders");
    assert!(revenue / f64::from(orders) > 10.0);
    let visitors: HashSet<&str> = parsed.iter().map(|line| line.0).collect();
    assert!(visitors.len() > 5_000, "{} visitors", visitors.len());
}

#[test]
fn impossible_settings_are_refused() {
    let config = AccessLogConfig { lines_per_second: 0.0, ..AccessLogConfig::default() };
    let error = AccessLog::new(config).err().unwrap();
    assert_eq!(error.to_string(), "the rate is 0; it must be above 0 and at most 1000000000");
}
