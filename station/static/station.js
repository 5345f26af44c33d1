// The page works without this file; it adds updates, the reviewer's name and keys.
"use strict";

const NAME = "m3dm-reviewer";

function prepare() {
  for (const field of document.querySelectorAll("input.by")) {
    field.value = field.value || localStorage.getItem(NAME) || "";
    field.addEventListener("change", () => localStorage.setItem(NAME, field.value));
  }
}

let renewing = false, again = false;

async function renew() {  // one at a time: an older answer must not come after a newer one
  again = true;
  if (renewing) return;
  renewing = true;
  try {
    while (again) {
      again = false;
      await renewOnce();
    }
  } finally {
    renewing = false;
  }
}

async function renewOnce() {
  const typed = document.activeElement;
  if (typed && typed.matches("input, select")) return;  // somebody writes: do not take it away
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.querySelector("main").replaceChildren(...page.querySelector("main").childNodes);
  document.querySelector("header nav").replaceChildren(...page.querySelector("header nav").childNodes);
  document.title = page.title;
  const verdict = document.querySelector(".verdict"), announce = document.getElementById("announce");
  const said = verdict ? `${verdict.innerText.slice(1).trim()}: ${document.querySelector(".who strong").innerText}` : "";
  if (announce.textContent !== said) announce.textContent = said;
  prepare();
}

const kinds = (document.body.dataset.live || "").split(" ").filter(Boolean);
if (kinds.length) {
  const connection = document.getElementById("connection");
  const source = new EventSource("/live");
  source.onopen = () => { connection.textContent = ""; };
  source.onerror = () => { connection.textContent = "No connection: this page may be old"; };
  source.onmessage = (event) => {
    const kind = JSON.parse(event.data).kind.replaceAll(" ", "-");
    if (kind === "hello" || kinds.includes(kind)) renew();  // hello: from here on nothing is missed, before it may be
  };
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select")) return;
  const link = document.querySelectorAll("nav a")[Number(event.key) - 1];
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
  if (link) link.click();
  else if (button) {
    event.preventDefault();
    const name = button.form.querySelector("input.by");
    if (!name.value) name.focus();
    else if (event.key === "d" && !button.form.kind.value) button.form.kind.focus();
    else button.click();
  }
});

prepare();
