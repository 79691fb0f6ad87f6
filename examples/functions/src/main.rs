//! Tidemill with functions of a web shop: `job.sql` calls them.
//!
//!     ORDERS=examples/functions/orders.jsonl cargo run --release -p tidemill-example-functions -- \
//!         run examples/functions/job.sql
//!
//! The program has all commands of the plain `tidemill`, and the same program runs as the job manager and the task
//! managers of a cluster.

mod most_frequent;
mod prices;
mod tags;
mod weighted_average;

use std::process::ExitCode;

use tidemill::Registry;

use most_frequent::MostFrequent;
use weighted_average::WeightedAverage;

fn main() -> ExitCode {
    let mut registry = Registry::new();
    registry
        .scalar("SHOP_OF", 1, prices::shop_of)
        .scalar("NET_CENTS", 1, prices::net_cents)
        .table_of("TAGS", 1, &["tag", "position"], tags::tags)
        .aggregate("WEIGHTED_AVG", 1, WeightedAverage)
        .aggregate("MOST_FREQUENT", 1, MostFrequent);
    tidemill::main(registry)
}
