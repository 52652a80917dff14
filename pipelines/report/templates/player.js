// Three videos as one. The HP video has the sound and leads; the others follow it within a frame.

const QUANTITIES = [["opening", "Mouth opening", "mm"], ["pitch", "Head pitch", "°"], ["yaw", "Head yaw", "°"], ["roll", "Head roll", "°"]];
const SOURCES = [["truth", "truth"], ["fit", "fit"], ["hp", "generated"]];
const FAR_S = 0.12; // a follower farther away than this jumps; nearer ones run faster or slower
const SVG = document.querySelector("svg").namespaceURI;
const drawn = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

/** Round levels (1, 2 or 5 times a power of ten) between two values, about `count` of them. */
const levels = (low, high, count) => {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + 1e-9 * step; index++) found.push(Number((index * step).toPrecision(6)));
  return found;
};

class Player {
  constructor(examples, fps, numbersOf) {
    this.fps = fps;
    this.examples = new Map(examples.map((example) => [example.clip_id, example]));
    this.numbersOf = numbersOf;
    this.root = byId("player");
    this.leader = byId("video-hp");
    this.videos = ["ground_truth", "hp", "no_hp"].map((name) => byId(`video-${name}`));
    this.followers = this.videos.filter((video) => video !== this.leader);
    this.plots = byId("plots");
    this.cursor = element("div", { className: "cursor" });
    this.onLoad = () => {};
    this.wire();
  }

  has(id) { return this.examples.has(id); }

  wire() {
    const choice = byId("clip-choice");
    const groups = new Map();
    for (const example of this.examples.values()) {
      if (!groups.has(example.dataset)) groups.set(example.dataset, element("optgroup", { label: example.dataset }));
      groups.get(example.dataset).append(element("option", { value: example.clip_id, textContent: `${example.clip_id} (${example.standing})` }));
    }
    choice.replaceChildren(...groups.values());
    choice.addEventListener("change", () => this.load(choice.value));
    byId("play").addEventListener("click", () => this.toggle());
    byId("back").addEventListener("click", () => this.step(-1));
    byId("forth").addEventListener("click", () => this.step(1));
    byId("position").addEventListener("input", (event) => this.go(Number(event.target.value)));
    byId("speed").addEventListener("change", (event) => { this.rate = Number(event.target.value); for (const video of this.videos) video.playbackRate = this.rate; });
    byId("sound").addEventListener("change", (event) => { this.leader.muted = event.target.value === ""; });
    this.rate = 1;
    for (const video of this.videos) {
      video.addEventListener("click", () => this.toggle());
      video.addEventListener("error", () => this.complain(`${video.getAttribute("src").split("#")[0]} cannot be played: it is not beside this page, or this browser has no H.264.`));
      video.addEventListener("seeked", () => this.show());
    }
    this.leader.addEventListener("play", () => { byId("play").textContent = "Pause"; this.follow(); });
    this.leader.addEventListener("pause", () => this.stopped());
    this.leader.addEventListener("ended", () => this.stopped());
    this.root.addEventListener("keydown", (event) => this.key(event));
    const seek = (event) => {
      const area = this.plots.querySelector(".area").getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - area.left) / area.width));
      this.go(Math.min(this.clip.frames - 1, Math.floor(share * this.clip.frames)));
    };
    this.plots.addEventListener("pointerdown", (event) => {
      if (event.button === 0) { this.plots.setPointerCapture(event.pointerId); seek(event); }
    });
    this.plots.addEventListener("pointermove", (event) => { if (this.plots.hasPointerCapture(event.pointerId)) seek(event); });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key === " " && !event.target.matches("button")) this.toggle();
    else if (event.key in steps) this.step(steps[event.key] * (event.shiftKey ? Math.round(this.fps) : 1));
    else return;
    event.preventDefault();
  }

  complain(text) { byId("trouble").hidden = !text; byId("trouble").textContent = text; }

  load(id, play = false) {
    this.pause();
    this.clip = this.examples.get(id);
    this.complain("");
    byId("clip-choice").value = id;
    byId("clip-standing").textContent = `${this.clip.identity}, ${(this.clip.frames / this.fps).toFixed(1)} s; ${this.clip.standing}`;
    byId("position").max = this.clip.frames - 1;
    this.frame = 0;
    this.videos.forEach((video) => {
      const name = video.id.slice("video-".length);
      // The fragment makes browsers draw the first frame before anything has played.
      video.src = `${this.clip.files[name]}#t=0.001`;
      video.playbackRate = this.rate;
    });
    this.drawNumbers();
    this.drawPlots();
    this.show();
    this.onLoad(id);
    if (play) this.play();
  }

  drawNumbers() {
    const { text, metrics, rows } = this.numbersOf(this.clip.clip_id, this.clip.dataset);
    byId("clip-text").textContent = text;
    byId("clip-numbers").replaceChildren(
      element("thead", {}, element("tr", {}, element("th", { scope: "col", textContent: "Metric" }),
        ...rows.map((row) => element("th", { scope: "col", className: "number", textContent: row.label })))),
      element("tbody", {}, ...metrics.map((metric) => element("tr", {},
        element("th", { scope: "row", textContent: `${metric.label} ${metric.arrow}` }),
        ...rows.map((row) => element("td", { className: "number", textContent: row.text(metric) }))))));
  }

  drawPlots() {
    const { curves, frames, words } = this.clip;
    const length = frames / this.fps;
    this.readings = [];
    const parts = [];
    const panel = (kind, name, area) => element("div", { className: `plot ${kind}` }, element("div", { className: "what" }, ...(name ? [element("b", { textContent: name })] : [])), area);
    this.words = words.map(([start, end, word]) => {
      const one = element("span", { className: "word", textContent: word, title: word });
      one.style.left = `${100 * start / length}%`;
      one.style.width = `${100 * Math.max(0, end - start) / length}%`;
      return { start, end, one };
    });
    if (words.length) parts.push(panel("words", "Words", element("div", { className: "area" }, ...this.words.map(({ one }) => one))));
    for (const [key, name, unit] of QUANTITIES) {
      if (!curves[key]) continue;
      const values = Object.values(curves[key]).flat();
      let [low, high] = [Math.min(...values), Math.max(...values)];
      const room = Math.max(0.08 * (high - low), 0.05);
      [low, high] = [low - room, high + room];
      const svg = drawn("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none" });
      const up = (value) => 100 - 100 * (value - low) / (high - low);
      const area = element("div", { className: "area" }, svg);
      for (const level of levels(low, high, 3)) {
        svg.append(drawn("line", { class: "rule", x1: 0, x2: 1000, y1: up(level), y2: up(level) }));
        const label = element("span", { className: "level", textContent: String(level).replace("-", "−") });
        label.style.top = `${up(level)}%`;
        area.append(label);
      }
      for (const [source] of SOURCES) {
        if (!curves[key][source]) continue;
        const points = curves[key][source].map((value, index) => `${(1000 * (index * curves.step + 0.5) / frames).toFixed(1)} ${up(value).toFixed(1)}`);
        svg.append(drawn("path", { class: `line line-${source}`, d: `M${points.join("L")}` }));
      }
      const made = panel("curve", `${name}, ${unit}`, area);
      const reading = element("span", { className: "reading" });
      made.querySelector(".what").append(reading);
      this.readings.push([reading, curves[key]]);
      parts.push(made);
    }
    const seconds = element("div", { className: "area" });
    for (const second of levels(0, length, 8)) {
      const label = element("span", { className: "second", textContent: `${second} s` });
      label.style.left = `${100 * second / length}%`;
      if (second < 0.97 * length) seconds.append(label);
    }
    parts.push(panel("seconds", "", seconds));
    this.plots.replaceChildren(...parts, this.cursor);
  }

  /** Frame that is on the screen, by the leader's clock. */
  current() { return Math.min(this.clip.frames - 1, Math.floor(this.leader.currentTime * this.fps + 1e-3)); }

  show() {
    if (!this.clip) return;
    const { frames, curves } = this.clip;
    const playing = !this.leader.paused;
    const frame = playing ? this.current() : this.frame;
    if (playing) this.frame = frame;
    const seconds = playing ? this.leader.currentTime : (frame + 0.5) / this.fps;
    const share = Math.min(1, seconds * this.fps / frames);
    this.cursor.style.left = `calc(var(--label) + (100% - var(--label)) * ${share.toFixed(5)})`;
    byId("position").value = frame;
    byId("position").setAttribute("aria-valuetext", `frame ${frame + 1} of ${frames}, ${(frame / this.fps).toFixed(2)} seconds`);
    byId("clock").textContent = `frame ${frame + 1} of ${frames} · ${(frame / this.fps).toFixed(2)} s`;
    const point = Math.floor(frame / curves.step);
    for (const [reading, sources] of this.readings) {
      reading.replaceChildren(...SOURCES.filter(([source]) => sources[source]).map(([source, name]) =>
        element("span", { className: source, title: name, textContent: sources[source][Math.min(point, sources[source].length - 1)].toFixed(1).replace("-", "−") })));
    }
    for (const { start, end, one } of this.words) one.classList.toggle("now", start <= seconds && seconds < end);
  }

  follow() {
    if (this.leader.paused) return;
    for (const video of this.followers) {
      const gap = video.currentTime - this.leader.currentTime;
      if (video.seeking || video.ended) continue;
      if (Math.abs(gap) > FAR_S) video.currentTime = this.leader.currentTime;
      else video.playbackRate = this.rate * (1 - Math.max(-0.4, Math.min(0.4, 5 * gap)));
    }
    this.show();
    requestAnimationFrame(() => this.follow());
  }

  toggle() { if (this.leader.paused) this.play(); else this.pause(); }

  async play() {
    if (this.frame >= this.clip.frames - 1) this.go(0);
    const clip = this.clip;
    // All start from one frame, and only when each has it.
    await Promise.all(this.videos.map((video) => this.ready(video)));
    if (clip !== this.clip || !byId("trouble").hidden) return;
    for (const video of this.videos) video.playbackRate = this.rate;
    try {
      await Promise.all(this.videos.map((video) => video.play()));
    } catch (error) {
      if (error.name === "AbortError") return; // paused, or another clip, before it began
      this.pause();
      this.complain(`The browser did not start the videos: ${error.message}`);
    }
  }

  ready(video) {
    const enough = () => video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA && !video.seeking;
    if (enough()) return Promise.resolve();
    return new Promise((resolve) => {
      const check = () => {
        if (!enough() && !video.error) return;
        for (const name of ["canplay", "seeked", "error"]) video.removeEventListener(name, check);
        resolve();
      };
      for (const name of ["canplay", "seeked", "error"]) video.addEventListener(name, check);
    });
  }

  pause() { for (const video of this.videos) video.pause(); }

  stopped() {
    if (!this.clip) return;
    byId("play").textContent = "Play";
    this.pause();
    this.go(this.leader.ended ? this.clip.frames - 1 : this.current());
  }

  step(count) { this.pause(); this.go(Math.min(this.clip.frames - 1, Math.max(0, this.frame + count))); }

  /** Show a frame in all videos: the middle of its time, so that rounding cannot give its neighbour. */
  go(frame) {
    this.frame = frame;
    for (const video of this.videos) video.currentTime = (frame + 0.5) / this.fps;
    this.show();
  }
}
