// Numbers, sizes and times as the command line writes them.

/** The end of event time, and what stands before its beginning. */
const END = 9.2e18;

export function number(value) {
  if (value === null || value === undefined) return "-";
  return Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}

export function rate(value) {
  if (value === null || value === undefined) return "-";
  return value > 0 && value < 10 ? value.toFixed(1) : number(value);
}

export function percent(share) {
  return share === null || share === undefined || Number.isNaN(share) ? "-" : `${Math.round(share * 100)} %`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "-";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "-";
  ms = Math.max(0, ms);
  if (ms < 1000) return ms === 0 || ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds / 60) % 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds / 3600) % 24)} h`;
}

/** In UTC, as everything that Tidemill writes. */
export function time(ms) {
  if (ms === null || ms === undefined) return "-";
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}

export function clock(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}

export function watermark(ms) {
  if (ms === null || ms === undefined || ms <= -END) return "-";
  if (ms >= END) return "end";
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString().slice(0, 19).replace("T", " ");
}

/** How far a watermark is behind the clock. */
export function behind(ms) {
  if (ms === null || ms === undefined || ms <= -END || ms >= END) return "-";
  return duration(Date.now() - ms);
}

export function short(text, most = 96) {
  return text.length <= most ? text : `${text.slice(0, most - 21)}…${text.slice(-20)}`;
}

/** How a state is coloured. */
export function tone(state) {
  if (["RUNNING", "FINISHED", "COMPLETED", "running"].includes(state)) return "good";
  if (["FAILED", "FAILING"].includes(state)) return "bad";
  if (["RESTARTING", "CREATED", "DEPLOYING", "CANCELING", "IN_PROGRESS", "waiting", "deployed"].includes(state)) return "warn";
  return "";
}
