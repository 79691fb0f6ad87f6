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
        let mut parties: (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
        match (wanted(Part::Auction), wanted(Part::Bidder)) {
            (true, true) => {
                parties = (vec![0; rows], vec![0; rows]);
                let mut start = 0;
                for segment in segments {
                    // One draw a row decides both.
                    let (auction, bidder) = (Party::auction(generator, *segment), Party::bidder(generator, *segment));
                    let end = start + segment.len as usize;
                    let (auctions, bidders) = (&mut parties.0[start..end], &mut parties.1[start..end]);
                    for ((to_auction, by_bidder), event) in auctions.iter_mut().zip(bidders).zip(segment.events()) {
                        let bits = self.parties.bits(event);
                        *to_auction = auction.draw(bits as u32);
                        *by_bidder = bidder.draw((bits >> 32) as u32);
                    }
                    start = end;
                }
            }
            (true, false) => {
                parties.0.reserve_exact(rows);
                for segment in segments {
                    let auction = Party::auction(generator, *segment);
                    parties.0.extend(segment.events().map(|event| auction.draw(self.parties.bits(event) as u32)));
                }
            }
            (false, true) => {
                parties.1.reserve_exact(rows);
                for segment in segments {
                    let bidder = Party::bidder(generator, *segment);
                    parties
                        .1
                        .extend(segment.events().map(|event| bidder.draw((self.parties.bits(event) >> 32) as u32)));
                }
            }
            (false, false) => {}
        }
        let (auctions, bidders) = (ScalarBuffer::from(parties.0), ScalarBuffer::from(parties.1));
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

/// The auctions or bidders of one segment: mostly one hot id, else one of a range.
#[derive(Clone, Copy)]
struct Party {
    ratio: u64,
    hot: i64,
    first: i64,
    choices: u64,
}

impl Party {
    fn auction(generator: &Generator, segment: Segment) -> Self {
        let last = generator.last_auction(segment.epoch);
        let least = last.saturating_sub(IN_FLIGHT_AUCTIONS);
        Self {
            ratio: generator.config.hot_auctions,
            hot: (last / HOT_GROUP * HOT_GROUP) as i64 + FIRST_AUCTION_ID,
            first: least as i64 + FIRST_AUCTION_ID,
            choices: last - least + 1 + AUCTION_ID_LEAD,
        }
    }

    fn bidder(generator: &Generator, segment: Segment) -> Self {
        let last = generator.last_person(segment.epoch);
        let (least, choices) = generator.active_persons(segment.epoch);
        Self {
            ratio: generator.config.hot_bidders,
            // The second of the group, so that hot bidders and hot sellers differ.
            hot: (last / HOT_GROUP * HOT_GROUP) as i64 + 1 + FIRST_PERSON_ID,
            first: least as i64 + FIRST_PERSON_ID,
            choices,
        }
    }

    #[inline(always)]
    fn draw(self, bits: u32) -> i64 {
        let (bucket, rest) = choose(bits, self.ratio);
        let cold = self.first + choose(rest, self.choices).0 as i64;
        if bucket > 0 { self.hot } else { cold }
    }
}
