// The tables: upstreams, statements, sessions, refusals, the cache.

import { age, by, bytes, count, many, number, percent, table, time, words } from "/page/draw.js";
import { change, confirmed } from "/page/ask.js";

const STANDINGS = { primary: "good", serving: "good", proving: "warn", doubted: "warn", lag_bytes: "warn", lag_ms: "warn" };

// The most sessions and statements shown.
const SESSIONS_MAX = 100;
export const STATEMENTS_MAX = 15;
const REFUSALS_MAX = 15;

export function showUpstreams(upstreams, poolSize) {
  table("upstreams", [
    ["Upstream", "", (row) => row.upstream],
    ["Standing", "", (row) => ({ text: words(row.standing), tone: STANDINGS[row.standing] || "bad" })],
    ["Lag", "number", (row) => (row.lag_bytes === null ? "–" : `${age(row.lag_ms)}, ${bytes(row.lag_bytes)}`)],
    ["Pool", "", (row) => words(row.access)],
    ["In use", "part", (row) => ({ text: row.acquires - row.releases, of: poolSize })],
    ["Open", "number", (row) => row.open],
    ["Idle", "number", (row) => row.idle],
    ["Acquired", "number", (row) => number(row.acquires)],
    ["Made", "number", (row) => number(row.connects)],
    ["Closed", "number", (row) => number(row.closes)],
    ["Position", "", (row) => row.lsn],
  ], upstreams, "none", (row) => `${row.upstream} ${row.access}`);
}

export function showStatements({ statements, others, is_on: isOn }) {
  const lines = others.calls ? [...statements, { ...others, fingerprint: "others", statement: "all others" }] : statements;
  table("statements", [
    ["Statement", "text", (row) => row.statement],
    ["Calls", "number", (row) => number(row.calls)],
    ["Total", "number", (row) => time(row.time.sum_us)],
    ["50 %", "number", (row) => (row.time.count ? time(row.time.p50_us) : "–")],
    ["99 %", "number", (row) => (row.time.count ? time(row.time.p99_us) : "–")],
    ["Hits", "number", (row) => percent(row.calls ? row.cache_hits / row.calls : null)],
    ["Rows", "number", (row) => number(row.rows)],
    ["Sent", "number", (row) => bytes(row.bytes)],
    ["Errors", "number", (row) => ({ text: number(row.errors), tone: row.errors ? "bad" : "" })],
    ["By", "", (row) => callers(row)],
  ], lines, isOn ? "none so far" : "switched off: STATEMENTS_MAX is 0", (row) => row.fingerprint);
}

function callers(row) {
  const names = [...new Set(row.by.map((one) => one.application_name || one.user))];
  return names.slice(0, 2).join(", ") + (names.length > 2 ? " and others" : "") || "–";
}

export function showSessions(sessions, pins, refresh) {
  const kept = new Map(pins.map((pin) => [pin.pid, pin]));
  const order = { active: 0, waiting: 1, idle: 2 };
  const sorted = [...sessions].sort((a, b) => order[a.state] - order[b.state] || kept.has(b.id) - kept.has(a.id) || a.id - b.id);
  table("sessions", [
    ["Session", "number", (row) => row.id],
    ["User", "", (row) => row.user],
    ["Application", "", (row) => row.application_name || "–"],
    ["From", "", (row) => (row.addr ? `${row.addr}:${row.port}` : "–")],
    ["State", "", (row) => ({ text: row.state, tone: { active: "good", waiting: "warn" }[row.state] })],
    ["Keeps its connection for", "text", (row) => { const pin = kept.get(row.id); return pin ? `${words(pin.reason)}: ${pin.statement}` : "–"; }],
    ["", "act", (row) => (row.state === "idle" ? null : { text: "Cancel statement", name: `Cancel the statement of session ${row.id}`, act: () => onCancel(row, refresh) })],
  ], sorted.slice(0, SESSIONS_MAX), "none", (row) => row.id);
  const more = sorted.length - SESSIONS_MAX;
  by("sessions-more").textContent = more > 0 ? `and ${many(more, "more", "more")}` : "";
}

async function onCancel(row, refresh) {
  const name = row.application_name ? `${row.user} (${row.application_name})` : row.user;
  if (await confirmed(`Cancel the statement that session ${row.id} of ${name} runs now? Its client is told so (57014).`, "Cancel it")) {
    await change(`/sessions/${row.id}/cancel`, () => `The statement of session ${row.id} was cancelled.`);
    refresh();
  }
}

export function showRefusals({ recent }) {
  // The same one to the same is told once: the newest comes first.
  const alike = new Map();
  for (const one of recent) {
    const about = JSON.stringify([one.user, one.application_name, one.reason, one.message]);
    const known = alike.get(about) ?? { ...one, about, times: 0 };
    known.times += 1;
    alike.set(about, known);
  }
  const now = Date.now();
  table("refusals", [
    ["Last", "number", (row) => `${age(now - row.at_ms)} ago`],
    ["Times", "number", (row) => count(row.times)],
    ["User", "", (row) => row.user],
    ["Application", "", (row) => row.application_name || "–"],
    ["Why", "", (row) => words(row.reason)],
    ["Told", "text", (row) => row.message || "–"],
  ], [...alike.values()].slice(0, REFUSALS_MAX), "none so far", (row) => row.about);
  by("refusals-more").textContent = recent.length ? `Of the last ${many(recent.length, "refusal")}.` : "";
}

export function showCache(cache) {
  const bypasses = Object.entries(cache.bypasses).filter(([, times]) => times).sort((a, b) => b[1] - a[1]);
  table("cache", [
    ["", "", ([name]) => name],
    ["", "number", ([, value]) => value],
  ], [["replies held", count(cache.entries)], ["memory", bytes(cache.bytes)], ["hits", count(cache.hits)], ["misses", count(cache.misses)],
    ...bypasses.map(([name, times]) => [`past it: ${words(name)}`, count(times)])], "", ([name]) => name);
}
