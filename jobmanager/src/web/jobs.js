// All jobs, and the cluster in figures.

import { facts, h, table } from "./dom.js";
import { get } from "./client.js";
import { duration, time, tone } from "./format.js";

export const state = (name) => h("span", { class: `state ${tone(name)}` }, name.replace("_", " "));

const ENDED = ["FINISHED", "FAILED", "CANCELED"];

export function jobs() {
  return {
    title: "Jobs",
    key: "jobs",
    live: true,
    async load() {
      const [cluster, list] = await Promise.all([get("/cluster"), get("/jobs")]);
      return { cluster, jobs: list.jobs };
    },
    draw({ cluster, jobs }) {
      const sum = (count) => cluster.task_managers.reduce((total, member) => total + count(member), 0);
      const slots = sum((member) => member.slots);
      const live = jobs.filter((job) => !ENDED.includes(job.state));
      const ended = jobs.filter((job) => ENDED.includes(job.state));
      const failed = ended.filter((job) => job.state === "FAILED").length;
      return [
        h("div", { class: "head" }, h("h1", {}, "Jobs"),
          h("div", { class: "actions" }, h("a", { href: "#/sql" }, "Submit a script"))),
        facts([
          ["Running", live.filter((job) => job.state === "RUNNING").length],
          ["Waiting or restarting", live.filter((job) => job.state !== "RUNNING").length],
          ["Failed", failed, { class: failed ? "bad-text" : "" }],
          ["Task managers", cluster.task_managers.length, { class: cluster.task_managers.length ? "" : "bad-text" }],
          ["Slots in use", `${slots - sum((member) => member.free_slots)} of ${slots}`],
          ["Version", cluster.version],
        ]),
        h("h2", {}, "Running"),
        list("Jobs that run", live, "No job runs."),
        h("h2", {}, "Ended"),
        list("Jobs that have ended", ended, "No job has ended."),
      ];
    },
  };
}

function list(caption, jobs, empty) {
  return table(caption, [
    { title: "Name", class: "title", cell: (job) => h("a", { href: `#/jobs/${job.job_id}` }, job.name) },
    { title: "State", cell: (job) => state(job.state) },
    { title: "Id", class: "code", cell: (job) => job.job_id },
    { title: "Started (UTC)", class: "nowrap", cell: (job) => time(job.start_ms) },
    { title: "Ended (UTC)", class: "nowrap", cell: (job) => time(job.end_ms) },
    { title: "Duration", number: true, cell: (job) => duration((job.end_ms ?? Date.now()) - job.start_ms) },
  ], jobs, { empty, key: (job) => job.job_id });
}
