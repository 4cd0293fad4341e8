"use strict";

// What is shown comes from the JSON that programs are told; texts are set as text, never as HTML.

const EVERY_MS = 2000;
const KEPT = 60;
const by = (id) => document.getElementById(id);
const history = { transactions: [], hits: [], refusals: [] };
let before = null;
let isAsking = false;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function number(value) {
  return value >= 10000 ? Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value)
    : Intl.NumberFormat("en", { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

function time(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${number(us / 1000)} ms`;
  return `${number(us / 1e6)} s`;
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return `${number(value)} ${units[at]}`;
}

function percent(ratio) {
  return ratio === null ? "–" : `${(100 * ratio).toFixed(1)} %`;
}

function age(ms) {
  const minutes = Math.floor(ms / 60000);
  if (minutes < 1) return `${Math.max(0, Math.round(ms / 1000))} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d`;
}

async function ask(path, method = "GET") {
  const headers = { "X-Pgsluice-Admin": "1" };
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  const reply = await fetch(path, { method, headers, cache: "no-store" });
  if (reply.status === 401) {
    sessionStorage.removeItem("token");
    throw Object.assign(new Error("a token is needed"), { isDenied: true });
  }
  const told = await reply.json();
  // What is not ready says so with another status, and is an answer all the same.
  if (!reply.ok && !told.status) throw new Error(told.error || reply.statusText);
  return told;
}

function confirmed(question, words) {
  const dialog = by("ask");
  by("question").textContent = question;
  by("yes").textContent = words;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function login() {
  const dialog = by("login");
  by("token").value = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const token = by("token").value.trim();
  if (token) sessionStorage.setItem("token", token);
}

let hiding = 0;
function tell(words) {
  const told = by("told");
  told.textContent = words;
  told.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { told.hidden = true; }, 5000);
}

async function change(path, done) {
  try {
    tell(done(await ask(path, "POST")));
  } catch (error) {
    tell(`It was not done: ${error.message}`);
  }
  refresh();
}

function line(values) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const drawn = document.createElementNS(space, "polyline");
  const largest = Math.max(...values, 1e-9);
  const points = values.map((value, at) => `${(at * 100) / (KEPT - 1)},${29 - (27 * value) / largest}`);
  drawn.setAttribute("points", points.join(" "));
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(drawn);
  return svg;
}

function tile(name, value, more, values) {
  const made = element("div", { className: "tile" },
    element("div", { className: "name", textContent: name }),
    element("div", { className: "value", textContent: value }),
    element("div", { className: "more", textContent: more || "" }));
  if (values) made.append(line(values));
  return made;
}

// Columns are a heading, a class, and what a row's cell is: text, or an element.
function table(id, columns, rows, none) {
  const head = element("tr", {}, ...columns.map(([name, kind]) => element("th", { textContent: name, className: kind, scope: "col" })));
  const body = rows.map((row) => element("tr", {}, ...columns.map(([, kind, cell]) => {
    const made = element("td", { className: kind });
    const value = cell(row, made);
    made.append(value instanceof Node ? value : String(value ?? "–"));
    return made;
  })));
  if (!rows.length) body.push(element("tr", {}, element("td", { className: "none", colSpan: columns.length, textContent: none })));
  const named = columns.some(([name]) => name);
  by(id).replaceChildren(...(named ? [element("thead", {}, head)] : []), element("tbody", {}, ...body));
}

function push(values, value) {
  values.push(value);
  if (values.length > KEPT) values.shift();
}

function sum(counts) {
  return Object.values(counts).reduce((all, count) => all + count, 0);
}

function showNow(stats, cache, pools, upstreams) {
  const now = { at: stats.uptime_ms, transactions: stats.totals.transactions, hits: cache.hits, misses: cache.misses, refusals: sum(stats.refusals) };
  const seconds = before && now.at > before.at ? (now.at - before.at) / 1000 : null;
  const rate = (name) => (seconds ? (now[name] - before[name]) / seconds : 0);
  const asked = before ? now.hits + now.misses - before.hits - before.misses : 0;
  const ratio = asked ? (now.hits - before.hits) / asked : null;
  if (seconds) {
    push(history.transactions, rate("transactions"));
    push(history.hits, ratio ?? history.hits.at(-1) ?? 0);
    push(history.refusals, rate("refusals") * 60);
  }
  const shown = seconds ? { rate, ratio } : { rate: () => 0, ratio };
  before = now;
  const pool = pools.pools[0];
  const open = upstreams.upstreams.reduce((all, one) => all + one.open, 0);
  const { upstream_time: upstream, wait_time: wait, gateway_time: gateway } = stats;
  const tps = history.transactions.at(-1) ?? 0;
  by("tiles").replaceChildren(
    tile("Transactions a second", number(tps), `${number(stats.totals.transactions)} in all`, history.transactions),
    tile("Cache hits", percent(shown.ratio ?? (cache.hits + cache.misses ? cache.hit_ratio : null)), shown.ratio === null ? "since the start" : "of reads that asked", history.hits),
    tile("Refusals a minute", number(history.refusals.at(-1) ?? 0), `${number(now.refusals)} in all`, history.refusals),
    tile("Time upstream", time(upstream.p50_us), `95 %: ${time(upstream.p95_us)}, 99 %: ${time(upstream.p99_us)}`),
    tile("Added by pgsluice", time(gateway.upstream.p50_us), `99 %: ${time(gateway.upstream.p99_us)}`),
    tile("Waits for a connection", number(wait.count), wait.count ? `95 %: ${time(wait.p95_us)}` : "none so far"),
    tile("Sessions", number(pool.cl_active + pool.cl_waiting), `${pool.cl_waiting} waiting, at most ${number(stats.sessions_max)}`),
    tile("Connections in use", `${pool.sv_active} of ${open}`, pool.sv_login ? `${pool.sv_login} signing in` : `${pool.sv_idle} idle`),
  );
}

const standings = { primary: "good", serving: "good", proving: "warn", doubted: "warn", lag_bytes: "warn", lag_ms: "warn" };

function showTables(upstreams, statements, sessions, pins, refusals, cache) {
  table("upstreams", [
    ["Upstream", "", (row) => row.upstream],
    ["Access", "", (row) => row.access.replace("_", " ")],
    ["Standing", "", (row, cell) => { cell.className = standings[row.standing] || "bad"; return row.standing; }],
    ["Lag", "number", (row) => (row.lag_bytes === null ? "–" : `${bytes(row.lag_bytes)}, ${time(row.lag_ms * 1000)}`)],
    ["Open", "number", (row) => row.open],
    ["Idle", "number", (row) => row.idle],
    ["Taken", "number", (row) => number(row.acquires)],
    ["In use", "number", (row) => row.acquires - row.releases],
    ["Position", "", (row) => row.lsn],
    ["Timeline", "number", (row) => row.timeline],
  ], upstreams.upstreams, "none");

  const lines = statements.others.calls ? [...statements.statements, { ...statements.others, isOthers: true }] : statements.statements;
  table("statements", [
    ["Statement", "text", (row) => (row.isOthers ? "all others" : row.statement)],
    ["Calls", "number", (row) => number(row.calls)],
    ["Hits", "number", (row) => percent(row.calls ? row.cache_hits / row.calls : null)],
    ["Total", "number", (row) => time(row.time.sum_us)],
    ["50 %", "number", (row) => time(row.time.p50_us)],
    ["99 %", "number", (row) => time(row.time.p99_us)],
    ["Rows", "number", (row) => number(row.rows)],
    ["Sent", "number", (row) => bytes(row.bytes)],
    ["Errors", "number", (row, cell) => { if (row.errors) cell.classList.add("bad"); return number(row.errors); }],
    ["By", "", (row) => row.by.map((one) => one.application_name || one.user).filter((name, at, all) => all.indexOf(name) === at).slice(0, 3).join(", ")],
  ], lines, statements.is_on ? "none so far" : "switched off: STATEMENTS_MAX is 0");

  const reasons = new Map(pins.pins.map((pin) => [pin.pid, pin]));
  const order = { active: 0, waiting: 1, idle: 2 };
  const sorted = [...sessions.sessions].sort((a, b) => order[a.state] - order[b.state] || a.id - b.id);
  table("sessions", [
    ["Number", "number", (row) => row.id],
    ["User", "", (row) => row.user],
    ["Application", "", (row) => row.application_name],
    ["From", "", (row) => (row.addr ? `${row.addr}:${row.port}` : "–")],
    ["State", "", (row, cell) => { cell.className = { active: "good", waiting: "warn" }[row.state] || ""; return row.state; }],
    ["Keeps its connection for", "text", (row) => { const pin = reasons.get(row.id); return pin ? `${pin.reason}: ${pin.statement}` : "–"; }],
    ["", "", (row) => {
      if (row.state === "idle") return "";
      const button = element("button", { type: "button", textContent: "Cancel", ariaLabel: `Cancel what session ${row.id} runs` });
      button.addEventListener("click", () => onCancel(row));
      return button;
    }],
  ], sorted.slice(0, 200), "none");

  const now = Date.now();
  table("refusals", [
    ["Ago", "", (row) => age(now - row.at_ms)],
    ["User", "", (row) => row.user],
    ["Application", "", (row) => row.application_name || "–"],
    ["Why", "", (row) => row.reason],
    ["Told", "text", (row) => row.message || "–"],
  ], refusals.recent.slice(0, 20), "none so far");

  const bypasses = Object.entries(cache.bypasses).filter(([, count]) => count).sort((a, b) => b[1] - a[1]);
  table("cache", [
    ["", "", ([name]) => name],
    ["", "number", ([, value]) => value],
  ], [["replies held", number(cache.entries)], ["memory", bytes(cache.bytes)], ["hits", number(cache.hits)], ["misses", number(cache.misses)],
    ...bypasses.map(([name, count]) => [`past it: ${name}`, number(count)])], "");
}

async function onCancel(row) {
  const name = row.application_name ? `${row.user} (${row.application_name})` : row.user;
  if (await confirmed(`Cancel what session ${row.id} of ${name} runs now?`, "Cancel it")) {
    await change(`/sessions/${row.id}/cancel`, () => `Session ${row.id} was cancelled.`);
  }
}

by("reset").addEventListener("click", async () => {
  if (await confirmed("Drop every reply that the cache keeps? Reads then go to the upstreams until it has filled again.", "Drop them")) {
    await change("/cache/reset", (told) => `${number(told.dropped)} replies dropped.`);
  }
});
by("sort").addEventListener("change", refresh);

function showState(words, kind) {
  const state = by("state");
  state.textContent = words;
  state.className = `pill ${kind}`;
}

async function refresh() {
  if (isAsking) return;
  isAsking = true;
  try {
    const paths = ["/readyz", "/stats", "/cache", "/pools", "/upstreams", `/statements?limit=20&sort=${by("sort").value}`, "/sessions", "/pins", "/refusals"];
    const [ready, stats, cache, pools, upstreams, statements, sessions, pins, refusals] = await Promise.all(paths.map((path) => ask(path)));
    showState(ready.status === "ready" ? "ready" : ready.reason, ready.status === "ready" ? "good" : "bad");
    by("about").textContent = `${stats.version} · database ${stats.database} · up ${age(stats.uptime_ms)}`;
    by("alarms").replaceChildren(...stats.alarms.map((words) => element("li", { textContent: words })));
    showNow(stats, cache, pools, upstreams);
    showTables(upstreams, statements, sessions, pins, refusals, cache);
  } catch (error) {
    showState(error.isDenied ? "a token is needed" : "no answer", "bad");
    if (error.isDenied) await login();
  } finally {
    isAsking = false;
  }
}

refresh();
setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
