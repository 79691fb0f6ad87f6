// Which view is shown, and when it is refreshed.

import { announce, h, show } from "./dom.js";
import { clock } from "./format.js";
import { jobs } from "./jobs.js";
import { job } from "./job.js";
import { taskManagers } from "./taskmanagers.js";
import { config } from "./config.js";
import { sql } from "./sql.js";

const REFRESH_MS = 2000;

/** By the first part of the address. A view gives its title, what it loads, and how that is drawn. */
const VIEWS = { jobs, taskmanagers: taskManagers, config, sql };

const main = document.getElementById("main");
const alarm = document.getElementById("alarm");
const updated = document.getElementById("updated");
let view = null;
let timer = 0;
let round = 0;

function parts() {
  return location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
}

function choose() {
  const [name = "jobs", ...rest] = parts();
  if (name === "jobs" && rest.length > 0) return job(rest[0], rest[1] ?? "overview");
  return (VIEWS[name] ?? jobs)();
}

function alert(text) {
  if (alarm.textContent !== text) alarm.textContent = text;
  alarm.hidden = text === "";
}

/** Loads and draws; what comes too late, for a view that is not shown any more, is dropped. */
async function refresh() {
  clearTimeout(timer);
  const mine = ++round;
  const shown = view;
  try {
    const data = await shown.load();
    if (mine !== round) return;
    show(main, shown.draw(data, refresh));
    alert("");
    if (shown.live) updated.textContent = `Updated ${clock(Date.now())} UTC`;
    else updated.textContent = "";
  } catch (error) {
    if (mine !== round) return;
    alert(error.message);
    if (error.code === "no-such-job") show(main, h("p", { class: "empty" }, "There is no such job any more."));
  }
  if (shown.live && !document.hidden) timer = setTimeout(refresh, REFRESH_MS);
}

function navigate() {
  view?.leave?.();
  const before = view;
  view = choose();
  for (const link of document.querySelectorAll(".top nav a")) {
    const current = link.getAttribute("href") === `#/${parts()[0] ?? "jobs"}`;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${view.title} - Tidemill`;
  if (!before || before.key !== view.key) show(main, h("p", { class: "empty" }, "Loading…"));
  if (before) {
    main.focus({ preventScroll: true });
    announce(view.title);
  }
  refresh();
}

document.getElementById("skip").addEventListener("click", () => main.focus());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (view?.live) refresh();
});
window.addEventListener("hashchange", navigate);
navigate();
