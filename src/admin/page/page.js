// The page: looks at the gateway every two seconds, while somebody looks at the page.

import { age, by, element, many } from "/page/draw.js";
import { ask, change, confirmed, login } from "/page/ask.js";
import { showNow } from "/page/now.js";
import { STATEMENTS_MAX, showCache, showRefusals, showSessions, showStatements, showUpstreams } from "/page/tables.js";
import { showRules, watchRules } from "/page/rules.js";

const EVERY_MS = 2000;
let asking = null;
let next = 0;
let poolSize = null;
let isLocked = false;
let seenAt = null;

function refresh() {
  asking ??= look().finally(() => {
    asking = null;
    clearTimeout(next);
    if (!isLocked) next = setTimeout(() => { if (!document.hidden) refresh(); }, EVERY_MS);
  });
  return asking;
}

async function look() {
  let told;
  try {
    told = await asked();
  } catch (error) {
    return error.isDenied ? onDenied(error.hadToken) : onGone(error);
  }
  seenAt = Date.now();
  show(told);
  showGone("");
}

async function asked() {
  const paths = ["/readyz", "/stats", "/cache", "/upstreams", `/statements?limit=${STATEMENTS_MAX}&sort=${by("sort").value}`, "/sessions", "/pins", "/refusals", "/rules"];
  poolSize ??= Number((await ask("/settings")).settings.find((setting) => setting.name === "POOL_SIZE").value);
  return Promise.all(paths.map((path) => ask(path)));
}

function show([ready, stats, cache, { upstreams }, statements, { sessions }, { pins }, refusals, rules]) {
  const isReady = ready.status === "ready";
  showState(isReady ? "ready" : "not ready", isReady ? "good" : "bad");
  by("about").textContent = `${stats.version} · database ${stats.database} · up ${age(stats.uptime_ms)}`;
  showList("alarms", isReady ? stats.alarms : [`Not ready: ${ready.reason}`, ...stats.alarms]);
  showNow({ stats, cache, upstreams, sessions, rules: rules.rules });
  showUpstreams(upstreams, poolSize);
  showRules(rules);
  showStatements(statements);
  showSessions(sessions, pins, refresh);
  showRefusals(refusals);
  showCache(cache);
}

// Texts that are read out when they change are left alone while they do not.
function showList(id, lines) {
  const shown = [...by(id).children].map((line) => line.textContent);
  if (shown.join("\n") !== lines.join("\n")) by(id).replaceChildren(...lines.map((line) => element("li", { textContent: line })));
}

function showState(words, kind) {
  const state = by("state");
  if (state.textContent !== words) state.textContent = words;
  state.className = `pill ${kind}`;
}

function showGone(words, isLockedOut = false) {
  by("gone").hidden = !words;
  if (by("gone-words").textContent !== words) by("gone-words").textContent = words;
  by("gone-login").hidden = !isLockedOut;
  document.querySelector("main").classList.toggle("old", Boolean(words));
}

function onGone(error) {
  showState("no answer", "bad");
  poolSize = null;
  const since = seenAt ? ` What is shown is of ${new Date(seenAt).toLocaleTimeString()}.` : "";
  const why = error instanceof TypeError || error.name === "TimeoutError" ? "" : ` It said: ${error.message}.`;
  showGone(`pgsluice does not answer.${why}${since} It is asked again every ${many(EVERY_MS / 1000, "second")}.`);
}

async function onDenied(isWrong) {
  isLocked = true;
  showState("locked", "warn");
  showGone("What goes on here is shown to who has the token.", true);
  if (await login(isWrong)) unlock();
}

function unlock() {
  isLocked = false;
  // Behind the look that is going on, which ends now.
  setTimeout(refresh);
}

by("gone-login").addEventListener("click", async () => { if (await login(false)) unlock(); });
by("reset").addEventListener("click", async () => {
  if (await confirmed("Drop every reply that the cache keeps? Reads then go to the upstreams until it has filled again.", "Drop them")) {
    await change("/cache/reset", (told) => `${many(told.dropped, "reply", "replies")} dropped.`);
    refresh();
  }
});
by("sort").addEventListener("change", refresh);
document.addEventListener("visibilitychange", () => { if (!document.hidden && !isLocked) refresh(); });
watchRules(refresh);
refresh();
