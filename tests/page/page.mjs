// Drives the page in a headless Chromium. Arguments: the page's address, where playwright-core and axe-core are,
// where screenshots go, and as JSON what is there: ids of jobs, and a text that must be seen nowhere.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [base, home, images, given] = process.argv.slice(2);
const { running, failed, hostile, canary } = JSON.parse(given);
const require = createRequire(`${home}/page.js`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
page.setDefaultTimeout(20000);
const wrong = [];
const elsewhere = [];
page.on("console", (message) => {
  // A refusal that a step provokes is no fault of the page.
  if (message.type() === "error" && !message.text().includes("status of 4")) wrong.push(message.text());
});
page.on("pageerror", (error) => wrong.push(error.message));
page.on("dialog", (dialog) => {
  wrong.push(`a script of the data ran: ${dialog.message()}`);
  dialog.dismiss();
});
page.on("request", (request) => {
  if (!request.url().startsWith(base)) elsewhere.push(request.url());
});

async function step(name, act) {
  try {
    await act();
  } catch (error) {
    console.error(`page: ${name}: ${error.stack}\n${await page.locator("main").innerText()}`);
    await page.screenshot({ path: `${images}/failure.png` });
    process.exit(1);
  }
}

const visible = (text) => page.getByText(text, { exact: false }).first().waitFor();
const go = (hash) => page.goto(`${base}/#/${hash}`);
const shot = (name) => page.screenshot({ path: `${images}/${name}.png` });

/** What assistive technology needs: names, labels, roles, contrast. Nothing may be wrong, light or dark. */
async function accessible(name) {
  await page.evaluate(axe);
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await page.evaluate(() =>
      window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"] }));
    const told = violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
    assert.deepEqual(told, [], `${name}, ${colorScheme}`);
  }
  const text = await page.content();
  assert(!text.includes(canary), `${name} shows a secret`);
}

await step("jobs are listed, and texts of theirs stay texts", async () => {
  await go("jobs");
  await visible("Slots in use");
  await page.getByRole("link", { name: hostile, exact: true }).waitFor();
  assert.equal(await page.locator("main img").count(), 0);
  await accessible("jobs");
  await shot("jobs");
});

await step("the keyboard reaches the content", async () => {
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.getByRole("link", { name: "web-analytics" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "web-analytics" }).waitFor();
});

await step("a job has its graph, with rates, times, watermarks and splits", async () => {
  const boxes = page.locator(".graph a");
  await boxes.nth(1).waitFor();
  await page.waitForFunction(() => /in [1-9][^/]*\/s/.test(document.querySelector(".graph").textContent));
  await page.waitForFunction(() => /busy \d+ %/.test(document.querySelector(".graph").textContent));
  assert.match(await boxes.first().getAttribute("aria-label"), /^Task 0: .+subtasks run/);
  await page.getByRole("table", { name: "Splits" }).waitFor();
  await accessible("overview");
  await page.waitForTimeout(4000);
  await shot("job");
  await page.emulateMedia({ colorScheme: "dark" });
  await shot("job-dark");
  await page.emulateMedia({ colorScheme: "light" });
  // Another task by the keyboard; what has the focus keeps it when the page is drawn again.
  await boxes.nth(1).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Subtasks of task 1" }).waitFor();
  await page.waitForTimeout(2500);
  assert.equal(await page.evaluate(() => document.activeElement.closest(".graph") !== null), true);
});

await step("checkpoints have a timeline", async () => {
  await page.getByRole("link", { name: "Checkpoints" }).click();
  await page.getByRole("img", { name: /Timeline of \d+ checkpoints/ }).waitFor();
  await page.getByRole("table", { name: "Checkpoints" }).waitFor();
  await accessible("checkpoints");
  await shot("checkpoints");
});

await step("events and configuration are shown, secrets masked", async () => {
  await page.getByRole("navigation", { name: "Of the job" }).getByRole("link", { name: "Events" }).click();
  await visible("CREATED -> DEPLOYING");
  await accessible("events");
  await page.getByRole("navigation", { name: "Of the job" }).getByRole("link", { name: "Configuration" }).click();
  await visible("execution.checkpointing.interval");
  await visible("******");
  await accessible("configuration of the job");
});

await step("what has failed is shown with its cause", async () => {
  await go(`jobs/${failed}/exceptions`);
  await visible("FAILED");
  const causes = await page.getByRole("table", { name: "Exceptions" }).innerText();
  assert.match(causes, /divi|zero|cast|overflow/i);
  assert((await page.getByRole("table", { name: "Attempts" }).locator("tbody tr").count()) >= 2, "it has started again");
  await accessible("exceptions");
});

await step("task managers have their memory by consumer", async () => {
  await page.getByRole("link", { name: "Task managers" }).click();
  const memory = page.getByRole("table", { name: "Memory by consumer" });
  await memory.waitFor();
  assert.match(await memory.innerText(), /\d+(\.\d)? MB of \d/);
  await accessible("task managers");
  await shot("taskmanagers");
});

await step("the configuration is filtered", async () => {
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Configuration" }).click();
  await page.getByLabel("Filter").fill("secret");
  await page.waitForFunction(() => document.querySelectorAll("main tbody tr").length === 1);
  await visible("******");
  await accessible("configuration");
});

await step("a script is explained, and its error is told", async () => {
  await page.getByRole("link", { name: "SQL" }).click();
  await page.getByLabel("Script").fill("SELECT nope FROM\n  nowhere;");
  await page.getByRole("button", { name: "Explain" }).click();
  await page.getByRole("alert").filter({ hasText: "nowhere" }).waitFor();
  await page.getByLabel("Script").fill(`CREATE TABLE numbers (n BIGINT, d DOUBLE) WITH (
  'connector' = 'datagen', 'rows-per-second' = '40',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000'
);

SELECT n, d * 2 AS twice, n % 3 = 0 AS third FROM numbers;`);
  await page.getByRole("button", { name: "Explain" }).click();
  await visible("Calc(");
  await accessible("explain");
});

await step("rows come while a SELECT runs, which ends with its preview", async () => {
  await page.getByLabel("Script").focus();
  await page.keyboard.press("Control+Enter");
  const rows = page.getByRole("table", { name: "Rows" }).locator("tbody tr");
  await rows.nth(30).waitFor();
  await accessible("preview");
  await shot("sql");
  await page.getByRole("button", { name: "Stop preview" }).click();
  await visible("CANCELED:");
});

await step("a script is submitted", async () => {
  await page.getByLabel("Script").fill(`SET 'pipeline.name' = 'from the page';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');
CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT n FROM numbers;`);
  await page.getByRole("button", { name: "Submit…" }).click();
  await accessible("a dialog");
  await page.getByRole("dialog").getByRole("button", { name: "Submit" }).click();
  await page.getByRole("link", { name: "from the page" }).click();
  await visible("FINISHED");
});

await step("a job is rescaled and stopped with a savepoint", async () => {
  await go(`jobs/${running}`);
  await page.getByRole("button", { name: "Rescale" }).click();
  await page.getByLabel("Parallelism").fill("99");
  await page.getByRole("dialog").getByRole("button", { name: "Rescale" }).click();
  await page.getByRole("alert").filter({ hasText: "needs 99 slots" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Stop" }).click();
  await visible("FINISHED");
  await page.getByRole("navigation", { name: "Of the job" }).getByRole("link", { name: "Checkpoints" }).click();
  await visible("savepoint, stop");
});

await step("the API is described", async () => {
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "API" }).click();
  await page.getByText("/api/v1/jobs/{job}/rescale").click();
  await visible("X-Tidemill-Request");
  await accessible("API");
});

await step("the page has asked nobody else, and nothing went wrong", () => {
  assert.deepEqual(elsewhere, []);
  assert.deepEqual(wrong, []);
});

await browser.close();
console.log("page: all steps");
