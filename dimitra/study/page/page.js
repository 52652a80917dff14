// The page of `dimitra study serve`: consent, then pair after pair; the token is in the link after #.

const byId = (id) => document.getElementById(id);
const SIDES = ["left", "right"];
const DRIFT_S = 0.06; // that is put right while the videos play
const PATIENCE_MS = 3000; // phones load nothing before a touch

const video = { left: byId("left"), right: byId("right") };
const take = { left: byId("take-left"), right: byId("take-right") };
const token = location.hash.slice(1);
const base = `api/raters/${encodeURIComponent(token)}`;
let position = 0; // of the question that is shown; 0 for none
let ready = new Set(); // sides that can be played
let ended = new Set(); // sides that have been played to their end
let started = null; // the server's knowledge that they play
let sending = false;

async function call(path, method = "GET", content = undefined) {
  const options = { method };
  if (content !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(content);
  }
  let response;
  try {
    response = await fetch(base + path, options);
  } catch {
    throw new Error("the server does not answer; your answers so far are saved. Try again, or later with the same link");
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Error(answer.error ?? `the server answers ${response.status}`);
}

function showError(text) {
  byId("error").textContent = text;
  byId("error").hidden = !text;
}

async function attempt(action) {
  showError("");
  try {
    return await action();
  } catch (error) {
    showError(error.message);
    return undefined;
  }
}

// What is shown

function show(view) {
  const asks = view.position !== undefined;
  byId("consent").hidden = view.state !== "invited";
  byId("ask").hidden = !asks;
  byId("end").hidden = view.state === "invited" || asks;
  byId("foot").hidden = view.state === "withdrawn" || (view.state === "invited" && view.done === 0);
  byId("sure").hidden = true;
  byId("withdraw").hidden = false;
  if (view.state === "invited") showConsent(view);
  else if (asks) showQuestion(view);
  else showEnd(view);
}

function showConsent(view) {
  byId("consent-text").replaceChildren(...view.consent.map((text) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    return paragraph;
  }));
  byId("consent-total").textContent = view.total;
}

function showQuestion(view) {
  position = view.position;
  ready = new Set();
  ended = new Set();
  started = null;
  byId("question").textContent = view.question;
  byId("count").textContent = `${view.position} of ${view.total}`;
  byId("progress").max = view.total;
  byId("progress").value = view.done;
  for (const side of SIDES) {
    video[side].muted = side !== view.sound;
    video[side].src = `${base}/videos/${position}/${side}`;
  }
  update();
}

function showEnd(view) {
  stop();
  const left = view.state === "withdrawn";
  byId("end-title").textContent = left ? "Your answers are deleted" : "Thank you";
  byId("end-text").textContent = left ? "You have withdrawn. You can close this page."
    : `All ${view.total} answers are saved. You can close this page.`;
  byId("end-title").focus();
}

function stop() {
  position = 0;
  for (const side of SIDES) {
    video[side].pause();
    video[side].removeAttribute("src");
    video[side].load();
  }
}

function playing() {
  return SIDES.some((side) => !video[side].paused && !video[side].ended);
}

function update() {
  const seen = ended.size === SIDES.length;
  const loaded = ready.size === SIDES.length;
  for (const side of SIDES) take[side].disabled = !seen || sending;
  const play = byId("play");
  play.disabled = !loaded || sending;
  play.textContent = playing() ? "Pause" : seen ? "Play again" : "Play";
  byId("hint").textContent = !loaded ? "loading" : seen ? "Choose a clip" : "Choose when both have ended";
}

// Both play together

async function toggle() {
  if (byId("play").disabled) return;
  if (playing()) {
    for (const side of SIDES) video[side].pause();
    return;
  }
  const now = position;
  started ??= call("/starts", "POST", { position });
  const known = await attempt(() => started);
  if (known === undefined) { started = null; return; }
  if (now !== position) return;
  const again = SIDES.every((side) => video[side].ended);
  if (again) for (const side of SIDES) video[side].currentTime = 0;
  await attempt(() => Promise.all(SIDES.filter((side) => again || !video[side].ended).map((side) => video[side].play())));
  update();
}

function align() {
  const { left, right } = video;
  if (left.paused || right.paused || left.ended || right.ended) return;
  const [heard, silent] = left.muted ? [right, left] : [left, right];
  if (Math.abs(heard.currentTime - silent.currentTime) > DRIFT_S && heard.currentTime < silent.duration) {
    silent.currentTime = heard.currentTime;
  }
}

for (const side of SIDES) {
  video[side].addEventListener("canplaythrough", () => { ready.add(side); update(); });
  video[side].addEventListener("loadedmetadata", () => {
    const now = position;
    setTimeout(() => { if (now === position) { ready.add(side); update(); } }, PATIENCE_MS);
  });
  video[side].addEventListener("ended", () => { ended.add(side); update(); });
  video[side].addEventListener("timeupdate", align);
  video[side].addEventListener("contextmenu", (event) => event.preventDefault());
  for (const name of ["play", "pause"]) video[side].addEventListener(name, update);
  video[side].addEventListener("error", () => {
    if (position) showError(`clip ${SIDES.indexOf(side) + 1} cannot be played; reload the page, or open the link in another browser`);
  });
  take[side].addEventListener("click", () => choose(side));
}
byId("play").addEventListener("click", toggle);

async function choose(side) {
  if (take[side].disabled || sending) return;
  sending = true;
  update();
  const view = await attempt(() => call("/answers", "POST", { position, choice: side }));
  sending = false;
  if (view) show(view);
  else update();
  // A disabled button keeps the focus and swallows the keys.
  if (document.activeElement instanceof HTMLButtonElement) document.activeElement.blur();
}

const KEYS = { 1: () => choose("left"), ArrowLeft: () => choose("left"), 2: () => choose("right"), ArrowRight: () => choose("right"), " ": toggle };

document.addEventListener("keydown", (event) => {
  if (byId("ask").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const act = KEYS[event.key];
  const onButton = event.target instanceof HTMLButtonElement && event.key === " ";
  if (!act || onButton) return; // the button does what it does
  event.preventDefault();
  act();
});

// Consent

byId("agree").addEventListener("click", async () => {
  const view = await attempt(() => call("/consent", "POST", { agree: true }));
  if (view) show(view);
});
byId("withdraw").addEventListener("click", () => {
  byId("sure").hidden = false;
  byId("withdraw").hidden = true;
  byId("sure-no").focus();
});
byId("sure-no").addEventListener("click", () => {
  byId("sure").hidden = true;
  byId("withdraw").hidden = false;
});
byId("sure-yes").addEventListener("click", async () => {
  const view = await attempt(() => call("", "DELETE"));
  if (view) show(view);
});

window.addEventListener("hashchange", () => location.reload());
if (!token) showError("open the link that you were given; it ends with # and your own sign");
else {
  const view = await attempt(() => call(""));
  if (view) show(view);
}
