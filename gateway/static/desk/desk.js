// The desk's pages: times in the viewer's zone, choosing all, an erasure that goes on, a transcript that grows.
// Everything works without it. What comes over the stream is markup of this server, in which contents are escaped.
"use strict";

const MAX_LINES = 500;

function localTimes(root) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) time.textContent = format.format(at);
  }
}

function zones() {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone || "local";
  for (const form of document.querySelectorAll("form[data-zone]")) {
    form.querySelector("[data-zone-name]").textContent = name;
    form.addEventListener("submit", () => {
      const moment = new Date(form.elements.day.value);
      form.elements.offset.value = String(moment.getTimezoneOffset());
    });
  }
}

function chooseAll() {
  for (const all of document.querySelectorAll("input[data-all]")) {
    all.addEventListener("change", () => {
      for (const box of all.form.querySelectorAll("input[name=id]")) box.checked = all.checked;
    });
  }
}

function goOn() {
  const form = document.querySelector("form[data-go-on]");
  if (form) form.requestSubmit();
}

function say(text, isOver) {
  const state = document.getElementById("live-state");
  if (!state) return;
  state.textContent = text;
  state.classList.toggle("over", Boolean(isOver));
}

function append(lines, event) {
  const isAtEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 40;
  const part = document.createElement("template");
  part.innerHTML = event.html;
  if (event.left_out) {
    const gap = document.createElement("p");
    gap.className = "turn";
    gap.textContent = "Much was said at once: some of it is left out here. Reload the page to see it.";
    lines.append(gap);
  }
  for (const line of part.content.querySelectorAll("article")) {
    if (!document.getElementById(line.id)) lines.append(line);
  }
  localTimes(lines);
  while (lines.childElementCount > MAX_LINES) lines.firstElementChild.remove();
  document.getElementById("nothing")?.remove();
  if (isAtEnd) lines.scrollTop = lines.scrollHeight;
}

function redact(seq) {
  const line = document.getElementById(`m${seq}`);
  if (!line || line.classList.contains("redacted")) return;
  line.classList.add("redacted");
  line.querySelector(".said").textContent = "Its content was taken back.";
  line.querySelector(".more")?.remove();
  line.querySelector(".deed")?.remove();
}

function live() {
  const lines = document.getElementById("lines");
  if (!lines?.dataset.live) return;
  let after = lines.dataset.after;
  let failures = 0;
  const open = () => {
    const query = new URLSearchParams({
      conversation: lines.dataset.conversation,
      after,
      version: lines.dataset.version,
      since: lines.dataset.since,
    });
    const stream = new EventSource(`${lines.dataset.live}?${query}`);
    stream.onopen = () => {
      failures = 0;
      say("Live: new messages appear here.");
    };
    stream.addEventListener("lines", ({ data }) => {
      const event = JSON.parse(data);
      after = String(event.last);
      append(lines, event);
    });
    stream.addEventListener("redacted", ({ data }) => JSON.parse(data).seqs.forEach(redact));
    stream.addEventListener("changed", () => {
      say("Members or state have changed. Reload the page to see it; new messages still appear here.");
    });
    stream.addEventListener("end", ({ data }) => {
      stream.close();
      say(JSON.parse(data).reason, true);
    });
    // The browser would come back with the old place: this page knows the new one.
    stream.onerror = () => {
      stream.close();
      failures += 1;
      if (failures > 20) say("The connection is lost. Reload the page.", true);
      else {
        say("The connection is interrupted…");
        setTimeout(open, Math.min(30000, 1000 * failures) * (0.5 + Math.random()));
      }
    };
    window.addEventListener("pagehide", () => stream.close(), { once: true });
  };
  open();
}

// A page before others is read from its end, one after others from its beginning; a target is shown amid its context.
function toPlace() {
  const lines = document.getElementById("lines");
  if (!lines) return;
  const target = lines.querySelector(".line.target");
  if (target) lines.scrollTop = target.offsetTop - lines.offsetTop - lines.clientHeight / 3;
  else if (!new URLSearchParams(location.search).has("after")) lines.scrollTop = lines.scrollHeight;
}

localTimes(document);
zones();
chooseAll();
goOn();
live();
toPlace();
