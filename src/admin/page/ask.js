// Asks the gateway, with the token where there is one, and the person before something is changed.

import { by } from "/page/draw.js";

const PATIENCE_MS = 9000;

async function sent(path, { method = "GET", body } = {}) {
  const headers = { "X-Pgsluice-Admin": "1" };
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/yaml; charset=utf-8";
  const reply = await fetch(path, { method, body, headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (reply.status === 401) {
    // Not one that was given meanwhile.
    if (sessionStorage.getItem("token") === token) sessionStorage.removeItem("token");
    throw Object.assign(new Error("a token is needed"), { isDenied: true, hadToken: Boolean(token) });
  }
  return reply;
}

export async function ask(path, options) {
  const reply = await sent(path, options);
  const told = await reply.json().catch(() => ({ error: `${reply.status} ${reply.statusText}` }));
  // What is not ready says so with another status, and is an answer all the same.
  if (!reply.ok && !told.status) throw Object.assign(new Error(told.error), { problems: told.problems });
  return told;
}

export async function askText(path) {
  const reply = await sent(path);
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${reply.status} ${reply.statusText}`);
  return text;
}

// Whether the person wants it. What else there is to know is shown as it is: an element.
export function confirmed(question, yes, more = "") {
  const dialog = by("ask");
  by("question").textContent = question;
  by("more").replaceChildren(more);
  by("yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// Whether a token was given.
export async function login(isWrong) {
  const dialog = by("login");
  if (dialog.open) return false;
  by("token").value = "";
  by("login-wrong").hidden = !isWrong;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const token = by("token").value.trim();
  if (dialog.returnValue !== "yes" || !token) return false;
  sessionStorage.setItem("token", token);
  return true;
}

let hiding = 0;
export function tell(words) {
  const told = by("told");
  told.textContent = words;
  told.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { told.hidden = true; }, 6000);
}

// Changes something and says what came of it.
export async function change(path, done) {
  try {
    tell(done(await ask(path, { method: "POST" })));
  } catch (error) {
    tell(`It was not done: ${error.message}`);
  }
}
