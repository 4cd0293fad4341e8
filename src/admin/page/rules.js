// Rules: what has come of each, whom they met, and new ones: checked, simulated, loaded.

import { age, by, count, element, many, table, words } from "/page/draw.js";
import { ask, askText, confirmed, tell } from "/page/ask.js";
import { changedLines } from "/page/diff.js";

const SOURCES = { none: "There are none.", file: "From RULES_FILE", http: "Loaded over HTTP, until a restart or SIGHUP" };
const LINES_MAX = 50;

// The text in force when the editor was filled; `null` while it is not known.
let inForce = null;

export function showRules({ source, loaded_at_ms: loadedAt, default_action: otherwise, rules }) {
  const ago = loadedAt ? `, ${age(Date.now() - loadedAt)} ago` : "";
  const about = source === "none" ? SOURCES.none : `${SOURCES[source] ?? source}${ago}. What no rule decides on: ${otherwise}.`;
  if (by("rules-about").textContent !== about) by("rules-about").textContent = about;
  const now = Date.now();
  table("rules-table", [
    ["Rule", "wrap", (row) => row.name],
    ["Does", "", (row) => words(row.action)],
    ["Mode", "", (row) => (row.observe_only ? { text: "dry run", tone: "warn" } : { text: "enforced", tone: "good" })],
    ["Matched", "number", (row) => count(row.matched)],
    ["Enforced", "number", (row) => count(row.enforced)],
    ["Would have", "number", (row) => ({ text: count(row.would_have), tone: row.would_have ? "warn" : "" })],
    ["Last seen", "number", (row) => (row.last_seen_ms ? `${age(now - row.last_seen_ms)} ago` : "never")],
    ["Priority", "number", (row) => row.priority],
  ], rules, "no rules: every statement that may run runs", (row) => row.name);
}

async function showReport() {
  const told = await ask("/rules/report");
  const now = Date.now();
  table("report-table", [
    ["Rule", "wrap", (row) => row.rule],
    ["Outcome", "", (row) => ({ text: words(row.outcome), tone: row.outcome === "would_have" ? "warn" : "good" })],
    ["Statement", "text", (row) => row.statement],
    ["User", "", (row) => row.user],
    ["Application", "", (row) => row.application_name || "–"],
    ["Tag", "wrap", (row) => row.tag || "–"],
    ["Count", "number", (row) => count(row.count)],
    ["First", "number", (row) => `${age(now - row.first_seen_ms)} ago`],
    ["Last", "number", (row) => `${age(now - row.last_seen_ms)} ago`],
  ], [...told.lines].sort((a, b) => b.count - a.count).slice(0, LINES_MAX), "nothing so far");
  const rest = Math.max(0, told.lines.length - LINES_MAX);
  by("report-about").textContent = [`Since ${new Date(told.since_ms).toLocaleString()}.`,
    rest ? `${many(rest, "more line")} in the file.` : "",
    told.others ? `${many(told.others, "statement")} beyond what is kept apart.` : ""].join(" ").trim();
}

async function saveReport() {
  const text = await askText("/rules/report?format=csv");
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href: address, download: "pgsluice-rules.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

const editor = () => by("rules-text");

async function fillEditor() {
  inForce = await askText("/rules/text");
  editor().value = inForce;
  editor().readOnly = false;
  showProblems([]);
  showOutcome("");
}

// Numbers of lines beside the text, those with a problem marked.
function showLines(wrong = new Set()) {
  const gutter = by("gutter");
  const lines = editor().value.split("\n").length;
  gutter.replaceChildren(...Array.from({ length: lines }, (_, at) => element("span", { textContent: `${at + 1}\n`, className: wrong.has(at + 1) ? "wrong" : "" })));
  gutter.scrollTop = editor().scrollTop;
}

function showProblems(problems) {
  showLines(new Set(problems.map((problem) => problem.line)));
  editor().ariaInvalid = `${problems.length > 0}`;
}

function showOutcome(words, ...more) {
  by("outcome").replaceChildren(...(words ? [element("p", { textContent: words })] : []), ...more);
  by("differences-box").hidden = true;
}

function showLine(line) {
  const text = editor();
  const high = parseFloat(getComputedStyle(text).lineHeight);
  const at = (line - 1) * high;
  if (at < text.scrollTop || at > text.scrollTop + text.clientHeight - 2 * high) text.scrollTop = at - 4 * high;
}

function goToLine(line) {
  const text = editor();
  const before = text.value.split("\n").slice(0, line - 1);
  const at = before.join("\n").length + (line > 1 ? 1 : 0);
  const end = text.value.indexOf("\n", at);
  text.focus();
  text.setSelectionRange(at, end < 0 ? text.value.length : end);
  showLine(line);
}

// What is wrong with the text, each problem leading to its line.
function showWrong(error) {
  const problems = error.problems ?? [];
  showProblems(problems);
  const lines = problems.map(({ line, rule, message }) => {
    const place = [line ? `line ${line}` : "", rule ? `rule ${rule}` : ""].filter(Boolean).join(", ");
    const item = element("li");
    if (line) {
      const go = element("button", { type: "button", className: "link", textContent: place });
      go.addEventListener("click", () => goToLine(line));
      item.append(go, `: ${message}`);
    } else {
      item.append(place ? `${place}: ${message}` : message);
    }
    return item;
  });
  showOutcome(problems.length ? `Not usable: ${error.message}` : `It was not done: ${error.message}`, element("ul", { className: "problems" }, ...lines));
  by("outcome").firstElementChild.className = "bad";
  const first = problems.find((problem) => problem.line)?.line;
  if (first) showLine(first);
}

// What simulations cannot tell for certain.
const UNSURE = {
  query_regex: "hinge on a query_regex, which sees no constants here",
  incomplete: "are not whole in the journal",
  close: "are too close to a limit to be sure of",
  limits: "met a rate or a number, taken to come evenly in each minute",
};

function inWords({ statements, totals, from_ms: from, unsure = {}, dropped = 0 }) {
  const since = `Of ${many(statements, "statement")} since ${new Date(from).toLocaleString()}`;
  const changes = Object.entries(totals).filter(([, times]) => times).map(([change, times]) => `${count(times)} ${words(change)}`);
  const doubts = Object.entries(unsure).filter(([, times]) => times).map(([why, times]) => `${count(times)} ${UNSURE[why] ?? words(why)}`);
  if (dropped) doubts.push(`${count(dropped)} more are not in the journal for want of room`);
  return `${since} ${changes.length ? `newly ${changes.join(", ")}` : "none would fare otherwise"}.${doubts.length ? ` Not certain: ${doubts.join("; ")}.` : ""}`;
}

function showDifferences({ differences }) {
  by("differences-box").hidden = !differences.length;
  table("differences", [
    ["Change", "", (row) => ({ text: words(row.change), tone: "warn" })],
    ["Rule", "wrap", (row) => row.rule ?? "–"],
    ["User", "", (row) => row.user],
    ["Application", "", (row) => row.application_name || "–"],
    ["Count", "number", (row) => count(row.count)],
    ["First", "", (row) => new Date(row.first.at_ms).toLocaleString()],
    ["Statement", "text", (row) => row.first.statement],
  ], differences, "none");
}

const simulated = () => ask(`/rules?simulate=${by("simulated").value}`, { method: "POST", body: editor().value });

async function onSimulate() {
  showOutcome("Simulating …");
  try {
    const told = await simulated();
    showProblems([]);
    showOutcome(`The rules are usable. ${inWords(told)}`);
    showDifferences(told);
  } catch (error) {
    showWrong(error);
  }
}

// What the person is told before the rules change: the lines that do, and whom that would have met.
function lookAhead(forecast) {
  const { added, removed, shown } = changedLines(inForce, editor().value);
  const lines = shown.map(({ sign, text }) => element("span", { className: { "+": "added", "-": "removed" }[sign] ?? "", textContent: `${sign} ${text}\n` }));
  return element("div", {},
    element("p", { textContent: forecast }),
    element("p", { textContent: added + removed ? `${many(added, "line")} added, ${many(removed, "line")} removed:` : "The text is the one in force." }),
    element("pre", { className: "changes", tabIndex: 0 }, ...lines));
}

async function onLoad(refresh) {
  showOutcome("Checking …");
  let forecast;
  try {
    inForce = await askText("/rules/text");
    forecast = inWords(await simulated());
  } catch (error) {
    if (error.problems) return showWrong(error);
    forecast = `What they would have done is not known: ${error.message}.`;
  }
  showProblems([]);
  showOutcome("");
  if (!await confirmed("Load these rules? They are in force at once.", "Load them", lookAhead(forecast))) return;
  try {
    const told = await ask("/rules", { method: "POST", body: editor().value });
    inForce = editor().value;
    const parts = ["added", "removed", "changed"].filter((part) => told[part].length).map((part) => `${part}: ${told[part].join(", ")}`);
    showOutcome(`Loaded: ${many(told.rules, "rule")}${parts.length ? `; ${parts.join("; ")}` : ", as before"}. They last ${told.lasts}.`);
    tell(`${many(told.rules, "rule")} in force.`);
  } catch (error) {
    showWrong(error);
  }
  refresh();
}

// Does what a button is for, once at a time, and says what went wrong.
function onClick(id, act) {
  by(id).addEventListener("click", async () => {
    by(id).disabled = true;
    try {
      await act();
    } catch (error) {
      tell(`It was not done: ${error.message}`);
    } finally {
      by(id).disabled = false;
    }
  });
}

export function watchRules(refresh) {
  onClick("simulate", onSimulate);
  onClick("load", () => onLoad(refresh));
  onClick("revert", fillEditor);
  onClick("report-csv", saveReport);
  const onOpen = (id, act) => by(id).addEventListener("toggle", () => {
    if (by(id).open) act().catch((error) => tell(`It cannot be shown: ${error.message}`));
  });
  onOpen("report", showReport);
  onOpen("editor", async () => { if (inForce === null) await fillEditor(); });
  editor().addEventListener("input", () => showProblems([]));
  editor().addEventListener("scroll", () => { by("gutter").scrollTop = editor().scrollTop; });
}
