// The task managers, with their memory by consumer.

import { bar, facts, h, table } from "./dom.js";
import { get } from "./client.js";
import { bytes, duration, percent, time } from "./format.js";

const CONSUMERS = [
  ["process", "Process"], ["state-tables", "State tables"], ["rows-in-flight", "Rows in flight"],
  ["state-blocks", "State blocks"], ["state-writing", "State writing"],
];

export function taskManagers() {
  return {
    title: "Task managers",
    key: "taskmanagers",
    live: true,
    load: () => get("/cluster"),
    draw(cluster) {
      const members = cluster.task_managers;
      const sum = (count) => members.reduce((total, member) => total + count(member), 0);
      const memory = (member) => member.process.memory.find((entry) => entry.consumer === "process")?.used_bytes ?? 0;
      return [
        h("div", { class: "head" }, h("h1", {}, "Task managers")),
        facts([
          ["Registered", members.length],
          ["Slots", sum((member) => member.slots)],
          ["Free slots", sum((member) => member.free_slots)],
          ["Memory", bytes(sum(memory))],
          ["Leader epoch", cluster.leader_epoch],
        ]),
        table("Task managers", [
          { title: "Id", class: "code", cell: (member) => member.id },
          { title: "Shuffle address", class: "code", cell: (member) => member.data_address },
          { title: "HTTP address", class: "code", cell: (member) => member.process.http_address ?? "-" },
          { title: "Slots in use", number: true, cell: (member) => `${member.slots - member.free_slots} of ${member.slots}` },
          { title: "Registered (UTC)", class: "nowrap", cell: (member) => time(member.registered_ms) },
          { title: "For", number: true, cell: (member) => duration(Date.now() - member.registered_ms) },
        ], members, { empty: "No task manager is registered: jobs wait for slots.", key: (member) => member.id }),
        h("h2", {}, "Memory by consumer"),
        table("Memory by consumer", [
          { title: "Task manager", class: "code", cell: (member) => member.id },
          ...CONSUMERS.map(([name, title]) => ({ title, cell: (member) => use(member, name, title) })),
        ], members, { empty: "No task manager is registered.", key: (member) => member.id }),
        h("p", { class: "muted" }, "Process is all that the process has. The others are parts of it that are counted, of what each may have."),
      ];
    },
  };
}

function use(member, consumer, title) {
  const entry = member.process.memory.find((known) => known.consumer === consumer);
  if (!entry) return "-";
  const share = entry.limit_bytes ? entry.used_bytes / entry.limit_bytes : null;
  const text = `${bytes(entry.used_bytes)}${entry.limit_bytes === null ? "" : ` of ${bytes(entry.limit_bytes)}`}`;
  return [
    h("span", { class: "nowrap" }, text),
    share === null ? null : bar(`${title}: ${percent(share)}`, [[share > 0.9 ? "full" : "used", share]]),
  ];
}
