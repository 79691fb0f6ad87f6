// Requests to the API of the server that this page is from.

const BASE = "/api/v1";
const TIMEOUT_MS = 15000;

/** Why a request failed: `message` is for people. */
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

async function request(path, init, timeout = TIMEOUT_MS) {
  const limit = timeout ? AbortSignal.timeout(timeout) : undefined;
  let response;
  try {
    response = await fetch(BASE + path, { signal: limit, ...init });
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw new Refusal("unreachable", error.name === "TimeoutError"
      ? "The job manager did not answer in time." : "The job manager cannot be reached.");
  }
  if (response.ok) return response;
  let told;
  try {
    told = (await response.json()).error;
  } catch {
    // Something between here and there has answered.
  }
  throw new Refusal(told?.code ?? "unknown", told?.message ?? `The answer was ${response.status}.`);
}

export async function get(path) {
  return (await request(path)).json();
}

function changing(body) {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Tidemill-Request": "1" },
    body: JSON.stringify(body),
  };
}

/** Savepoints and submissions take as long as they take: the server has its own time-out. */
export async function post(path, body = {}) {
  return (await request(path, changing(body), 0)).json();
}

/** Calls `take` with each line of the answer, until `signal` ends it. */
export async function lines(path, body, signal, take) {
  const response = await request(path, { ...changing(body), signal }, 0);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) take(JSON.parse(part));
  }
}

export const job = (id) => `/jobs/${encodeURIComponent(id)}`;
