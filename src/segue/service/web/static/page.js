// The page works without this. With it, forms change what is on the page while the music plays on.
"use strict";
document.documentElement.classList.add("js");
const audio = document.getElementById("audio");
const player = document.getElementById("player");
const news = document.getElementById("news");
const main = () => document.getElementById("main");
let playing = null; // uri

/** Put the main part of another page in place of this one's. */
function show(page, address) {
  const focus = document.activeElement?.id;
  main().replaceWith(page.getElementById("main"));
  document.title = page.title;
  const here = new URL(address, location);
  if (here.pathname === location.pathname) history.replaceState({}, "", here);
  else history.pushState({}, "", here);
  const again = focus && document.getElementById(focus);
  (again && !again.disabled ? again : main()).focus({ preventScroll: Boolean(again) });
  news.textContent = [...main().querySelectorAll("[data-news]")].map((one) => one.textContent).join(" ");
  mark();
}

/** Ask for a page. Where that fails this one stays, and says why. */
async function go(address, options = {}) {
  main().classList.add("busy");
  try {
    const response = await fetch(address, options);
    const text = await response.text();
    const isPage = (response.headers.get("content-type") || "").startsWith("text/html");
    const page = isPage && new DOMParser().parseFromString(text, "text/html");
    if (response.ok) show(page, response.url);
    else say(isPage ? page.querySelector("[data-news]").textContent : JSON.parse(text).detail);
    return response.ok;
  } catch (error) {
    say("The service does not answer: " + error.message);
    return false;
  } finally {
    main().classList.remove("busy");
  }
}

/** Tell at the top of the page what did not work. */
function say(text) {
  document.getElementById("wrong")?.remove();
  const line = document.createElement("p");
  Object.assign(line, { id: "wrong", className: "warning", textContent: text });
  main().prepend(line);
  line.scrollIntoView({ block: "nearest" });
  news.textContent = text;
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  event.preventDefault();
  const data = new FormData(form, event.submitter);
  const address = new URL(form.action);
  if (form.method === "get") {
    address.search = new URLSearchParams(data);
    go(address);
    return;
  }
  const skips = data.get("do") === "skip " + playing;
  if (skips) data.set("ms_played", Math.round(audio.currentTime * 1000));
  const body = form.enctype === "multipart/form-data" ? data : new URLSearchParams(data);
  go(address, { method: "POST", body }).then((done) => done && skips && next());
});

document.addEventListener("change", (event) => {
  if (event.target.id === "adventure") event.target.form.requestSubmit();
});

// Music: what was heard to its end is told, and the first track that can be heard comes next.

function play(link) {
  playing = link.dataset.uri;
  audio.src = link.href;
  document.getElementById("playing").textContent = link.dataset.label;
  player.hidden = false;
  audio.play().catch((error) => say("This cannot be played: " + error.message));
  mark();
}

function mark() {
  for (const row of document.querySelectorAll("li")) row.classList.toggle("playing", row.dataset.uri === playing);
}

function next() {
  const link = document.querySelector("#rows .play[data-uri]");
  if (link) play(link);
  else stop();
}

function stop() {
  playing = null;
  audio.removeAttribute("src");
  audio.load();
  player.hidden = true;
  mark();
}

/** Do something of the list's form, as if a button of it were pressed. */
async function act(what, more = {}) {
  const form = document.getElementById("rows")?.closest("form");
  if (!form) return false;
  const body = new URLSearchParams({ was: form.elements.was.value, do: what, ...more });
  return go(form.action, { method: "POST", body });
}

audio.addEventListener("ended", async () => {
  if (await act("played " + playing)) next();
});
document.getElementById("player-skip").addEventListener("click", async () => {
  const heard = Math.round(audio.currentTime * 1000);
  if (await act("skip " + playing, { ms_played: heard })) next();
  else stop();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.play");
  if (link) { event.preventDefault(); play(link); }
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

// Keys: up and down go through the list, a adds, s skips, space plays; Escape closes a menu.

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
  const row = document.activeElement?.closest?.("#rows > li");
  if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = (kind) => row.querySelector(`button[value^="${kind} "]`);
  const beside = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
  if (beside) { event.preventDefault(); beside.querySelector(".name").focus(); }
  if (event.key === "a" || event.key === "s") { const it = button(event.key === "a" ? "add" : "skip"); it.focus(); it.click(); }
});

// A file that is dropped anywhere on the page where one can be uploaded.

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const form = document.querySelector("form.upload");
    if (!form || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    form.classList.toggle("over", kind === "dragover");
    if (kind === "drop") { form.elements.file.files = event.dataTransfer.files; form.requestSubmit(); }
  });
}

addEventListener("popstate", () => location.reload());
