//! Bids: the hot loops of the benchmark, one a column.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringBuilder};
use arrow::buffer::ScalarBuffer;

use super::events::{FIRST_AUCTION_ID, FIRST_PERSON_ID, Generator, HOT_GROUP, Segment, choose, timestamps};
use super::model::{Leaf, Part};
use super::strings::Prices;
use crate::generator::Stream;

const IN_FLIGHT_AUCTIONS: u64 = 100;
const AUCTION_ID_LEAD: u64 = 10;
/// Bytes of a bid before `extra`, as the benchmark counts.
const PLAIN_BYTES: u64 = 32;

/// The random streams of bids. One word decides auction (its low half) and bidder (its high half).
pub(super) struct Bids {
    parties: Stream,
    price: Stream,
    channel: Stream,
    extra: Stream,
    prices: Prices,
}

impl Bids {
    pub fn new(generator: &Generator) -> Self {
        Self {
            parties: generator.stream(20),
            price: generator.stream(21),
            channel: generator.stream(22),
            extra: generator.stream(23),
            prices: Prices::new(),
        }
    }

    /// The columns `leaves` of the bids in `segments`, `rows` in all.
    pub fn columns(&self, generator: &Generator, leaves: &[Leaf], segments: &[Segment], rows: usize) -> Vec<ArrayRef> {
        let wanted = |part| leaves.iter().any(|leaf| leaf.part == part);
        let (mut auctions, mut bidders) = (Vec::new(), Vec::new());
        if wanted(Part::Auction) {
            auctions.reserve_exact(rows);
            segments.iter().for_each(|segment| self.auctions(generator, *segment, &mut auctions));
        }
        if wanted(Part::Bidder) {
            bidders.reserve_exact(rows);
            segments.iter().for_each(|segment| self.bidders(generator, *segment, &mut bidders));
        }
        let (auctions, bidders) = (ScalarBuffer::from(auctions), ScalarBuffer::from(bidders));
        leaves
            .iter()
            .map(|leaf| -> ArrayRef {
                match leaf.part {
                    Part::Auction => Arc::new(Int64Array::new(auctions.clone(), None)),
                    Part::Bidder => Arc::new(Int64Array::new(bidders.clone(), None)),
                    Part::Price => {
                        let mut out = Vec::with_capacity(rows);
                        for segment in segments {
                            out.extend(segment.events().map(|event| self.prices.price(self.price.bits(event))));
                        }
                        Arc::new(Int64Array::from(out))
                    }
                    Part::DateTime => {
                        let mut out = Vec::with_capacity(rows);
                        segments.iter().for_each(|segment| generator.append_times(segment.events(), &mut out));
                        timestamps(out, &leaf.logical)
                    }
                    _ => self.texts(generator, leaf.part, segments, rows),
                }
            })
            .collect()
    }

    fn auctions(&self, generator: &Generator, segment: Segment, out: &mut Vec<i64>) {
        let ratio = generator.config.hot_auctions;
        let last = generator.last_auction(segment.epoch);
        let hot = (last / HOT_GROUP * HOT_GROUP) as i64 + FIRST_AUCTION_ID;
        let least = last.saturating_sub(IN_FLIGHT_AUCTIONS);
        let choices = last - least + 1 + AUCTION_ID_LEAD;
        let first = least as i64 + FIRST_AUCTION_ID;
        let parties = self.parties;
        out.extend(segment.events().map(|event| {
            let (bucket, rest) = choose(parties.bits(event) as u32, ratio);
            let cold = first + choose(rest, choices).0 as i64;
            if bucket > 0 { hot } else { cold }
        }));
    }

    fn bidders(&self, generator: &Generator, segment: Segment, out: &mut Vec<i64>) {
        let ratio = generator.config.hot_bidders;
        let last = generator.last_person(segment.epoch);
        // The second of the group, so that hot bidders and hot sellers differ.
        let hot = (last / HOT_GROUP * HOT_GROUP) as i64 + 1 + FIRST_PERSON_ID;
        let (least, choices) = generator.active_persons(segment.epoch);
        let first = least as i64 + FIRST_PERSON_ID;
        let parties = self.parties;
        out.extend(segment.events().map(|event| {
            let (bucket, rest) = choose((parties.bits(event) >> 32) as u32, ratio);
            let cold = first + choose(rest, choices).0 as i64;
            if bucket > 0 { hot } else { cold }
        }));
    }

    fn texts(&self, generator: &Generator, part: Part, segments: &[Segment], rows: usize) -> ArrayRef {
        let strings = generator.strings();
        let mean = match part {
            Part::Channel => 10,
            Part::Url => 70,
            _ => generator.config.bid_bytes as usize,
        };
        let mut out = StringBuilder::with_capacity(rows, rows * mean);
        let mut scratch = String::new();
        for event in segments.iter().flat_map(|segment| segment.events()) {
            match part {
                Part::Channel => out.append_value(strings.channel(self.channel.bits(event)).0),
                Part::Url => out.append_value(strings.channel(self.channel.bits(event)).1),
                _ => {
                    strings.extra(self.extra.bits(event), PLAIN_BYTES, generator.config.bid_bytes, &mut scratch);
                    out.append_value(&scratch);
                }
            }
        }
        Arc::new(out.finish())
    }
}
