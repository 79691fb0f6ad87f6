//! New persons.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringBuilder};

use super::events::{FIRST_PERSON_ID, Generator, Segment, timestamps};
use super::model::{Leaf, Part};
use super::strings::text;
use crate::generator::Stream;

const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

/// The random streams of persons, one a text.
pub(super) struct Persons {
    name: Stream,
    email: Stream,
    card: Stream,
    city: Stream,
    state: Stream,
    extra: Stream,
}

impl Persons {
    pub fn new(generator: &Generator) -> Self {
        Self {
            name: generator.stream(40),
            email: generator.stream(41),
            card: generator.stream(42),
            city: generator.stream(43),
            state: generator.stream(44),
            extra: generator.stream(45),
        }
    }

    /// The columns `leaves` of the persons in `segments`, `rows` in all.
    pub fn columns(&self, generator: &Generator, leaves: &[Leaf], segments: &[Segment], rows: usize) -> Vec<ArrayRef> {
        leaves
            .iter()
            .map(|leaf| -> ArrayRef {
                match leaf.part {
                    Part::Id => {
                        let persons = generator.config.persons;
                        let ids = segments.iter().flat_map(|segment| {
                            let first = segment.epoch * persons + segment.before;
                            (first..first + segment.len).map(|person| person as i64 + FIRST_PERSON_ID)
                        });
                        Arc::new(Int64Array::from_iter_values(ids))
                    }
                    Part::DateTime => {
                        let mut out = Vec::with_capacity(rows);
                        segments.iter().for_each(|segment| generator.append_times(segment.events(), &mut out));
                        timestamps(out, &leaf.logical)
                    }
                    part => {
                        let mut out = StringBuilder::with_capacity(rows, rows * 16);
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

    fn text(&self, generator: &Generator, part: Part, event: u64, out: &mut String) {
        out.clear();
        match part {
            Part::Name => {
                let bits = self.name.bits(event);
                out.push_str(FIRST_NAMES[(bits >> 32) as usize % FIRST_NAMES.len()]);
                out.push(' ');
                out.push_str(LAST_NAMES[(bits & 0xffff_ffff) as usize % LAST_NAMES.len()]);
            }
            Part::EmailAddress => {
                let bits = self.email.bits(event);
                let mut piece = String::new();
                text(bits, 7, ' ', &mut piece);
                out.push_str(&piece);
                out.push('@');
                text(!bits, 5, ' ', &mut piece);
                out.push_str(&piece);
                out.push_str(".com");
            }
            Part::CreditCard => {
                use std::fmt::Write as _;
                let bits = self.card.bits(event);
                let group = |i: u32| (((bits >> (16 * i)) & 0xffff) * 10_000) >> 16;
                // Writing to a String never fails.
                let _ = write!(out, "{:04} {:04} {:04} {:04}", group(0), group(1), group(2), group(3));
            }
            Part::City => out.push_str(CITIES[self.city.below(event, CITIES.len() as u64) as usize]),
            Part::State => out.push_str(STATES[self.state.below(event, STATES.len() as u64) as usize]),
            _ => {
                let mut current = 8;
                for part in [Part::Name, Part::EmailAddress, Part::CreditCard, Part::City, Part::State] {
                    self.text(generator, part, event, out);
                    current += out.len() as u64;
                }
                generator.strings().extra(self.extra.bits(event), current, generator.config.person_bytes, out);
            }
        }
    }
}
