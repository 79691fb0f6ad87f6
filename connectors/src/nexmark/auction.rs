//! New auctions.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringBuilder};

use super::events::{FIRST_AUCTION_ID, FIRST_PERSON_ID, Generator, HOT_GROUP, Segment, choose, timestamps};
use super::model::{Leaf, Part};
use super::strings::{Prices, text};
use crate::generator::Stream;

const FIRST_CATEGORY_ID: i64 = 10;
const CATEGORIES: u64 = 5;
const IN_FLIGHT_AUCTIONS: u64 = 100;
/// Bytes of the numbers of an auction, as the benchmark counts.
const PLAIN_BYTES: u64 = 48;

/// The random streams of auctions, one a field.
pub(super) struct Auctions {
    seller: Stream,
    category: Stream,
    initial_bid: Stream,
    reserve: Stream,
    length: Stream,
    name: Stream,
    description: Stream,
    extra: Stream,
    prices: Prices,
}

impl Auctions {
    pub fn new(generator: &Generator) -> Self {
        Self {
            seller: generator.stream(60),
            category: generator.stream(61),
            initial_bid: generator.stream(62),
            reserve: generator.stream(63),
            length: generator.stream(64),
            name: generator.stream(65),
            description: generator.stream(66),
            extra: generator.stream(67),
            prices: Prices::new(),
        }
    }

    /// The columns `leaves` of the auctions in `segments`, `rows` in all.
    pub fn columns(&self, generator: &Generator, leaves: &[Leaf], segments: &[Segment], rows: usize) -> Vec<ArrayRef> {
        let numbers = |value: &dyn Fn(Segment, u64) -> i64| -> Vec<i64> {
            segments.iter().flat_map(|segment| segment.events().map(|event| value(*segment, event))).collect()
        };
        leaves
            .iter()
            .map(|leaf| -> ArrayRef {
                match leaf.part {
                    Part::Id => {
                        let auctions = generator.config.auctions;
                        Arc::new(Int64Array::from(numbers(&|segment, event| {
                            let auction = segment.epoch * auctions + segment.before + (event - segment.first);
                            auction as i64 + FIRST_AUCTION_ID
                        })))
                    }
                    Part::InitialBid => Arc::new(Int64Array::from(numbers(&|_, event| self.initial_bid(event)))),
                    Part::Reserve => Arc::new(Int64Array::from(numbers(&|_, event| {
                        self.initial_bid(event) + self.prices.price(self.reserve.bits(event))
                    }))),
                    Part::Seller => {
                        Arc::new(Int64Array::from(numbers(&|segment, event| self.seller(generator, segment, event))))
                    }
                    Part::Category => Arc::new(Int64Array::from(numbers(&|_, event| {
                        FIRST_CATEGORY_ID + self.category.below(event, CATEGORIES) as i64
                    }))),
                    Part::DateTime => {
                        let mut out = Vec::with_capacity(rows);
                        segments.iter().for_each(|segment| generator.append_times(segment.events(), &mut out));
                        timestamps(out, &leaf.logical)
                    }
                    Part::Expires => {
                        let mut out = Vec::with_capacity(rows);
                        segments.iter().for_each(|segment| generator.append_times(segment.events(), &mut out));
                        for (time, event) in out.iter_mut().zip(segments.iter().flat_map(|s| s.events())) {
                            *time += self.length_ms(generator, event);
                        }
                        timestamps(out, &leaf.logical)
                    }
                    part => {
                        let mut out = StringBuilder::with_capacity(rows, rows * 64);
                        let mut scratch = String::new();
                        for event in segments.iter().flat_map(|segment| segment.events()) {
                            self.text(generator, part, event, &mut scratch);
                            out.append_value(&scratch);
                        }
                        Arc::new(out.finish())
                    }
                }
            })
            .collect()
    }

    fn initial_bid(&self, event: u64) -> i64 {
        self.prices.price(self.initial_bid.bits(event))
    }

    fn seller(&self, generator: &Generator, segment: Segment, event: u64) -> i64 {
        let (bucket, rest) = choose((self.seller.bits(event) >> 32) as u32, generator.config.hot_sellers);
        let person = if bucket > 0 {
            generator.last_person(segment.epoch) / HOT_GROUP * HOT_GROUP
        } else {
            let (least, choices) = generator.active_persons(segment.epoch);
            least + choose(rest, choices).0
        };
        person as i64 + FIRST_PERSON_ID
    }

    /// How long an auction runs: on average until a hundred further auctions have begun.
    fn length_ms(&self, generator: &Generator, event: u64) -> i64 {
        let ahead = IN_FLIGHT_AUCTIONS * generator.config.total() / generator.config.auctions.max(1);
        let horizon = (generator.time_ms(event + ahead) - generator.time_ms(event)).max(0) as u64;
        1 + self.length.below(event, (horizon * 2).max(1)) as i64
    }

    fn text(&self, generator: &Generator, part: Part, event: u64, out: &mut String) {
        match part {
            Part::ItemName => text(self.name.bits(event), 20, ' ', out),
            Part::Description => text(self.description.bits(event), 100, ' ', out),
            _ => {
                let mut current = PLAIN_BYTES;
                for part in [Part::ItemName, Part::Description] {
                    self.text(generator, part, event, out);
                    current += out.len() as u64;
                }
                generator.strings().extra(self.extra.bits(event), current, generator.config.auction_bytes, out);
            }
        }
    }
}
