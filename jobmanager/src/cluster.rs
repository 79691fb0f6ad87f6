//! The registered task managers: their slots and their signs of life. A pure core.

use std::collections::BTreeMap;

use tidemill_common::control::{ProcessStatus, Registration, TaskManagerInfo};
use tidemill_common::ids::{JobId, TaskManagerId};

/// One connection of a task manager; a new connection of the same task manager is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A task manager that is connected.
#[derive(Clone, Debug)]
pub struct Member {
    pub registration: Registration,
    pub connection: ConnectionId,
    pub registered_ms: i64,
    last_seen_ms: i64,
    process: ProcessStatus,
    used: BTreeMap<JobId, u32>,
}

impl Member {
    fn free_slots(&self) -> u32 {
        self.registration.slots.saturating_sub(self.used.values().sum())
    }
}

/// All task managers that are connected.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    members: BTreeMap<TaskManagerId, Member>,
}

impl Cluster {
    /// Takes a task manager in; the caller has removed an older connection of the same one.
    pub fn join(&mut self, registration: Registration, connection: ConnectionId, now_ms: i64) {
        let member = Member {
            connection,
            registered_ms: now_ms,
            last_seen_ms: now_ms,
            process: ProcessStatus::default(),
            used: BTreeMap::new(),
            registration: registration.clone(),
        };
        self.members.insert(registration.id, member);
    }

    pub fn leave(&mut self, id: &TaskManagerId) {
        self.members.remove(id);
    }

    pub fn member(&self, id: &TaskManagerId) -> Option<&Member> {
        self.members.get(id)
    }

    /// A message has come from it.
    pub fn seen(&mut self, id: &TaskManagerId, now_ms: i64) {
        if let Some(member) = self.members.get_mut(id) {
            member.last_seen_ms = now_ms;
        }
    }

    /// It tells of its process.
    pub fn reported(&mut self, id: &TaskManagerId, process: ProcessStatus) {
        if let Some(member) = self.members.get_mut(id) {
            member.process = process;
        }
    }

    /// Task managers that were silent for longer than `timeout_ms`.
    pub fn silent(&self, now_ms: i64, timeout_ms: i64) -> Vec<TaskManagerId> {
        self.members
            .iter()
            .filter(|(_, member)| now_ms.saturating_sub(member.last_seen_ms) > timeout_ms)
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub fn free_slots(&self) -> BTreeMap<TaskManagerId, u32> {
        self.members.iter().map(|(id, member)| (id.clone(), member.free_slots())).collect()
    }

    /// Slots that a job has.
    pub fn slots_of(&self, job: &JobId) -> u32 {
        self.members.values().filter_map(|member| member.used.get(job)).sum()
    }

    /// What the local state of each task manager is known by.
    pub fn homes(&self) -> BTreeMap<TaskManagerId, String> {
        let homes = self.members.iter().map(|(id, member)| (id.clone(), member.registration.local_state.id.clone()));
        homes.filter(|(_, home)| !home.is_empty()).collect()
    }

    /// Number of task managers and of all their slots.
    pub fn size(&self) -> (usize, u32) {
        (self.members.len(), self.members.values().map(|member| member.registration.slots).sum())
    }

    /// A job has these slots and no others.
    pub fn set_slots(&mut self, job: &JobId, slots: &BTreeMap<TaskManagerId, u32>) {
        for (id, member) in &mut self.members {
            match slots.get(id) {
                Some(count) => member.used.insert(job.clone(), *count),
                None => member.used.remove(job),
            };
        }
    }

    pub fn infos(&self) -> Vec<TaskManagerInfo> {
        self.members
            .values()
            .map(|member| TaskManagerInfo {
                id: member.registration.id.clone(),
                data_address: member.registration.data_address.clone(),
                slots: member.registration.slots,
                free_slots: member.free_slots(),
                registered_ms: member.registered_ms,
                process: member.process.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(id: &str, slots: u32) -> Registration {
        Registration {
            id: id.into(),
            data_address: "127.0.0.1:1".into(),
            slots,
            version: "1".into(),
            local_state: Default::default(),
        }
    }

    #[test]
    fn slots_are_taken_and_given_back() {
        let mut cluster = Cluster::default();
        cluster.join(registration("a", 2), ConnectionId(1), 0);
        let (job, slots) = (JobId::from("j"), BTreeMap::from([("a".into(), 2)]));
        cluster.set_slots(&job, &slots);
        assert_eq!((cluster.free_slots()[&"a".into()], cluster.slots_of(&job)), (0, 2));
        cluster.set_slots(&job, &BTreeMap::new());
        assert_eq!(cluster.free_slots()[&"a".into()], 2);
    }

    #[test]
    fn silence_is_measured_from_the_last_message() {
        let mut cluster = Cluster::default();
        cluster.join(registration("a", 1), ConnectionId(1), 0);
        cluster.seen(&"a".into(), 4_000);
        assert!(cluster.silent(9_000, 5_000).is_empty());
        assert_eq!(cluster.silent(9_001, 5_000), ["a".into()]);
    }
}
