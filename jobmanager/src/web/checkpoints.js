// The checkpoints of a job: figures, a timeline, and a table.

import { facts, h, s, table } from "./dom.js";
import { bytes, clock, duration, number, time } from "./format.js";
import { state } from "./jobs.js";

const WIDTH = 1200;
const HEIGHT = 132;
const LEFT = 64;
const RIGHT = 72;
const BOTTOM = 22;
const TOP = 8;

export function checkpoints(history) {
  const { counts, checkpoints: list } = history;
  const newest = list.find((entry) => entry.state === "COMPLETED");
  return [
    facts([
      ["Completed", number(counts.completed)],
      ["Savepoints", number(counts.savepoints)],
      ["Failed", number(counts.failed), { class: counts.failed ? "bad-text" : "" }],
      ["In progress", number(counts.in_progress)],
      ["Newest took", newest ? duration(newest.end_ms - newest.trigger_ms) : "-"],
      ["Newest size", newest ? bytes(newest.bytes_total) : "-"],
      ["Newest is", newest ? `${duration(Date.now() - newest.end_ms)} old` : "-"],
    ]),
    history.restored ? h("p", {}, "Started from ", h("code", {}, history.restored)) : null,
    timeline([...list].reverse()),
    h("h2", {}, "Latest"),
    table("Checkpoints", [
      { title: "Id", number: true, cell: (entry) => entry.checkpoint },
      { title: "Kind", cell: (entry) => (entry.stop ? `${entry.kind}, stop` : entry.kind) },
      { title: "State", cell: (entry) => state(entry.state) },
      { title: "Triggered (UTC)", class: "nowrap", cell: (entry) => time(entry.trigger_ms) },
      { title: "Duration", number: true, cell: (entry) => duration((entry.end_ms ?? Date.now()) - entry.trigger_ms) },
      { title: "Acknowledged", number: true, cell: (entry) => `${entry.subtasks_acknowledged}/${entry.subtasks}` },
      { title: "Alignment", number: true, cell: (entry) => duration(entry.alignment_ms) },
      { title: "Sync", number: true, cell: (entry) => duration(entry.sync_us / 1000) },
      { title: "Async", number: true, cell: (entry) => duration(entry.async_ms) },
      { title: "New", number: true, cell: (entry) => bytes(entry.bytes_new) },
      { title: "In flight", number: true, cell: (entry) => bytes(entry.bytes_in_flight) },
      { title: "Whole", number: true, cell: (entry) => bytes(entry.bytes_total) },
      { title: "Failure or place", class: "message", cell: (entry) => entry.failure ? h("span", { class: "bad-text" }, entry.failure) : h("code", {}, entry.location ?? "-") },
    ], list, { empty: "No checkpoint was taken. The job takes them if 'execution.checkpointing.interval' is set.", key: (entry) => entry.checkpoint }),
  ];
}

function kind(entry) {
  if (entry.state === "FAILED") return "failed";
  if (entry.state === "IN_PROGRESS") return "open";
  return entry.kind === "savepoint" ? "saved" : "done";
}

/** Durations as bars at the times they began, whole sizes as a line. */
function timeline(list) {
  if (list.length === 0) return null;
  const first = list[0].trigger_ms;
  const last = Math.max(...list.map((entry) => entry.end_ms ?? Date.now()), first + 1000);
  const lasted = (entry) => (entry.end_ms ?? Date.now()) - entry.trigger_ms;
  const most = Math.max(...list.map(lasted), 1);
  const largest = Math.max(...list.map((entry) => entry.bytes_total), 1);
  const x = (at) => LEFT + ((at - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (share) => HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);
  const wide = Math.min(14, Math.max(2, ((WIDTH - LEFT - RIGHT) / list.length) * 0.6));
  const bars = list.map((entry) => s("rect", {
    class: kind(entry), x: x(entry.trigger_ms).toFixed(1), width: wide.toFixed(1),
    y: y(lasted(entry) / most).toFixed(1), height: Math.max(1, HEIGHT - BOTTOM - y(lasted(entry) / most)).toFixed(1),
  }, s("title", {}, `${entry.kind} ${entry.checkpoint}: ${duration(lasted(entry))}, ${bytes(entry.bytes_total)}, ${entry.state}`)));
  const points = list.filter((entry) => entry.state === "COMPLETED")
    .map((entry) => `${(x(entry.trigger_ms) + wide / 2).toFixed(1)},${y(entry.bytes_total / largest).toFixed(1)}`);
  const marks = [0, 0.5, 1].map((share) => s("g", {},
    s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(share), y2: y(share) }),
    s("text", { x: LEFT - 6, y: y(share) + 4, "text-anchor": "end" }, duration(share * most)),
    s("text", { x: WIDTH - RIGHT + 6, y: y(share) + 4 }, bytes(Math.round(share * largest)))));
  const times = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const at = first + share * (last - first);
    return s("text", { x: x(at), y: HEIGHT - 6, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, clock(at));
  });
  const failed = list.filter((entry) => entry.state === "FAILED").length;
  const label = `Timeline of ${list.length} checkpoints from ${time(first)} to ${time(last)}: the longest took ${duration(most)}, the largest has ${bytes(largest)}, ${failed} failed.`;
  return h("figure", {},
    h("ul", { class: "legend" },
      [["done", "checkpoint"], ["saved", "savepoint, and the line of sizes (right)"], ["failed", "failed"], ["open", "in progress"]].map(([name, text]) =>
        h("li", {}, h("span", { class: name }), text))),
    s("svg", { class: "timeline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      marks, bars, points.length > 1 ? s("polyline", { class: "size", points: points.join(" ") }) : null,
      s("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }), times));
}
