// /docs reads well without this: it adds buttons that copy a command, and a call to this server beside each endpoint.
// Tokens and keys stay in the form's fields: nothing is stored.
"use strict";

const credentials = document.getElementById("credentials");
// The id that the examples name; the answers of this page's own calls replace it by a real one.
let conversation = credentials.dataset.conversation;
const trials = [];

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function copy(pre, button) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } catch {
    // Without https or permission there is no clipboard: select, so that one key does the rest.
    getSelection().selectAllChildren(pre);
    button.textContent = "Selected";
  }
}

function headersFor(access) {
  const headers = {};
  if (access === "token" && credentials.token.value) {
    headers.Authorization = `Bearer ${credentials.token.value}`;
  }
  if (access === "inner" && credentials.key.value) {
    headers["X-Api-Key"] = credentials.key.value;
  }
  return headers;
}

function remember(path, answer) {
  const data = answer && answer.code === 0 ? answer.data : null;
  if (path === "/inner/get_token" && typeof data === "string") {
    credentials.token.value = data;
  }
  const id = data && typeof data === "object" ? data.ConversationId : null;
  if (!id || id === conversation) {
    return;
  }
  for (const field of trials) {
    field.value = field.value.replaceAll(conversation, id);
  }
  conversation = id;
}

async function call(article, text, output) {
  const { method, path, access } = article.dataset;
  const options = { method, headers: headersFor(access), cache: "no-store" };
  if (method === "POST") {
    options.body = text;
  }
  output.replaceChildren(element("small", { textContent: "…" }));
  try {
    const response = await fetch(method === "POST" ? path : path + text.trim(), options);
    const body = await response.text();
    let shown = body;
    try {
      const answer = JSON.parse(body);
      shown = JSON.stringify(answer, null, 2);
      remember(path, answer);
    } catch {
      // Not JSON: shown as it came.
    }
    output.replaceChildren(
      element("small", { textContent: `HTTP ${response.status}` }),
      element("pre", { textContent: shown, tabIndex: 0 }),
    );
  } catch (error) {
    output.replaceChildren(element("small", { textContent: String(error) }));
  }
}

function addTrial(article) {
  const { method, path, request } = article.dataset;
  const text = method === "POST" ? request || "{}" : path === "/notify" ? "?protoc=poll" : "";
  const field = element("textarea", { value: text, spellcheck: false });
  field.setAttribute("aria-label", method === "POST" ? "Request" : "Query");
  const output = element("output");
  const button = element("button", { type: "submit", textContent: "Send" });
  const form = element("form", { className: "trial" }, ...(text ? [field] : []), button, output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    call(article, field.value, output);
  });
  const open = element("button", { type: "button", textContent: "Try it" });
  open.addEventListener("click", () => {
    open.replaceWith(form);
    (text ? field : button).focus();
  });
  const shells = article.querySelectorAll(".showing > .shell");
  shells[shells.length - 1].after(element("p", { className: "try" }, open));
  trials.push(field);
}

for (const figure of document.querySelectorAll("figure.shell")) {
  const button = element("button", { type: "button", className: "copy", textContent: "Copy" });
  button.addEventListener("click", () => copy(figure.querySelector("pre"), button));
  figure.append(button);
}
for (const article of document.querySelectorAll("article.operation")) {
  addTrial(article);
}
credentials.addEventListener("submit", (event) => event.preventDefault());
credentials.hidden = false;
