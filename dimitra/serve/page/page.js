// The page of `dimitra serve`: two files go up, a job runs, videos and their curves come back.

const byId = (id) => document.getElementById(id);
const POLL_MS = 300;
const SVG = "http://www.w3.org/2000/svg";
const PANELS = [
  { title: "Mouth opening, % of the eyes' distance", curves: [["mouth", "mouth"]], zero: true },
  { title: "Eyes, height over width", curves: [["eyes", "eyes"]], zero: true },
  { title: "Head, degrees from the first frame", curves: [["pitch", "nod"], ["yaw", "turn"], ["roll", "tilt"]], relative: true },
];

const chosen = { image: null, audio: null };
let job = null;
let recorder = null;

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is `dimitra serve` still running?");
  }
  if (response.ok) return response.json();
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error ?? `the server answers ${response.status}`);
}

// Files

const HINTS = { image: "Drop a photo here, or choose one", audio: "Drop a recording here, or choose one" };

function choose(kind, file) {
  chosen[kind] = file;
  byId(`${kind}-hint`).textContent = file ? file.name : HINTS[kind];
  const view = byId(`${kind}-view`);
  if (view.src) URL.revokeObjectURL(view.src);
  if (file) view.src = URL.createObjectURL(file);
  else view.removeAttribute("src");
  view.hidden = !file;
  if (kind === "image" && file) view.alt = `The photo ${file.name}`;
  showError("");
}

byId("image-view").addEventListener("error", () => { byId("image-view").hidden = true; });
for (const kind of ["image", "audio"]) {
  const target = document.querySelector(`[data-kind=${kind}] .target`);
  byId(kind).addEventListener("change", (event) => {
    if (event.target.files.length) choose(kind, event.target.files[0]);
  });
  for (const name of ["dragenter", "dragover"]) {
    target.addEventListener(name, (event) => { event.preventDefault(); target.classList.add("over"); });
  }
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    if (event.dataTransfer.files.length) choose(kind, event.dataTransfer.files[0]);
  });
}
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());

// Recording

byId("record").addEventListener("click", async () => {
  if (recorder) { recorder.stop(); return; }
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    showError("this browser does not record here (it wants 127.0.0.1, localhost or https); choose a file");
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    showError(`no microphone: ${error.message}; allow it in the browser, or choose a file`);
    return;
  }
  const parts = [];
  recorder = new MediaRecorder(stream);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", () => {
    stream.getTracks().forEach((track) => track.stop());
    const type = recorder.mimeType.split(";")[0];
    recorder = null;
    byId("record").textContent = "Record";
    byId("record").setAttribute("aria-pressed", "false");
    const suffix = { "audio/mp4": "m4a", "audio/ogg": "ogg" }[type] ?? "webm";
    choose("audio", new File(parts, `recording.${suffix}`, { type }));
  });
  recorder.start();
  byId("record").textContent = "Stop";
  byId("record").setAttribute("aria-pressed", "true");
});

// The job

byId("expression_scale").addEventListener("input", (event) => {
  byId("scale-value").textContent = Number(event.target.value).toFixed(1);
});

function wishes() {
  const number = (id) => (byId(id).value.trim() === "" ? null : Number(byId(id).value));
  return {
    head_pose: byId("head_pose").checked,
    lip_contact: byId("lip_contact").checked,
    expression_scale: Number(byId("expression_scale").value),
    seed: number("seed"),
    samples: number("samples") ?? 1,
    size: number("size"),
    transcript: byId("transcript").value.trim() || null,
  };
}

function upload(file) {
  return call(`api/uploads?name=${encodeURIComponent(file.name)}`, {
    method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file,
  });
}

function showError(text) {
  byId("error").textContent = text;
  byId("error").hidden = !text;
}

function showStep(text, done = 0, total = 0) {
  byId("message").textContent = text;
  byId("message").hidden = byId("progress").hidden = !text;
  if (total > 0) { byId("progress").max = total; byId("progress").value = done; }
  else byId("progress").removeAttribute("value");
}

function busy(is) {
  byId("make").disabled = is;
  byId("cancel").hidden = !is;
}

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (byId("make").disabled) return;
  showError("");
  byId("notices").replaceChildren();
  byId("results").replaceChildren();
  if (!chosen.image || !chosen.audio) {
    showError(chosen.image ? "choose or record the speech first" : "choose a photo first");
    byId(chosen.image ? "audio" : "image").focus();
    return;
  }
  busy(true);
  try {
    showStep("sending the files");
    const [image, audio] = await Promise.all([upload(chosen.image), upload(chosen.audio)]);
    const body = JSON.stringify({ image: image.token, audio: audio.token, wishes: wishes() });
    const headers = { "Content-Type": "application/json" };
    job = (await call("api/jobs", { method: "POST", headers, body })).token;
    await follow(job);
  } catch (error) {
    showError(error.message);
  } finally {
    job = null;
    busy(false);
    showStep("");
  }
});

byId("cancel").addEventListener("click", async () => {
  if (job) await call(`api/jobs/${job}`, { method: "DELETE" }).catch((error) => showError(error.message));
});

async function follow(token) {
  for (;;) {
    const now = await call(`api/jobs/${token}`);
    byId("notices").replaceChildren(...now.notices.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    if (now.state === "failed") throw new Error(now.error);
    if (now.state === "cancelled") throw new Error("cancelled");
    if (now.state === "done") return show(token, now);
    if (now.state === "waiting") showStep(`waiting; jobs before this one: ${now.ahead}`);
    else showStep(now.total ? `${now.step}: ${now.done} of ${now.total}` : now.step || "starting", now.done, now.total);
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
  }
}

// Results

async function show(token, made) {
  for (let number = 1; number <= made.videos; number += 1) {
    const article = byId("result").content.cloneNode(true).firstElementChild;
    const video = article.querySelector("video");
    video.src = `api/jobs/${token}/videos/${number}`;
    video.setAttribute("aria-label", `Generated video ${number}`);
    article.querySelector(".said").textContent = made.text ? `“${made.text}”` : "";
    article.querySelector(".download").href = `${video.getAttribute("src")}?download`;
    byId("results").append(article);
    try {
      draw(article.querySelector(".curves"), await call(`api/jobs/${token}/curves/${number}`), video);
    } catch {
      article.querySelector(".curves").remove(); // a face model without curves
    }
  }
  byId("results").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

function part(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function draw(place, curves, video) {
  const [width, height, gap] = [Math.max(280, place.clientWidth || 640), 70, 34]; // text keeps its size on a phone
  const left = 40;
  const frames = curves.mouth.length;
  const length = frames / curves.fps;
  const total = PANELS.length * (height + gap) + 6;
  const svg = part("svg", { viewBox: `0 0 ${width} ${total}` });
  const x = (frame) => left + (width - left) * (frames > 1 ? frame / (frames - 1) : 0);
  PANELS.forEach((panel, index) => {
    const top = index * (height + gap) + 24;
    const lines = panel.curves.map(([key]) => curves[key].map((v) => (panel.relative ? v - curves[key][0] : v)));
    let low = Infinity;
    let high = -Infinity;
    for (const line of lines) for (const v of line) { low = Math.min(low, v); high = Math.max(high, v); }
    if (panel.zero) low = 0;
    if (high - low < 1e-6) high = low + 1;
    const y = (value) => top + height * (1 - (value - low) / (high - low));
    svg.append(part("text", { x: 0, y: top - 8 }, panel.title));
    svg.append(part("path", { class: "axis", d: `M${left},${top + height}H${width}` }));
    for (const value of [low, high]) {
      svg.append(part("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(high - low < 2 ? 2 : 0)));
    }
    lines.forEach((line, number) => {
      const d = line.map((value, frame) => `${frame ? "L" : "M"}${x(frame).toFixed(1)},${y(value).toFixed(1)}`).join("");
      svg.append(part("path", { class: `curve c${number}`, d }));
      if (lines.length > 1) {
        const at = width - (lines.length - 1 - number) * 42;
        svg.append(part("text", { x: at, y: top - 8, class: `c${number}`, "text-anchor": "end" }, panel.curves[number][1]));
      }
    });
  });
  const now = part("line", { class: "now", x1: left, x2: left, y1: 16, y2: total });
  svg.append(now);
  place.append(svg);
  place.setAttribute("aria-label", `Curves over ${length.toFixed(1)} seconds: mouth opening, eyes, and the angles of the head`);
  const follows = () => {
    const at = x(Math.min(video.currentTime * curves.fps, frames - 1)).toFixed(1);
    now.setAttribute("x1", at);
    now.setAttribute("x2", at);
    if (!video.paused) requestAnimationFrame(follows);
  };
  for (const name of ["play", "seeked", "pause", "timeupdate"]) video.addEventListener(name, follows);
  place.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * width - left) / (width - left);
    video.currentTime = Math.min(Math.max(share, 0), 1) * length;
  });
}
