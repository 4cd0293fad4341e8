// Values as people read them, and elements. Texts are set as text, never as HTML.

export const by = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function number(value) {
  return value >= 10000 ? Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value)
    : Intl.NumberFormat("en", { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

export const count = (value) => Intl.NumberFormat("en").format(value);

export function time(us) {
  if (us === null) return "–";
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${number(us / 1000)} ms`;
  if (us < 6e8) return `${number(us / 1e6)} s`;
  return age(us / 1000);
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return `${number(value)} ${units[at]}`;
}

export const percent = (ratio) => (ratio === null ? "–" : `${(100 * ratio).toFixed(1)} %`);

export function age(ms) {
  const minutes = Math.floor(ms / 60000);
  if (minutes < 1) return `${Math.max(0, Math.round(ms / 1000))} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d`;
}

export const words = (label) => label.replaceAll("_", " ");

export function many(value, one, more = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : more}`;
}

function setText(to, text) {
  if (to.textContent !== text) to.textContent = text;
}

function setClass(to, name) {
  if (to.className !== name) to.className = name;
}

// A table's row stays the same element while it is about the same thing, and a cell while it says the same:
// so a selection, the focus and what a screen reader reads are not lost with each look.
//
// Columns: [heading, class, what a cell is]: text, or {text, tone}, or for the class "act" {text, name, act} or null.
export function table(id, columns, rows, none, keyOf = (row, at) => at) {
  const whole = by(id);
  if (!whole.tHead && columns.some(([heading]) => heading)) {
    const heads = columns.map(([heading, kind]) => element("th", { textContent: heading, className: kind, scope: "col", ariaLabel: heading ? null : "To do" }));
    whole.append(element("thead", {}, element("tr", {}, ...heads)));
  }
  const body = whole.tBodies[0] ?? whole.createTBody();
  const kept = new Map([...body.rows].map((line) => [line.about, line]));
  const wanted = rows.map((row, at) => {
    const about = `${keyOf(row, at)}`;
    const line = kept.get(about) ?? element("tr", { about }, ...columns.map(() => element("td")));
    kept.delete(about);
    columns.forEach(([, kind, cellOf], n) => fill(line.cells[n], kind, cellOf(row)));
    return line;
  });
  if (!wanted.length) wanted.push(element("tr", {}, element("td", { className: "none", colSpan: columns.length, textContent: none })));
  const focused = document.activeElement;
  wanted.forEach((line, at) => { if (body.rows[at] !== line) body.insertBefore(line, body.rows[at] ?? null); });
  while (body.rows.length > wanted.length) body.rows[wanted.length].remove();
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function fill(cell, kind, told) {
  if (kind === "act") {
    if (!told) return cell.replaceChildren();
    let button = cell.firstElementChild;
    if (!button) {
      button = element("button", { type: "button" });
      button.addEventListener("click", () => button.act());
      cell.append(button);
    }
    button.act = told.act;
    button.ariaLabel = told.name;
    return setText(button, told.text);
  }
  const { text, tone = "", of } = typeof told === "object" && told !== null ? told : { text: told };
  setClass(cell, `${kind} ${tone}`.trim());
  if (of === undefined) return setText(cell, `${text ?? "–"}`);
  // A part of a whole: in words, and as a bar.
  if (!cell.firstElementChild) cell.replaceChildren(element("span"), element("progress", { ariaHidden: "true" }));
  const [said, bar] = cell.children;
  setText(said, `${text} of ${of}`);
  bar.max = of;
  bar.value = text;
}

// Lines of what was of late, the newest at the right.
export const KEPT = 60;

function line(values, drawn) {
  const largest = Math.max(...values, 1e-9);
  const from = KEPT - values.length;
  const points = values.map((value, at) => `${((from + at) * 100) / (KEPT - 1)},${28 - (25 * value) / largest}`);
  drawn.setAttribute("points", points.join(" "));
}

function graph() {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(space, "polyline"));
  return svg;
}

export function tile(name, value, { more = "", values = [], tone = "" } = {}) {
  const tiles = by("tiles");
  let made = [...tiles.children].find((known) => known.about === name);
  if (!made) {
    const part = (className, text = "") => element("div", { className, textContent: text });
    made = element("div", { about: name }, part("name", name), part("value"), part("more"), graph());
    tiles.append(made);
  }
  setClass(made, `tile ${tone}`.trim());
  setText(made.children[1], value);
  setText(made.children[2], more);
  line(values, made.children[3].firstElementChild);
}
