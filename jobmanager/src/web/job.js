// One job: graph, operators and subtasks; checkpoints; exceptions; events; configuration.

import { bar, facts, h, table } from "./dom.js";
import { get, job as path, post } from "./client.js";
import { ask } from "./dialog.js";
import { behind, bytes, duration, number, percent, rate, short, time, watermark } from "./format.js";
import { graph, tasksOf } from "./graph.js";
import { state } from "./jobs.js";
import { checkpoints } from "./checkpoints.js";
import { options } from "./config.js";

const TABS = [["overview", "Overview"], ["checkpoints", "Checkpoints"], ["exceptions", "Exceptions"], ["events", "Events"], ["config", "Configuration"]];
const ENDED = ["FINISHED", "FAILED", "CANCELED"];
/** Rates are of the last seconds: of two looks that are so far apart, if there are. */
const WINDOW_MS = 5000;

/** Looks at the counters of each job, by its id; kept when another tab is shown. */
const looks = new Map();
const selections = new Map();

export function job(id, tab) {
  const known = TABS.find(([name]) => name === tab) ?? TABS[0];
  const name = known[0];
  return {
    title: `Job ${id.slice(0, 8)}, ${known[1].toLowerCase()}`,
    key: `job/${id}/${name}`,
    live: true,
    async load() {
      const detail = get(path(id));
      const more = {
        overview: () => get(`${path(id)}/subtasks`),
        checkpoints: () => get(`${path(id)}/checkpoints`),
        events: () => get(`${path(id)}/events`),
        config: () => get(`${path(id)}/config`),
      }[name]?.();
      return { detail: await detail, more: await more };
    },
    draw({ detail, more }, refresh) {
      const body = {
        overview: () => overview(detail, more.subtasks, refresh),
        checkpoints: () => checkpoints(more),
        exceptions: () => exceptions(detail),
        events: () => events(more.events),
        config: () => configuration(more),
      }[name]();
      const tabs = TABS.map(([key, title]) =>
        h("a", { href: `#/jobs/${id}/${key}`, "aria-current": key === name ? "page" : null },
          key === "exceptions" && detail.exceptions.length ? `${title} (${detail.exceptions.length})` : title));
      return [head(detail, refresh), h("nav", { class: "tabs", "aria-label": "Of the job" }, tabs), body];
    },
  };
}

function head(detail, refresh) {
  const ended = ENDED.includes(detail.state);
  const lasted = (detail.end_ms ?? Date.now()) - detail.start_ms;
  const sum = (count) => detail.operators.reduce((total, operator) => total + count(operator), 0);
  const late = sum((operator) => operator.late_rows_dropped);
  const skipped = sum((operator) => operator.records_skipped);
  const newest = detail.attempts[detail.attempts.length - 1];
  return [
    h("div", { class: "head" }, h("h1", {}, detail.name), state(detail.state), h("code", { class: "muted" }, detail.job_id),
      ended ? null : h("div", { class: "actions" }, actions(detail, refresh))),
    facts([
      ["Started (UTC)", time(detail.start_ms)],
      ["Duration", duration(lasted)],
      ["Slots", detail.slots],
      ["Attempt", newest?.attempt ?? "-"],
      detail.regions > 1 ? ["Regions", detail.regions] : null,
      ["Late rows dropped", number(late), { class: late ? "warn-text" : "" }],
      ["Malformed skipped", number(skipped), { class: skipped ? "warn-text" : "" }],
    ]),
  ];
}

function actions(detail, refresh) {
  const at = path(detail.job_id);
  const button = (title, danger, dialog) =>
    h("button", { type: "button", class: danger ? "danger" : "", onclick: () => ask(dialog) }, title);
  const done = (text) => {
    refresh();
    return text;
  };
  const directory = { name: "directory", label: "Directory (path or URL); empty for the configured one", type: "text" };
  const drain = { name: "drain", label: "Take event time to its end, so that all windows fire", type: "checkbox" };
  return [
    button("Savepoint", false, {
      title: "Take a savepoint", button: "Take it", fields: [directory],
      act: async ({ directory }) => done(`Savepoint ${(await post(`${at}/savepoints`, { directory: directory || null })).location}`),
    }),
    button("Rescale", false, {
      title: "Rescale", button: "Rescale", text: "The job goes on from its newest checkpoint.",
      fields: [{ name: "parallelism", label: "Parallelism", type: "number", min: 1, value: Math.max(1, ...detail.operators.map((operator) => operator.parallelism)) }],
      act: async ({ parallelism }) => {
        await post(`${at}/rescale`, { parallelism });
        return done(`The job goes on with parallelism ${parallelism}`);
      },
    }),
    button("Stop", false, {
      title: "Stop with a savepoint", button: "Stop", text: "The job ends with a savepoint, from which it can go on.", fields: [directory, drain],
      act: async ({ directory, drain }) =>
        done(`Stopped with ${(await post(`${at}/savepoints`, { directory: directory || null, stop: true, drain })).location}`),
    }),
    button("Cancel", true, {
      title: "Cancel the job", button: "Cancel the job", danger: true,
      text: "The job ends at once, without a savepoint. What it has not published is lost unless a checkpoint is retained.",
      act: async () => {
        await post(`${at}/cancel`);
        return done("The job is being cancelled");
      },
    }),
  ];
}

/** What the counters of an operator have risen by, a second. */
function measure(detail) {
  const now = performance.now();
  const before = looks.get(detail.job_id) ?? [];
  const counters = new Map(detail.operators.map((operator) => [operator.operator, operator]));
  before.push({ now, counters });
  while (before.length > 2 && now - before[1].now >= WINDOW_MS) before.shift();
  looks.set(detail.job_id, before);
  const first = before[0];
  const seconds = (now - first.now) / 1000;
  return (operator) => {
    const old = first.counters.get(operator.operator);
    const risen = (key) => (old && operator[key] >= old[key] ? operator[key] - old[key] : null);
    const perSecond = (key) => (seconds > 0.5 && risen(key) !== null ? risen(key) / seconds : null);
    const [busy, idle, backpressured] = ["busy_ms", "idle_ms", "backpressured_ms"].map(risen);
    const total = busy + idle + backpressured;
    const shares = total > 0 ? { busy: busy / total, idle: idle / total, backpressured: backpressured / total } : null;
    return { in: perSecond("records_in"), out: perSecond("records_out"), shares };
  };
}

function overview(detail, subtasks, refresh) {
  if (detail.operators.length === 0) return h("p", { class: "empty" }, "The job has no operators.");
  const rates = measure(detail);
  const tasks = tasksOf(detail.operators);
  const selected = selections.get(detail.job_id) ?? tasks[0].id;
  const select = (task) => {
    selections.set(detail.job_id, task);
    refresh();
  };
  return [
    h("ul", { class: "legend" }, ["busy", "backpressured", "idle"].map((name) =>
      h("li", {}, h("span", { class: name }), `${name}, share of time over the last seconds`))),
    h("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "Graph" }, graph(detail.operators, rates, selected, select)),
    h("h2", {}, "Operators"),
    operators(detail.operators, rates, selected),
    h("h2", {}, `Subtasks of task ${selected}`),
    subtaskTable(subtasks.filter((subtask) => subtask.task === selected)),
    splits(subtasks.filter((subtask) => subtask.task === selected)),
  ];
}

function shareBar(shares) {
  return bar(`busy ${percent(shares?.busy)}, backpressured ${percent(shares?.backpressured)}, idle ${percent(shares?.idle)}`,
    ["busy", "backpressured", "idle"].map((name) => [name, shares?.[name]]));
}

function operators(list, rates, selected) {
  const some = (key, column) => (list.some((operator) => operator[key] !== null) ? [column] : []);
  return table("Operators", [
    { title: "Operator", class: "name", cell: (operator) => h("span", { title: operator.name }, short(operator.name, 110)) },
    { title: "Task", number: true, cell: (operator) => operator.task },
    { title: "Running", number: true, cell: (operator) => `${operator.subtasks_running}/${operator.parallelism}` },
    { title: "In", number: true, cell: (operator) => number(operator.records_in) },
    { title: "Out", number: true, cell: (operator) => number(operator.records_out) },
    { title: "In/s", number: true, cell: (operator) => rate(rates(operator).in) },
    { title: "Out/s", number: true, cell: (operator) => rate(rates(operator).out) },
    { title: "Late", number: true, cell: (operator) => number(operator.late_rows_dropped) },
    { title: "Skipped", number: true, cell: (operator) => number(operator.records_skipped) },
    { title: "Bytes", number: true, cell: (operator) => bytes(operator.bytes) },
    ...some("records_lag", { title: "Backlog", number: true, cell: (operator) => number(operator.records_lag) }),
    { title: "Time", cell: (operator) => shareBar(rates(operator).shares) },
    { title: "Watermark (UTC)", class: "nowrap", cell: (operator) => watermark(operator.watermark_ms) },
    { title: "Behind", number: true, cell: (operator) => behind(operator.watermark_ms) },
    ...some("holding_split", { title: "Held back by", class: "code", cell: (operator) => operator.holding_split ?? "-" }),
  ], list, {
    key: (operator) => operator.operator,
    row: (operator) => ({ "data-selected": operator.task === selected }),
  });
}

function subtaskTable(subtasks) {
  const share = (subtask, key) => subtask[key] / (subtask.busy_ms + subtask.idle_ms + subtask.backpressured_ms);
  return table("Subtasks", [
    { title: "Subtask", number: true, cell: (subtask) => subtask.index },
    { title: "State", cell: (subtask) => state(subtask.state) },
    { title: "Task manager", class: "code", cell: (subtask) => subtask.task_manager ?? "-" },
    { title: "Region", number: true, cell: (subtask) => subtask.region ?? "-" },
    { title: "Attempt", number: true, cell: (subtask) => subtask.attempt ?? "-" },
    { title: "In", number: true, cell: (subtask) => number(subtask.records_in) },
    { title: "Out", number: true, cell: (subtask) => number(subtask.records_out) },
    { title: "Late", number: true, cell: (subtask) => number(subtask.late_rows_dropped) },
    { title: "Busy", number: true, cell: (subtask) => percent(share(subtask, "busy_ms")) },
    { title: "Backpressured", number: true, cell: (subtask) => percent(share(subtask, "backpressured_ms")) },
    { title: "Watermark (UTC)", class: "nowrap", cell: (subtask) => watermark(subtask.watermark_ms) },
    { title: "Behind", number: true, cell: (subtask) => behind(subtask.watermark_ms) },
  ], subtasks, { key: (subtask) => subtask.index });
}

function splits(subtasks) {
  const rows = subtasks.flatMap((subtask) => subtask.splits.map((split) => ({ subtask, split })));
  if (rows.length === 0) return null;
  return [h("h2", {}, "Splits"), table("Splits", [
    { title: "Split", class: "code", cell: ({ split }) => split.split },
    { title: "Subtask", number: true, cell: ({ subtask }) => subtask.index },
    { title: "Watermark (UTC)", class: "nowrap", cell: ({ split }) => watermark(split.watermark_ms) },
    { title: "Behind", number: true, cell: ({ split }) => behind(split.watermark_ms) },
    { title: "Idle", cell: ({ split }) => (split.idle ? "does not hold the watermark" : "-") },
  ], rows, { key: ({ subtask, split }) => `${subtask.index}/${split.split}` })];
}

function exceptions(detail) {
  const regions = (list) => (list.length ? list.join(", ") : "-");
  return [
    h("h2", {}, "Exceptions"),
    table("Exceptions", [
      { title: "Time (UTC)", class: "nowrap", cell: (entry) => time(entry.timestamp_ms) },
      { title: "Cause", class: "message", cell: (entry) => entry.cause },
      { title: "Subtask", class: "name", cell: (entry) => (entry.subtask ? short(entry.subtask, 120) : "-") },
      { title: "Task manager", class: "code", cell: (entry) => entry.task_manager ?? "-" },
      { title: "Ended regions", cell: (entry) => regions(entry.regions) },
    ], detail.exceptions, { empty: "Nothing has failed." }),
    h("h2", {}, "Attempts"),
    table("Attempts", [
      { title: "Attempt", number: true, cell: (attempt) => attempt.attempt },
      { title: "Region", number: true, cell: (attempt) => attempt.region },
      { title: "Subtasks", number: true, cell: (attempt) => attempt.subtasks },
      { title: "Started (UTC)", class: "nowrap", cell: (attempt) => time(attempt.start_ms) },
      { title: "Ended (UTC)", class: "nowrap", cell: (attempt) => time(attempt.end_ms) },
      { title: "Lasted", number: true, cell: (attempt) => duration((attempt.end_ms ?? Date.now()) - attempt.start_ms) },
    ], [...detail.attempts].reverse(), { empty: "The job has not started yet.", key: (attempt) => attempt.attempt }),
  ];
}

function events(list) {
  return table("Events, newest first", [
    { title: "Time (UTC)", class: "nowrap", cell: (event) => time(event.timestamp_ms) },
    { title: "Kind", cell: (event) => h("span", { class: event.kind === "failure" ? "bad-text" : "" }, event.kind) },
    { title: "Event", class: "message", cell: (event) => event.message },
  ], [...list].reverse(), { empty: "Nothing is remembered.", key: (event) => event.sequence });
}

function configuration(config) {
  return [
    options("Options of the job", config.options),
    config.tables.map((entry) => options(`${entry.role === "source" ? "Source" : "Sink"} ${entry.name} (${entry.connector})`, entry.options)),
    h("h2", {}, "Plan"),
    h("pre", { class: "panel plan", tabindex: 0, "aria-label": "Plan" }, config.plan),
  ];
}
