//! When partitions are complete: `sink.partition-commit.*`.
//!
//! A pure machine. A partition is pending from its first row on. When a checkpoint is complete, and its parts
//! have their names, the pending partitions that are due as of that checkpoint are marked. What is pending
//! travels in every checkpoint until then.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tidemill_common::config::Options;
use tidemill_common::connector::TableError;
use tidemill_common::ids::CheckpointId;
use tidemill_common::plan::TableSpec;
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_expr::calendar::{MILLIS_PER_DAY, Zone};
use tidemill_expr::parse::{parse_date, parse_timestamp};
use tidemill_expr::pattern::Pattern;

use super::partition::{Partitioning, named_texts};
use crate::api::ConnectorError;

const POLICY: &str = "sink.partition-commit.policy.kind";
const TRIGGER: &str = "sink.partition-commit.trigger";
const DELAY: &str = "sink.partition-commit.delay";
const ZONE: &str = "sink.partition-commit.watermark-time-zone";
const SUCCESS_FILE: &str = "sink.partition-commit.success-file.name";
const EXTRACTOR: &str = "partition.time-extractor.kind";
const PATTERN: &str = "partition.time-extractor.timestamp-pattern";
const FORMATTER: &str = "partition.time-extractor.timestamp-formatter";

/// How and when partitions are marked as complete.
#[derive(Clone, Debug)]
pub(crate) struct CommitSettings {
    table: String,
    partitioning: Partitioning,
    trigger: Trigger,
    delay_ms: i64,
    pub success_file: String,
}

#[derive(Clone, Debug)]
enum Trigger {
    ProcessTime,
    PartitionTime { zone: Tz, pattern: Option<String>, formatter: Option<Pattern> },
}

impl CommitSettings {
    /// `None` if partitions are not marked.
    pub fn new(table: &TableSpec, partitioning: Option<&Partitioning>) -> Result<Option<Self>, TableError> {
        let options = Options(&table.options);
        let extractor = options.text(EXTRACTOR).map_or("default", str::trim);
        if extractor != "default" {
            return Err(TableError::option(
                EXTRACTOR,
                format!("'{extractor}' is not supported: it names a Java class; write '{PATTERN}' instead"),
            ));
        }
        let zone = options.text(ZONE).unwrap_or("UTC");
        let zone: Tz = zone
            .parse()
            .map_err(|_| TableError::option(ZONE, format!("'{zone}' is no time zone, such as Europe/Berlin")))?;
        let formatter = options.text(FORMATTER).map(Pattern::new).transpose();
        let formatter = formatter.map_err(|error| TableError::option(FORMATTER, error))?;
        let pattern = options.text(PATTERN).map(str::to_owned);
        let by_time =
            options.text(TRIGGER).is_some_and(|trigger| trigger.trim().eq_ignore_ascii_case("partition-time"));
        let Some(policies) = options.text(POLICY) else { return Ok(None) };
        for policy in policies.split(',').map(str::trim) {
            let reason = match policy.to_lowercase().as_str() {
                "success-file" => continue,
                "metastore" => "there is no metastore here; write 'success-file'",
                "custom" => "it names a Java class, which cannot be called; write 'success-file'",
                _ => "write 'success-file'",
            };
            return Err(TableError::option(POLICY, format!("the policy '{policy}' is not supported: {reason}")));
        }
        let Some(partitioning) = partitioning else {
            return Err(TableError::option(POLICY, "the table has no PARTITIONED BY: there is nothing to commit"));
        };
        if options.integer("sink.parallelism").is_some_and(|parallelism| parallelism > 1) {
            return Err(TableError::option(
                "sink.parallelism",
                "partitions are committed by one writer, so that the last row of a partition is known: leave it out",
            ));
        }
        let success_file = options.text(SUCCESS_FILE).unwrap_or("_SUCCESS").to_owned();
        if success_file.is_empty() || success_file.contains('/') || [".", ".."].contains(&success_file.as_str()) {
            return Err(TableError::option(SUCCESS_FILE, format!("'{success_file}' is no name of a file")));
        }
        let trigger = if by_time { Trigger::PartitionTime { zone, pattern, formatter } } else { Trigger::ProcessTime };
        let delay_ms = options.duration(DELAY).map_or(0, |delay: Duration| delay.as_millis() as i64);
        let table = table.name.clone();
        Ok(Some(Self { table, partitioning: partitioning.clone(), trigger, delay_ms, success_file }))
    }

    /// The time of a partition, in milliseconds since the epoch.
    fn time_of(&self, directory: &str) -> Result<TimestampMs, ConnectorError> {
        let Trigger::PartitionTime { zone, pattern, formatter } = &self.trigger else { return Ok(0) };
        let mut values = named_texts(&self.partitioning, directory);
        let text = match pattern {
            None => values.next().map(|(_, value)| value).unwrap_or_default(),
            Some(pattern) => {
                values.fold(pattern.clone(), |text, (name, value)| text.replace(&format!("${name}"), &value))
            }
        };
        let local = match formatter {
            None => {
                parse_timestamp(&text, 3).or_else(|| parse_date(&text).map(|days| i64::from(days) * MILLIS_PER_DAY))
            }
            Some(formatter) => formatter
                .parse_strict(&text)
                .map(|moment| moment.days * MILLIS_PER_DAY + moment.second_of_day * 1_000 + moment.nanos / 1_000_000),
        };
        match local {
            Some(local) => Ok(Zone::new(*zone).to_instant(local, 1_000)),
            None => Err(ConnectorError::External {
                table: self.table.clone(),
                reason: format!("the partition '{directory}' has no time: '{text}' cannot be read"),
                action: format!("correct '{PATTERN}' and '{FORMATTER}', or keep such rows out of the table"),
            }),
        }
    }

    fn is_due(&self, pending: &Pending, watermark: Watermark, now: TimestampMs) -> bool {
        // All input has been seen.
        if watermark == Watermark::MAX {
            return true;
        }
        match self.trigger {
            Trigger::ProcessTime => self.delay_ms == 0 || now > pending.since_ms.saturating_add(self.delay_ms),
            Trigger::PartitionTime { .. } => watermark.0 > pending.time_ms.saturating_add(self.delay_ms),
        }
    }
}

/// A partition that was written to and is not marked since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub directory: String,
    /// By the clock, when its first row came.
    pub since_ms: TimestampMs,
    /// Its own time; of meaning for `partition-time` only.
    pub time_ms: TimestampMs,
}

/// What a checkpoint keeps of the partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommitState {
    pub pending: Vec<Pending>,
    /// Event time at the barrier.
    pub watermark_ms: i64,
}

/// The partitions of a writer that are not marked yet.
pub(super) struct PartitionCommits {
    pub settings: CommitSettings,
    watermark: Watermark,
    /// By directory; with the checkpoint that was the last one when rows came.
    pending: BTreeMap<String, (Pending, CheckpointId)>,
    last: CheckpointId,
}

impl PartitionCommits {
    pub fn new(settings: CommitSettings) -> Self {
        Self { settings, watermark: Watermark::MIN, pending: BTreeMap::new(), last: CheckpointId(0) }
    }

    pub fn watermark(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
    }

    /// Rows came for a partition.
    ///
    /// # Errors
    /// If the partition has no time and needs one.
    pub fn touched(&mut self, directory: &str, now: TimestampMs) -> Result<(), ConnectorError> {
        if let Some((_, touched)) = self.pending.get_mut(directory) {
            *touched = self.last;
            return Ok(());
        }
        let time_ms = self.settings.time_of(directory)?;
        let pending = Pending { directory: directory.to_owned(), since_ms: now, time_ms };
        self.pending.insert(directory.to_owned(), (pending, self.last));
        Ok(())
    }

    /// A barrier: what the checkpoint keeps; `None` if nothing is pending.
    pub fn prepare(&mut self, checkpoint: CheckpointId) -> Option<CommitState> {
        self.last = checkpoint;
        let pending: Vec<Pending> = self.pending.values().map(|(pending, _)| pending.clone()).collect();
        (!pending.is_empty()).then_some(CommitState { pending, watermark_ms: self.watermark.0 })
    }

    /// The checkpoint is complete and all its parts have their names: the directories to be marked.
    pub fn due(&self, state: &CommitState, now: TimestampMs) -> Vec<String> {
        let watermark = Watermark(state.watermark_ms);
        let due = state.pending.iter().filter(|pending| self.settings.is_due(pending, watermark, now));
        due.map(|pending| pending.directory.clone()).collect()
    }

    /// A partition was marked as of a checkpoint. It stays pending if rows came behind the barrier.
    pub fn marked(&mut self, directory: &str, checkpoint: CheckpointId, now: TimestampMs) {
        if let Some((pending, touched)) = self.pending.get_mut(directory) {
            if *touched < checkpoint {
                self.pending.remove(directory);
            } else {
                pending.since_ms = now;
            }
        }
    }

    /// Before the first row: what the newest checkpoint kept.
    pub fn restore(&mut self, state: CommitState) {
        self.pending
            .extend(state.pending.into_iter().map(|pending| (pending.directory.clone(), (pending, CheckpointId(0)))));
    }

    /// Everything as of now, for jobs that take no checkpoints.
    pub fn state(&self) -> CommitState {
        let pending = self.pending.values().map(|(pending, _)| pending.clone()).collect();
        CommitState { pending, watermark_ms: self.watermark.0 }
    }
}
