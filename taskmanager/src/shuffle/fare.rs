//! Which elements take a place in their channel, and cost their sender a credit.
//!
//! A watermark rides behind the element before it: it takes no place if that took one. With a watermark behind
//! each batch, as operators with windows send them, half of the places would else hold a few bytes each. The
//! number of elements in a channel stays bounded by twice its places. Sender, channel and reader apply the rule
//! to the same elements in the same order, so that they agree without a word.

/// What has passed so far, as far as it matters for the next element.
#[derive(Debug, Default)]
pub struct Fares {
    /// The last element that counts took no place.
    rode: bool,
}

/// Elements, as far as they differ here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passenger {
    Watermark,
    /// A barrier, in a channel where it may overtake.
    OvertakingBarrier,
    Other,
}

/// What an element takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fare {
    Place,
    /// A watermark behind something that took a place.
    Rides,
    /// A barrier that may overtake has a place of its own.
    Barrier,
}

impl Fares {
    /// What the next element takes.
    pub fn next(&self, passenger: Passenger) -> Fare {
        match passenger {
            Passenger::OvertakingBarrier => Fare::Barrier,
            Passenger::Watermark if !self.rode => Fare::Rides,
            Passenger::Watermark | Passenger::Other => Fare::Place,
        }
    }

    /// The element has passed.
    pub fn passed(&mut self, fare: Fare) {
        match fare {
            Fare::Place => self.rode = false,
            Fare::Rides => self.rode = true,
            // Barriers in a channel are taken out when newer ones come.
            Fare::Barrier => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_of_many_watermarks_takes_a_place_and_barriers_change_nothing() {
        let mut fares = Fares::default();
        let mut fare = |passenger| {
            let fare = fares.next(passenger);
            fares.passed(fare);
            fare
        };
        assert_eq!(fare(Passenger::Watermark), Fare::Rides);
        assert_eq!(fare(Passenger::OvertakingBarrier), Fare::Barrier);
        assert_eq!(fare(Passenger::Watermark), Fare::Place);
        assert_eq!(fare(Passenger::Watermark), Fare::Rides);
        assert_eq!(fare(Passenger::Other), Fare::Place);
        assert_eq!(fare(Passenger::Other), Fare::Place);
        assert_eq!(fare(Passenger::Watermark), Fare::Rides);
        assert_eq!(fare(Passenger::Other), Fare::Place);
        assert_eq!(fare(Passenger::Watermark), Fare::Rides);
    }
}
