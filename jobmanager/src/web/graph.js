// The graph of a job: a box a task, from the sources on the left to the sinks on the right.

import { s } from "./dom.js";
import { behind, percent, rate } from "./format.js";

const WIDTH = 300;
/** Characters of a name that fit a box: in bold, and else. */
const HEAD_CHARS = 34;
const NAME_CHARS = 40;
/** From these shares of time on a box is coloured. */
const BUSY_HIGH = 0.8;
const BACKPRESSURED_HIGH = 0.3;
const GAP_X = 72;
const GAP_Y = 20;
const LINE = 16;
const PADDING = 10;

/** Tasks with their operators, and the edges between them. */
export function tasksOf(operators) {
  const tasks = new Map();
  for (const operator of operators) {
    if (!tasks.has(operator.task)) tasks.set(operator.task, { id: operator.task, operators: [], inputs: [] });
    tasks.get(operator.task).operators.push(operator);
  }
  const taskOf = new Map(operators.map((operator) => [operator.operator, operator.task]));
  for (const operator of operators) {
    for (const input of operator.inputs) {
      const from = taskOf.get(input.operator);
      if (from !== operator.task) tasks.get(operator.task).inputs.push({ from, partitioning: input.partitioning });
    }
  }
  return [...tasks.values()].sort((a, b) => a.id - b.id);
}

/** Columns by the longest way from a source; inside of one, in order of their inputs. */
function place(tasks) {
  const layer = new Map();
  for (const task of tasks) {
    layer.set(task.id, Math.max(-1, ...task.inputs.map((input) => layer.get(input.from) ?? 0)) + 1);
  }
  // A source is drawn beside whoever reads it.
  for (const task of [...tasks].reverse()) {
    const readers = tasks.filter((other) => other.inputs.some((input) => input.from === task.id));
    if (task.inputs.length === 0 && readers.length > 0) {
      layer.set(task.id, Math.min(...readers.map((reader) => layer.get(reader.id))) - 1);
    }
  }
  const columns = [];
  for (const task of tasks) (columns[layer.get(task.id)] ??= []).push(task);
  const boxes = new Map();
  let height = 0;
  columns.forEach((column, index) => {
    const middle = (task) => {
      const ys = task.inputs.map((input) => boxes.get(input.from)).filter(Boolean).map((box) => box.y + box.height / 2);
      return ys.length ? ys.reduce((a, b) => a + b, 0) / ys.length : 0;
    };
    if (index > 0) column.sort((a, b) => middle(a) - middle(b) || a.id - b.id);
    let y = 1;
    for (const task of column) {
      const size = PADDING * 2 + LINE * (task.operators.length + 3) + 8;
      boxes.set(task.id, { x: 1 + index * (WIDTH + GAP_X), y, height: size });
      y += size + GAP_Y;
    }
    height = Math.max(height, y - GAP_Y);
  });
  // Columns with less stand in the middle.
  columns.forEach((column) => {
    const last = boxes.get(column[column.length - 1].id);
    const shift = (height - last.y - last.height) / 2;
    for (const task of column) boxes.get(task.id).y += shift;
  });
  return { boxes, width: columns.length * (WIDTH + GAP_X) - GAP_X + 2, height: height + 2 };
}

/** `rates` gives what is measured of an operator; `select` is called with a task. */
export function graph(operators, rates, selected, select) {
  const tasks = tasksOf(operators);
  const { boxes, width, height } = place(tasks);
  const edges = tasks.flatMap((task) => task.inputs.map((input) => edge(boxes.get(input.from), boxes.get(task.id), input)));
  const nodes = tasks.map((task) => node(task, boxes.get(task.id), rates, task.id === selected, select));
  return s("svg", { class: "graph", width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Job graph" },
    s("defs", {}, s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      s("path", { class: "arrow", d: "M0 0 8 4 0 8z" }))),
    edges, nodes);
}

function edge(from, to, input) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const bend = Math.max(24, (x2 - x1) / 2);
  return s("g", {},
    s("path", { class: "edge", "marker-end": "url(#arrow)", d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` }),
    s("text", { class: "muted", x: x1 + 4, y: y1 - 5 }, input.partitioning));
}

const cut = (name, most) => (name.length <= most ? name : `${name.slice(0, most - 1)}…`);

function node(task, box, rates, selected, select) {
  const first = task.operators[0];
  const last = task.operators[task.operators.length - 1];
  const shares = rates(first).shares;
  const load = shares?.backpressured >= BACKPRESSURED_HIGH ? "pressed" : shares?.busy >= BUSY_HIGH ? "hot" : "";
  const running = `${first.subtasks_running}/${first.parallelism}`;
  const late = task.operators.reduce((sum, operator) => sum + operator.late_rows_dropped, 0);
  const figures = `in ${rate(rates(first).in)}/s · out ${rate(rates(last).out)}/s`;
  const time = `busy ${percent(shares?.busy)} · backpressured ${percent(shares?.backpressured)}`;
  const lag = `behind ${behind(first.watermark_ms)}${late ? ` · late ${late}` : ""}`;
  const names = task.operators.map((operator) => operator.name);
  const label = `Task ${task.id}: ${names.join(", ")}. ${running} subtasks run. ${figures}. ${time}. Watermark ${lag}.`;
  const text = (line, content, name) => s("text", { x: PADDING, y: PADDING + LINE * line + 12, class: name ?? "" }, content);
  const inner = WIDTH - 2 * PADDING;
  let at = 0;
  const bars = ["busy", "backpressured", "idle"].map((name) => {
    const size = inner * (shares?.[name] ?? 0);
    const part = s("rect", { class: name, x: (PADDING + at).toFixed(1), y: PADDING + LINE * (names.length + 3) + 2, width: size.toFixed(1), height: 6 });
    at += size;
    return part;
  });
  return s("a", {
    href: "#", class: `${selected ? "selected" : ""} ${load}`.trim(), transform: `translate(${box.x} ${box.y.toFixed(1)})`, "aria-label": label,
    "aria-current": selected ? "true" : "false",
    onclick: (event) => {
      event.preventDefault();
      select(task.id);
    },
  },
  s("title", {}, names.join("\n")),
  s("rect", { class: "box", width: WIDTH, height: box.height, rx: 4 }),
  names.map((name, line) => text(line, cut(name, line === 0 ? HEAD_CHARS : NAME_CHARS), line === 0 ? "head-text" : "")),
  text(names.length, `${running} subtasks · ${figures}`, "muted"),
  text(names.length + 1, time, "muted"),
  text(names.length + 2, lag, "muted"),
  bars);
}
