// The description of the API, made readable. It is what /api/v1/openapi.json says.

import { h, show, table } from "./dom.js";

const main = document.getElementById("main");

/** The name of a schema, or its kind. */
function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return h("a", { href: `#${name}` }, name);
  }
  if (schema.allOf) return [kind(schema.allOf[0]), schema.nullable ? " or null" : ""];
  if (schema.type === "array") return ["array of ", kind(schema.items)];
  const text = schema.enum ? schema.enum.join(", ") : schema.type ?? "any";
  return schema.nullable ? `${text} or null` : text;
}

function properties(schema) {
  const required = schema.required ?? [];
  const rows = Object.entries(schema.properties ?? {});
  if (schema.type === "array") return h("p", {}, "Array of ", kind(schema.items), properties(schema.items));
  if (schema.enum) return h("p", {}, schema.enum.join(", "));
  if (rows.length === 0) return h("p", { class: "muted" }, "No members.");
  return table("Members", [
    { title: "Member", class: "code", cell: ([name]) => name },
    { title: "Type", cell: ([, value]) => kind(value) },
    { title: "Needed", cell: ([name]) => (required.includes(name) ? "yes" : "no") },
    { title: "Meaning", class: "message", cell: ([, value]) => value.description ?? "" },
  ], rows);
}

function content(holder) {
  return Object.entries(holder?.content ?? {}).map(([type, { schema }]) =>
    [h("p", {}, h("code", {}, type), ": ", kind(schema)), schema.properties ? properties(schema) : null]);
}

function operation(path, verb, described, components) {
  const parameters = (described.parameters ?? []).map((parameter) =>
    parameter.$ref ? components.parameters[parameter.$ref.split("/").pop()] : parameter);
  const answers = Object.entries(described.responses).filter(([status]) => status !== "default");
  return h("details", { class: "operation", id: `${verb}-${path}` },
    h("summary", {}, h("span", { class: "verb" }, verb.toUpperCase()), h("code", {}, path), ` ${described.summary}`),
    h("div", {},
      parameters.length ? table("Parameters", [
        { title: "Parameter", class: "code", cell: (parameter) => parameter.name },
        { title: "In", cell: (parameter) => parameter.in },
        { title: "Type", cell: (parameter) => kind(parameter.schema) },
        { title: "Meaning", class: "message", cell: (parameter) => parameter.description ?? "" },
      ], parameters) : null,
      described.requestBody ? [h("h2", {}, "Body"), content(described.requestBody)] : null,
      answers.map(([status, answer]) => [h("h2", {}, `${status}: ${answer.description}`), content(answer)])));
}

async function load() {
  const described = await (await fetch("/api/v1/openapi.json")).json();
  const operations = Object.entries(described.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, entry]) => ({ path, verb, entry })));
  show(main,
    h("div", { class: "head" }, h("h1", {}, "API"), h("a", { href: "/api/v1/openapi.json" }, "openapi.json")),
    h("p", {}, described.info.description),
    described.tags.map((tag) => [
      h("h2", {}, tag.description),
      operations.filter(({ entry }) => entry.tags.includes(tag.name))
        .map(({ path, verb, entry }) => operation(path, verb, entry, described.components)),
    ]),
    h("h2", {}, "Schemas"),
    Object.entries(described.components.schemas).map(([name, schema]) =>
      h("details", { class: "operation", id: name },
        h("summary", {}, h("code", {}, name), ` ${schema.description ?? ""}`), h("div", {}, properties(schema)))));
}

// A link to a schema opens it.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") {
    target.open = true;
    target.querySelector("summary").focus();
    target.scrollIntoView({ block: "nearest" });
  }
}

window.addEventListener("hashchange", reveal);
load().then(reveal, (error) => show(main, h("p", { class: "problem", role: "alert" }, error.message)));
