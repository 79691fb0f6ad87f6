//! Reads a share of the events: every `shares`-th block, so that all readers advance together.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch, RecordBatchOptions, StructArray, UInt32Array};
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};
use tidemill_common::ids::SplitId;
use tidemill_common::limits::BATCH_ROWS_TARGET;

use super::IDENTIFIER;
use super::auction::Auctions;
use super::bid::Bids;
use super::config::{Config, Kind, Table};
use super::events::{Generator, Segment, timestamps};
use super::model::{Layout, Leaf, Node};
use super::person::Persons;
use crate::api::{ConnectorError, SourcePoll, SourceReader, Split};
use crate::generator::Pace;

/// State of a split: block `share` of every `shares` blocks, and the next event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NexmarkSplit {
    pub share: u64,
    pub shares: u64,
    pub base_time_ms: i64,
    /// Number of the next event; where it is in a block of another share, the next own block counts.
    pub next: u64,
}

impl NexmarkSplit {
    pub fn new(share: u64, shares: u64, base_time_ms: i64) -> Self {
        Self { share, shares, base_time_ms, next: 0 }
    }

    /// The next events: at most `most`, all of one block.
    fn range(&self, block: u64, events: Option<u64>, most: u64) -> Range<u64> {
        let mut start = self.next;
        let turn = (start / block) % self.shares;
        if turn != self.share {
            let ahead = (self.share + self.shares - turn) % self.shares;
            start = (start / block + ahead) * block;
        }
        let end = ((start / block + 1) * block).min(start.saturating_add(most)).min(events.unwrap_or(u64::MAX));
        start..end.max(start)
    }
}

struct ActiveSplit {
    id: SplitId,
    state: NexmarkSplit,
    makers: Makers,
    pace: Option<Pace>,
}

/// What makes events of each kind.
struct Makers {
    generator: Generator,
    persons: Persons,
    auctions: Auctions,
    bids: Bids,
}

impl Makers {
    fn new(config: &Config, base_time_ms: i64) -> Self {
        let generator = Generator::new(config.clone(), base_time_ms);
        Self {
            persons: Persons::new(&generator),
            auctions: Auctions::new(&generator),
            bids: Bids::new(&generator),
            generator,
        }
    }

    fn columns(&self, kind: Kind, leaves: &[Leaf], segments: &[Segment]) -> (Vec<ArrayRef>, usize) {
        let rows = segments.iter().map(|segment| segment.len as usize).sum();
        let columns = match kind {
            Kind::Person => self.persons.columns(&self.generator, leaves, segments, rows),
            Kind::Auction => self.auctions.columns(&self.generator, leaves, segments, rows),
            Kind::Bid => self.bids.columns(&self.generator, leaves, segments, rows),
        };
        (columns, rows)
    }
}

pub(super) struct NexmarkReader {
    table: String,
    config: Config,
    layout: Layout,
    /// The columns of a plain table.
    leaves: Vec<Leaf>,
    splits: VecDeque<ActiveSplit>,
    paused: BTreeSet<SplitId>,
    segments: Vec<Segment>,
    /// Segments of further blocks, while a plain table gathers a batch.
    block_segments: Vec<Segment>,
}

impl NexmarkReader {
    pub fn new(table: String, config: Config, layout: Layout) -> Self {
        let leaves = layout
            .nodes
            .iter()
            .filter_map(|node| match node {
                Node::Plain(leaf) => Some(leaf.clone()),
                _ => None,
            })
            .collect();
        Self {
            table,
            config,
            layout,
            leaves,
            splits: VecDeque::new(),
            paused: BTreeSet::new(),
            segments: Vec::new(),
            block_segments: Vec::new(),
        }
    }

    /// Makes up to `most` events of a split; rare kinds take several blocks to fill a batch.
    fn generate(&mut self, split: &mut ActiveSplit, most: u64) -> Result<(RecordBatch, u64), ConnectorError> {
        let block = self.config.block();
        let (records, consumed) = match self.config.table {
            Table::Plain(kind) => {
                self.segments.clear();
                let (mut rows, mut consumed) = (0, 0);
                while consumed < most {
                    let events = split.state.range(block, self.config.events, most - consumed);
                    if events.is_empty() {
                        break;
                    }
                    split.makers.generator.segments(kind, events.clone(), &mut self.block_segments);
                    self.segments.extend_from_slice(&self.block_segments);
                    rows += self.block_segments.iter().map(|segment| segment.len as usize).sum::<usize>();
                    consumed += events.end - events.start;
                    split.state.next = events.end;
                    if rows + rows / 2 > BATCH_ROWS_TARGET {
                        break;
                    }
                }
                let (columns, rows) = split.makers.columns(kind, &self.leaves, &self.segments);
                (self.batch(columns, rows), consumed)
            }
            Table::Event => {
                let events = split.state.range(block, self.config.events, most);
                split.state.next = events.end;
                let consumed = events.end - events.start;
                let columns = self
                    .layout
                    .nodes
                    .iter()
                    .map(|node| event_column(&split.makers, node, events.clone(), &mut self.segments))
                    .collect::<Result<Vec<_>, _>>();
                (columns.and_then(|columns| self.batch(columns, consumed as usize)), consumed)
            }
        };
        let records =
            records.map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })?;
        Ok((records, consumed))
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.layout.schema), columns, &options)
    }
}

/// A column of the table of all events.
fn event_column(
    makers: &Makers,
    node: &Node,
    events: Range<u64>,
    segments: &mut Vec<Segment>,
) -> Result<ArrayRef, ArrowError> {
    let config = &makers.generator.config;
    let rows = (events.end - events.start) as usize;
    Ok(match node {
        Node::EventType => {
            let (total, persons, auctions) = (config.total(), config.persons, config.auctions);
            Arc::new(Int32Array::from_iter_values(events.map(|event| {
                let offset = event % total;
                i32::from(offset >= persons) + i32::from(offset >= persons + auctions)
            })))
        }
        Node::Time(logical) => {
            let mut out = Vec::with_capacity(rows);
            makers.generator.append_times(events, &mut out);
            timestamps(out, logical)
        }
        Node::Event { kind, leaves, fields } => {
            makers.generator.segments(*kind, events.clone(), segments);
            let (columns, own_rows) = makers.columns(*kind, leaves, segments);
            let own = StructArray::try_new_with_length(fields.clone(), columns, None, own_rows)?;
            // Own rows at their places, NULL elsewhere.
            let mut places: Vec<Option<u32>> = vec![None; rows];
            for (row, event) in (0..).zip(segments.iter().flat_map(|segment| segment.events())) {
                places[(event - events.start) as usize] = Some(row);
            }
            let spread = arrow::compute::take(&own, &UInt32Array::from(places), None)?;
            debug_assert_eq!(spread.len(), rows);
            spread
        }
        Node::Plain(_) => {
            return Err(ArrowError::SchemaError("a plain column in the table of all events".to_owned()));
        }
    })
}

impl SourceReader for NexmarkReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), ConnectorError> {
        for split in splits {
            let state: NexmarkSplit = serde_json::from_value(split.state)
                .map_err(|error| ConnectorError::State { table: self.table.clone(), reason: error.to_string() })?;
            if state.share >= state.shares {
                let reason = format!("share {} of {}", state.share, state.shares);
                return Err(ConnectorError::State { table: self.table.clone(), reason });
            }
            let pace = self.config.emit_rate.map(|rate| Pace::new(rate / state.shares as f64));
            let makers = Makers::new(&self.config, state.base_time_ms);
            self.splits.push_back(ActiveSplit { id: split.id, state, makers, pace });
        }
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> Result<SourcePoll, ConnectorError> {
        let now = Instant::now();
        let mut wait = timeout;
        for _ in 0..self.splits.len() {
            let Some(mut split) = self.splits.pop_front() else { break };
            if self.paused.contains(&split.id) {
                self.splits.push_back(split);
                continue;
            }
            if split.state.range(self.config.block(), self.config.events, 1).is_empty() {
                if self.config.keep_alive {
                    self.splits.push_back(split);
                    continue;
                }
                return Ok(SourcePoll::SplitFinished(split.id));
            }
            let due = match split.pace.as_mut().map_or(Ok(u64::MAX), |pace| pace.due(now)) {
                Ok(due) => due,
                Err(until) => {
                    wait = wait.min(until);
                    self.splits.push_back(split);
                    continue;
                }
            };
            let (records, consumed) = self.generate(&mut split, due)?;
            if let Some(pace) = split.pace.as_mut() {
                pace.emitted(consumed);
            }
            let id = split.id.clone();
            self.splits.push_back(split);
            if records.num_rows() == 0 {
                // Events of other kinds only.
                return Ok(SourcePoll::Pending);
            }
            return Ok(SourcePoll::Rows { split: id, records });
        }
        if self.splits.is_empty() {
            return Ok(SourcePoll::NoSplits);
        }
        std::thread::sleep(wait);
        Ok(SourcePoll::Pending)
    }

    fn set_paused(&mut self, split: &SplitId, paused: bool) {
        if paused {
            self.paused.insert(split.clone());
        } else {
            self.paused.remove(split);
        }
    }

    fn snapshot(&self) -> Vec<Split> {
        self.splits
            .iter()
            .filter_map(|split| Some(Split::new(split.id.clone(), serde_json::to_value(&split.state).ok()?)))
            .collect()
    }
}
