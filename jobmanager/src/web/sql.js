// A script: its plan, the rows of its SELECT as they come, and its submission.

import { announce, h, show, table } from "./dom.js";
import { lines, post } from "./client.js";
import { number, short } from "./format.js";
import { ask } from "./dialog.js";

/** Rows that are kept and shown. */
const ROWS_MAX = 500;
const DRAW_MS = 250;

const EXAMPLE = `CREATE TABLE numbers (n BIGINT, d DOUBLE) WITH (
  'connector' = 'datagen', 'rows-per-second' = '10'
);

SELECT n, d FROM numbers;`;

/** What is typed stays while the page is open. It may hold passwords, so it is kept nowhere else. */
let script = EXAMPLE;
let parallelism = "";
let outcome = null;
/** Ends the preview that runs. */
let running = null;

export function sql() {
  return {
    title: "SQL",
    key: "sql",
    live: false,
    load: async () => null,
    draw: (_, refresh) => page(refresh),
    leave: () => running?.abort(),
  };
}

function body() {
  const options = {};
  if (parallelism) options["parallelism.default"] = parallelism;
  return { script, options };
}

function page(refresh) {
  const button = (title, attributes, act) => h("button", { type: "button", ...attributes, onclick: act }, title);
  return [
    h("div", { class: "head" }, h("h1", {}, "SQL")),
    h("div", {},
      h("label", { for: "script" }, "Script: statements of Flink SQL, each ends with ;"),
      h("textarea", {
        id: "script", class: "code", spellcheck: "false", autocapitalize: "off", autocomplete: "off",
        oninput: (event) => { script = event.target.value; },
        onkeydown: (event) => {
          if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
            event.preventDefault();
            preview(refresh);
          }
        },
      }, script)),
    h("div", { class: "row" },
      button("Explain", { disabled: running !== null }, () => explain(refresh)),
      button("Preview", { class: "main", disabled: running !== null, "aria-keyshortcuts": "Control+Enter" }, () => preview(refresh)),
      button("Stop preview", { disabled: running === null }, () => running?.abort()),
      button("Submit…", { disabled: running !== null }, () => submit(refresh)),
      h("div", { class: "field" },
        h("label", { for: "parallelism" }, "Parallelism"),
        h("input", { id: "parallelism", type: "number", min: 1, max: 32768, value: parallelism, oninput: (event) => { parallelism = event.target.value; } })),
      h("p", { class: "muted" }, "Preview runs the one SELECT of the script (Ctrl+Enter) and cancels it when it is stopped or left.")),
    h("div", { id: "outcome", tabindex: -1 }, outcome),
  ];
}

function told(refresh, text, ...content) {
  outcome = content;
  announce(text);
  refresh();
}

function failed(refresh, error) {
  told(refresh, "Failed", h("pre", { class: "problem", role: "alert" }, error.message));
}

const warnings = (list) => list.map((warning) => h("p", { class: "warn-text" }, `Warning: ${warning}`));

async function explain(refresh) {
  try {
    const { plans, warnings: list } = await post("/sql/explain", body());
    told(refresh, `${plans.length} plans`, warnings(list), plans.map((plan, index) => [
      h("h2", {}, plans.length === 1 ? "Plan" : `Plan ${index + 1}`),
      h("pre", { class: "panel plan", tabindex: 0, "aria-label": `Plan ${index + 1}` }, plan),
    ]));
  } catch (error) {
    failed(refresh, error);
  }
}

function submit(refresh) {
  ask({
    title: "Submit the script", button: "Submit",
    text: "Its jobs start on the cluster and go on when this page is closed.",
    fields: [{ name: "savepoint", label: "Start from the savepoint at (path or URL); empty for none", type: "text" }],
    act: async ({ savepoint }) => {
      const request = body();
      if (savepoint) request.options["execution.state-recovery.path"] = savepoint;
      const { statements, warnings: list } = await post("/jobs", request);
      const jobs = statements.filter((statement) => statement.job);
      const text = jobs.length === 1 ? "1 job was started" : `${jobs.length} jobs were started`;
      told(refresh, text, h("p", { class: "notice" }, text), warnings(list), statements.map((statement) =>
        statement.job
          ? h("p", {}, h("a", { href: `#/jobs/${statement.job.job_id}` }, statement.job.name))
          : h("pre", { class: "panel" }, statement.text)));
      return text;
    },
  });
}

async function preview(refresh) {
  if (running) return;
  const stop = new AbortController();
  running = stop;
  const view = { columns: [], rows: [], count: 0, end: null };
  let drawn = 0;
  const draw = () => {
    drawn = performance.now();
    outcome = rows(view);
    const place = document.getElementById("outcome");
    if (place) show(place, outcome);
  };
  told(refresh, "The query runs", h("p", { class: "muted" }, "Waiting for rows…"));
  const timer = setInterval(() => { if (performance.now() - drawn >= DRAW_MS && view.columns.length) draw(); }, DRAW_MS);
  try {
    await lines("/sql/preview", body(), stop.signal, (line) => {
      if (line.columns) view.columns = line.columns;
      if (line.rows) take(view, line.rows);
      if (line.end) view.end = line.end;
    });
  } catch (error) {
    if (!stop.signal.aborted) view.end = { state: "FAILED", failure: error.message };
  }
  clearInterval(timer);
  running = null;
  view.end ??= { state: "CANCELED", failure: null };
  draw();
  announce(`The query is ${view.end.state}, ${view.count} changes came`);
  refresh();
}

/** Follows the changes: a row that is taken back goes away. */
function take(view, changes) {
  for (const [kind, ...cells] of changes) {
    view.count += 1;
    if (kind === "-U" || kind === "-D") {
      const same = (row) => row.length === cells.length && row.every((cell, index) => cell === cells[index]);
      const at = view.rows.findLastIndex(same);
      if (at >= 0) view.rows.splice(at, 1);
    } else {
      view.rows.push(cells);
      if (view.rows.length > ROWS_MAX) view.rows.shift();
    }
  }
}

function rows(view) {
  const columns = view.columns.map((title, index) => ({
    title,
    class: "code",
    cell: (row) => (row[index] === null ? h("span", { class: "muted" }, "NULL") : short(row[index] ?? "", 200)),
  }));
  const text = view.end ? `${view.end.state}: ${number(view.count)} changes` : `${number(view.count)} changes so far`;
  return [
    h("p", {}, `${text}; the table as it is now${view.rows.length >= ROWS_MAX ? `, its newest ${ROWS_MAX} rows` : ""}`),
    view.end?.failure ? h("pre", { class: "problem", role: "alert" }, view.end.failure) : null,
    table("Rows", columns, [...view.rows].reverse(), { empty: "There are no rows." }),
  ];
}
