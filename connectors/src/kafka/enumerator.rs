//! Finds partitions, computes where each begins and ends, and gives each to one reader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_common::hash::hash_bytes;
use tidemill_common::ids::{SplitId, SubtaskIndex};

use super::IDENTIFIER;
use super::client::Cluster;
use super::settings::{Positions, SourceSettings, Topics};
use crate::api::{ConnectorContext, ConnectorError, ReaderReport, Split, SplitEnumerator};

/// State of a split: a partition, the next offset to read, and where to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartitionSplit {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Exclusive; `None` is never.
    pub stop: Option<i64>,
}

impl PartitionSplit {
    pub fn id(&self) -> SplitId {
        SplitId(format!("{}-{}", self.topic, self.partition))
    }

    pub fn to_split(&self) -> Result<Split, ConnectorError> {
        let state = serde_json::to_value(self)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })?;
        Ok(Split::new(self.id(), state))
    }
}

pub(super) struct KafkaEnumerator {
    settings: SourceSettings,
    table: String,
    parallelism: u32,
    context: ConnectorContext,
    known: BTreeSet<SplitId>,
    pending: BTreeMap<SplitId, Split>,
    /// Whether partitions have been listed: what appears later is read from its beginning.
    discovered: bool,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    known: BTreeSet<SplitId>,
    pending: Vec<Split>,
    discovered: bool,
}

impl KafkaEnumerator {
    pub fn new(settings: SourceSettings, table: String, parallelism: u32, context: ConnectorContext) -> Self {
        Self {
            settings,
            table,
            parallelism: parallelism.max(1),
            context,
            known: BTreeSet::new(),
            pending: BTreeMap::new(),
            discovered: false,
        }
    }

    fn topics(&self, cluster: &Cluster) -> Result<Vec<String>, ConnectorError> {
        match &self.settings.topics {
            Topics::Names(names) => Ok(names.clone()),
            Topics::Pattern(pattern) => {
                Ok(cluster.topics()?.into_iter().filter(|topic| pattern.is_match(topic)).collect())
            }
        }
    }

    fn split(&self, cluster: &Cluster, topic: &str, partition: i32) -> Result<PartitionSplit, ConnectorError> {
        let (first, end) = cluster.bounds(topic, partition)?;
        let start = if self.discovered {
            first
        } else {
            match &self.settings.start {
                Positions::Earliest => first,
                Positions::Latest => end,
                Positions::Timestamp(time) => cluster.offset_at(topic, partition, *time)?.unwrap_or(end),
                Positions::Specific(offsets) => offsets.get(&partition).copied().unwrap_or(first),
                Positions::Group => match cluster.committed(topic, partition)? {
                    Some(offset) => offset,
                    None => match self.settings.client.offset_reset.as_deref() {
                        Some("earliest") => first,
                        Some("latest") => end,
                        _ => return Err(self.no_group_offset(topic, partition)),
                    },
                },
            }
        };
        let stop = match &self.settings.stop {
            None => None,
            Some(Positions::Earliest) => Some(first),
            Some(Positions::Latest) => Some(end),
            Some(Positions::Timestamp(time)) => Some(cluster.offset_at(topic, partition, *time)?.unwrap_or(end)),
            Some(Positions::Specific(offsets)) => Some(offsets.get(&partition).copied().unwrap_or(end)),
            Some(Positions::Group) => match cluster.committed(topic, partition)? {
                Some(offset) => Some(offset),
                None => return Err(self.no_group_offset(topic, partition)),
            },
        };
        if start > end || start < first {
            tracing::warn!(table = %self.table, topic, partition, start, first, end, "the start lies outside");
        }
        Ok(PartitionSplit { topic: topic.to_owned(), partition, offset: start, stop })
    }

    fn no_group_offset(&self, topic: &str, partition: i32) -> ConnectorError {
        let group = self.settings.client.group.as_deref().unwrap_or_default();
        ConnectorError::External {
            table: self.table.clone(),
            reason: format!("the consumer group '{group}' has no offset for topic '{topic}', partition {partition}"),
            action: "set 'properties.auto.offset.reset' to 'earliest' or 'latest', or another 'scan.startup.mode'"
                .to_owned(),
        }
    }

    /// As Flink: partitions of a topic go to the readers in turn, from one that depends on the topic.
    fn owner(&self, split: &SplitId) -> u32 {
        let (topic, partition) = split.0.rsplit_once('-').unwrap_or((&split.0, "0"));
        let first = hash_bytes(topic.as_bytes()) % u64::from(self.parallelism);
        let partition: u64 = partition.parse().unwrap_or(0);
        ((first + partition) % u64::from(self.parallelism)) as u32
    }
}

impl SplitEnumerator for KafkaEnumerator {
    fn discover(&mut self) -> Result<(), ConnectorError> {
        let cluster = Cluster::new(&self.settings.client, &self.table, &self.context)?;
        let mut found = Vec::new();
        for topic in self.topics(&cluster)? {
            for partition in cluster.partitions(&topic)? {
                if !self.known.contains(&SplitId(format!("{topic}-{partition}"))) {
                    found.push(self.split(&cluster, &topic, partition)?);
                }
            }
        }
        for split in found {
            self.known.insert(split.id());
            self.pending.insert(split.id(), split.to_split()?);
        }
        self.discovered = true;
        Ok(())
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.settings.discovery
    }

    fn next_splits(&mut self, reader: SubtaskIndex) -> Vec<Split> {
        let mine: Vec<SplitId> = self.pending.keys().filter(|split| self.owner(split) == reader.0).cloned().collect();
        mine.iter().filter_map(|split| self.pending.remove(split)).collect()
    }

    fn is_exhausted(&self, reader: SubtaskIndex) -> bool {
        self.discovered
            && self.settings.discovery.is_none()
            && !self.pending.keys().any(|split| self.owner(split) == reader.0)
    }

    fn add_back(&mut self, splits: Vec<Split>) {
        for split in splits {
            self.known.insert(split.id.clone());
            self.pending.insert(split.id.clone(), split);
        }
    }

    fn snapshot(&self) -> Result<serde_json::Value, ConnectorError> {
        let snapshot = Snapshot {
            known: self.known.clone(),
            pending: self.pending.values().cloned().collect(),
            discovered: self.discovered,
        };
        serde_json::to_value(snapshot)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<(), ConnectorError> {
        let snapshot: Snapshot = serde_json::from_value(state)
            .map_err(|error| ConnectorError::State { table: self.table.clone(), reason: error.to_string() })?;
        self.known = snapshot.known;
        self.pending = snapshot.pending.into_iter().map(|split| (split.id.clone(), split)).collect();
        self.discovered = snapshot.discovered;
        Ok(())
    }

    fn reconcile(&mut self, reports: &[ReaderReport]) -> Result<(), ConnectorError> {
        for report in reports {
            for split in report.owned.iter().map(|split| &split.id).chain(&report.finished) {
                self.pending.remove(split);
                self.known.insert(split.clone());
                self.discovered = true;
            }
        }
        Ok(())
    }
}
