//! Scalar functions: the values of a row to one value.

/// The shop that a page belongs to: the host of its address, without `www.`. NULL if it is no address.
///
/// `&str` borrows from the column; the function is not called for NULL, which gives NULL.
pub fn shop_of(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("://")?;
    let host = rest.split(['/', '?', '#', ':']).next()?;
    let shop = host.strip_prefix("www.").unwrap_or(host);
    (!shop.is_empty()).then(|| shop.to_lowercase())
}

/// A price without its tax of so many per cent, rounded down. Without a rate there is no tax.
///
/// `Option` takes NULL. An error fails the job, and is what `tidemill describe` shows as the cause.
pub fn net_cents(gross_cents: i64, rate: Option<i32>) -> Result<i64, String> {
    let rate = rate.unwrap_or(0);
    if rate < 0 {
        return Err(format!("a tax of {rate} per cent"));
    }
    gross_cents
        .checked_mul(100)
        .map(|hundredfold| hundredfold.div_euclid(100 + i64::from(rate)))
        .ok_or_else(|| format!("a price of {gross_cents} cents"))
}
