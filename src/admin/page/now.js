// What goes on now: the differences between one look and the next, and their way over the last two minutes.

import { KEPT, age, bytes, count, many, number, percent, tile, time } from "/page/draw.js";

// What is told of as "of late" is between now and this many looks ago.
const LATE = 15;
const looks = [];
const lines = { transactions: [], hits: [], slow: [], own: [], busy: [], sessions: [], refusals: [], errors: [], lag: [], denials: [] };

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

// The time that so large a part of those between two looks did not pass, in microseconds.
function quantile(after, before, part) {
  const earlier = new Map(before.places);
  const places = after.places.map(([bound, all]) => [bound, all - (earlier.get(bound) ?? 0)]);
  const all = places.reduce((sum, [, one]) => sum + one, 0);
  if (all <= 0) return null;
  let seen = 0;
  return places.find(([, one]) => { seen += one; return seen >= part * all; })[0];
}

function push(name, value) {
  lines[name].push(value);
  if (lines[name].length > KEPT) lines[name].shift();
}

export function showNow({ stats, cache, upstreams, sessions, rules }) {
  // What is told by itself is not told twice, and a client that leaves is no fault.
  const { refused, client_lost: left, denied_by_rule: denied, limited_by_rule: limited } = stats.errors;
  const own = sum(stats.errors) - refused - left - denied - limited;
  const now = {
    at: stats.uptime_ms, transactions: stats.totals.transactions, hits: cache.hits, misses: cache.misses,
    refusals: sum(stats.refusals), errors: sum(stats.upstream_errors) + own,
    denials: denied + limited, dryRuns: rules.reduce((all, rule) => all + rule.would_have, 0),
    upstream: stats.upstream_time, gateway: stats.gateway_time.upstream, wait: stats.wait_time,
  };
  // A gateway that was started anew counts from zero.
  if (looks.length && looks.at(-1).at >= now.at) looks.length = 0;
  const last = looks.at(-1) ?? now;
  looks.push(now);
  if (looks.length > LATE) looks.shift();
  const [first] = looks;

  const seconds = (now.at - last.at) / 1000;
  const rate = (name) => (seconds ? (now[name] - last[name]) / seconds : 0);
  const late = (name) => now[name] - first[name];
  const lateMinutes = (now.at - first.at) / 60000;
  const perMinute = (name) => (lateMinutes ? late(name) / lateMinutes : 0);
  // Before there is a difference to tell, what there was since the start.
  const spread = (name) => [0.5, 0.95, 0.99].map((part) => quantile(now[name], first[name], part)
    ?? (now[name].count ? now[name][`p${100 * part}_us`] : null));
  const asked = late("hits") + late("misses");
  const ratio = asked ? late("hits") / asked : null;
  const held = upstreams.reduce((all, one) => all + one.acquires - one.releases, 0);
  const waiting = sessions.filter((one) => one.state === "waiting").length;
  const active = sessions.filter((one) => one.state === "active").length;
  const replicas = upstreams.filter((one) => one.access === "read_only" && one.lag_ms !== null);
  const lagMs = Math.max(0, ...replicas.map((one) => one.lag_ms));
  const [median, slow, slowest] = spread("upstream");
  const [ownMedian, , ownSlowest] = spread("gateway");
  const waits = now.wait.count - first.wait.count;
  const everWaited = now.wait.count ? `${count(now.wait.count)} in all` : "none so far";

  if (seconds) {
    push("transactions", rate("transactions"));
    push("hits", ratio ?? lines.hits.at(-1) ?? 0);
    push("slow", slowest ?? 0);
    push("own", ownSlowest ?? 0);
    push("busy", held);
    push("sessions", active + waiting);
    push("refusals", rate("refusals"));
    push("errors", rate("errors"));
    push("denials", rate("denials"));
    push("lag", lagMs);
  }
  tile("Transactions a second", number(rate("transactions")), { more: `${number(now.transactions)} in all`, values: lines.transactions });
  tile("Median time upstream", time(median), { more: `95 %: ${time(slow)}, 99 %: ${time(slowest)}`, values: lines.slow });
  tile("Median added by pgsluice", time(ownMedian), { more: `99 %: ${time(ownSlowest)}`, values: lines.own });
  tile("Cache hits", percent(ratio ?? (cache.hits + cache.misses ? cache.hit_ratio : null)), {
    more: cache.is_on ? `${ratio === null ? "since the start" : "of late"}, ${bytes(cache.bytes)}` : "switched off", values: lines.hits,
  });
  tile("Connections in use", number(held), {
    more: waits ? `waits, 95 %: ${time(quantile(now.wait, first.wait, 0.95))}` : `waits: ${everWaited}`,
    values: lines.busy, tone: waiting ? "warn" : "",
  });
  tile("Sessions", number(sessions.length), {
    more: `${active} active, ${waiting} waiting`, values: lines.sessions, tone: waiting ? "warn" : "",
  });
  tile("Refusals a minute", number(perMinute("refusals")), { more: `${number(now.refusals)} in all`, values: lines.refusals });
  tile("Denied by rules a minute", number(perMinute("denials")), {
    more: late("dryRuns") ? `dry runs: ${number(perMinute("dryRuns"))} a minute` : `${number(now.denials)} in all`, values: lines.denials,
  });
  tile("Errors a minute", number(perMinute("errors")), { more: `${number(now.errors)} in all`, values: lines.errors, tone: perMinute("errors") >= 1 ? "warn" : "" });
  tile("Replicas' lag", replicas.length ? age(lagMs) : "–", {
    more: replicas.length ? many(replicas.length, "replica") : "no replica", values: lines.lag, tone: lagMs > 5000 ? "warn" : "",
  });
}
