// The page works without this file; it adds updates, the reviewer's name and keys.
"use strict";

const NAME = "m3dm-reviewer";
let busy = false, old = false, renewed = 0;

function prepare() {
  for (const field of document.querySelectorAll("input.by")) {
    field.value = field.value || localStorage.getItem(NAME) || "";
    field.addEventListener("change", () => localStorage.setItem(NAME, field.value));
  }
}

function connection(text) { document.getElementById("connection").textContent = text; }

async function renew() {  // one at a time: an older answer must not come after a newer one
  old = true;
  while (old && !busy) {
    if (document.activeElement?.closest("form")) return connection("There is a newer part: leave the form to see it");
    [busy, old] = [true, false];
    try {
      const answer = await fetch(location.href);
      if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } finally {
      busy = false;
    }
  }
}

const PARTS = ["main", "header nav"];
const html = (page) => PARTS.map((part) => page.querySelector(part).innerHTML).join();
let shown = html(document);

function show(page) {
  connection("");
  if (html(page) === shown) return;  // else the focus would be lost for nothing
  shown = html(page);
  for (const part of PARTS) document.querySelector(part).replaceChildren(...page.querySelector(part).childNodes);
  document.title = page.title;
  renewed = Date.now();
  const verdict = document.querySelector(".verdict"), announce = document.getElementById("announce");
  const part = () => document.querySelector(".who strong").innerText;
  const said = verdict ? `${verdict.innerText.slice(1).trim()}: ${part()}` : "";
  if (announce.textContent !== said) announce.textContent = said;
  prepare();
}

if (document.body.dataset.live) {
  const source = new EventSource("/live");
  let told = null;
  source.onerror = () => connection("No connection: this page may be old");
  source.onmessage = (event) => {
    if (event.data !== told) renew();  // the first one too: what came before it may have been missed
    told = event.data;
  };
  source.onopen = () => connection("");
  document.addEventListener("focusout", () => setTimeout(() => old && renew()));
}

document.addEventListener("submit", (event) => {
  if (Date.now() - renewed < 500) event.preventDefault();  // it was meant for the part before
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select")) return;
  const link = document.querySelectorAll("nav a")[Number(event.key) - 1];
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
  if (link) link.click();
  else if (button) {
    event.preventDefault();
    const { by, kind } = button.form;
    if (!by.value) by.focus();
    else if (event.key === "d" && !kind.value) kind.focus();
    else button.click();
  }
});

prepare();
