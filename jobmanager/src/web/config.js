// Options of the job manager. Secrets are masked by the server; they never come here.

import { h, table } from "./dom.js";
import { get } from "./client.js";

let wanted = "";

export function config() {
  return {
    title: "Configuration",
    key: "config",
    live: false,
    load: () => get("/config"),
    draw({ options }, refresh) {
      const found = options.filter((option) => `${option.key} ${option.value}`.toLowerCase().includes(wanted));
      return [
        h("div", { class: "head" }, h("h1", {}, "Configuration of the job manager")),
        h("div", { class: "row" }, h("div", { class: "field" },
          h("label", { for: "filter" }, "Filter"),
          h("input", { id: "filter", type: "search", oninput: (event) => {
            wanted = event.target.value.toLowerCase();
            refresh();
          } }))),
        table("Options", [
          { title: "Key", class: "code", cell: (option) => option.key },
          { title: "Value", class: "code", cell: (option) => option.value },
          { title: "Set by", cell: (option) => (option.default ? h("span", { class: "muted" }, "default") : "configuration") },
        ], found, { empty: "No option has this in its key or value.", key: (option) => option.key }),
      ];
    },
  };
}

/** A table of options, by their keys. */
export function options(title, values) {
  const rows = Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1));
  return [h("h2", {}, title), table(title, [
    { title: "Key", class: "code", cell: ([key]) => key },
    { title: "Value", class: "code", cell: ([, value]) => value },
  ], rows, { empty: "None is set.", key: ([key]) => key })];
}
