// Wires the page: theme, cards, tables, player, graph.

document.documentElement.classList.add("js");
const data = JSON.parse(byId("data").textContent);
const printed = (value, decimals) => (value === null || value === undefined ? "–" : value.toFixed(decimals).replace("-", "−"));

// Theme: as the system has it, light, dark. Kept where the browser lets a file keep something.
{
  const themes = ["system", "light", "dark"];
  const button = byId("theme");
  const set = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    byId("theme-name").textContent = theme;
  };
  let kept = null;
  try { kept = localStorage.getItem("dimitra-theme"); } catch { /* no storage: the choice lasts as long as the page */ }
  set(themes.includes(kept) ? kept : "system");
  button.addEventListener("click", () => {
    const theme = themes[(themes.indexOf(document.documentElement.dataset.theme || "system") + 1) % 3];
    set(theme);
    try { localStorage.setItem("dimitra-theme", theme); } catch { /* as above */ }
  });
}

// Cards: what stands behind a number or a stage opens beside the page.
{
  let opener = null;
  const close = () => {
    const open = document.querySelector(".card.open");
    if (!open) return;
    open.classList.remove("open");
    history.replaceState(null, "", location.pathname + location.search);
    if (opener && opener.isConnected && opener.checkVisibility()) opener.focus({ preventScroll: true });
    opener = null;
  };
  const open = () => {
    const card = byId(decodeURIComponent(location.hash.slice(1)));
    if (!card || !card.matches(".card")) return;
    document.querySelector(".card.open")?.classList.remove("open");
    card.classList.add("open");
    card.scrollTop = 0;
    card.focus({ preventScroll: true });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (event.target.closest(".close")) { event.preventDefault(); close(); }
    else if (link && !link.closest(".card")) { if (link.matches(".audited, .node")) opener = link; else close(); }
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  window.addEventListener("hashchange", open);
  open();
}

const metricsByKey = new Map(data.clips.metrics.map((metric) => [metric.key, metric]));
const PAPER = ["f_lmd", "m_lmd", "sync_dist", "sync_conf"];
const SHORT = [...PAPER, "mouth_mae_fit", "opening_corr_fit"];

// Player
const clipPlaces = new Map();
for (const [dataset, { clips }] of Object.entries(data.clips.datasets)) {
  clips.forEach((clip, place) => clipPlaces.set(clip.id, { dataset, place, clip }));
}
const numbersOf = (id) => {
  const found = clipPlaces.get(id);
  if (!found) return { text: "", metrics: [], rows: [] };
  const { values } = data.clips.datasets[found.dataset];
  const shown = [["ground_truth", "GT"], ["dimitra_hp", "HP"], ["dimitra_no_hp", "no HP"]];
  const rows = shown.filter(([key]) => values[key]).map(([key, label]) => ({
    label, text: (metric) => printed(values[key][metric.key]?.[found.place], metric.decimals),
  }));
  return { text: found.clip.text, metrics: SHORT.filter((key) => metricsByKey.has(key)).map((key) => metricsByKey.get(key)), rows };
};
const player = data.examples.length ? new Player(data.examples, data.fps, numbersOf) : null;
if (!player) byId("player").hidden = true;

// Every clip
{
  const methods = new Map(data.clips.methods.map(({ key, label }) => [key, label]));
  const rows = [];
  for (const [dataset, { clips, values }] of Object.entries(data.clips.datasets)) {
    for (const method of methods.keys()) {
      clips.forEach((clip, place) => rows.push({ dataset, method, place, ...clip, values: values[method] || {} }));
    }
  }
  const value = (row, key) => row.values[key]?.[row.place] ?? null;
  const text = (key, label, kind, cell) => ({ key, label, kind, value: (row) => row[key], cell: cell || ((row) => row[key]) });
  const play = (row) => {
    if (!player?.has(row.id)) return row.id;
    return element("button", { type: "button", textContent: `▸ ${row.id}`, ariaLabel: `Play ${row.id}` });
  };
  const columnsFor = (shown) => [
    text("id", "Clip", "id", play),
    text("identity", "Identity"),
    ...(byId("clips-method").value === "" ? [{ key: "method", label: "Method", value: (row) => methods.get(row.method), cell: (row) => methods.get(row.method) }] : []),
    ...data.clips.metrics
      .filter(({ key }) => (byId("clips-all").checked || SHORT.includes(key)) && shown.some((row) => value(row, key) !== null))
      .map((metric) => ({
        key: metric.key, label: `${metric.label} ${metric.arrow}`, title: metric.about, numeric: true,
        first: metric.better === "higher" ? "ascending" : "descending", // the worst first
        value: (row) => value(row, metric.key), cell: (row) => printed(value(row, metric.key), metric.decimals),
      })),
    text("text", "What is said", "said", (row) => element("span", { textContent: row.text || row.dropped, title: row.text })),
  ];
  const watch = (row) => {
    player.load(row.id, true);
    byId("watch").scrollIntoView();
    byId("play").focus({ preventScroll: true });
  };
  const ranked = ["m_lmd", "mouth_mae_fit"].find((key) => metricsByKey.has(key));
  const table = new DataTable("clips", [], {
    onRow: (line, row) => {
      if (!player?.has(row.id)) return;
      line.classList.add("plays");
      line.classList.toggle("chosen", player.clip?.clip_id === row.id);
      line.dataset.clip = row.id;
      line.addEventListener("click", () => watch(row));
    },
  });
  fillSelect(byId("clips-dataset"), "all", Object.keys(data.clips.datasets));
  fillSelect(byId("clips-method"), "all", [...methods]);
  byId("clips-method").value = methods.has(data.ranked) ? data.ranked : "";
  fillSelect(byId("clips-identity"), "all", [...new Set(rows.map((row) => row.identity))].sort());
  let first = true;
  const draw = () => {
    const wanted = { dataset: byId("clips-dataset").value, method: byId("clips-method").value, identity: byId("clips-identity").value };
    const words = byId("clips-search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = rows.filter((row) =>
      Object.entries(wanted).every(([key, chosen]) => !chosen || row[key] === chosen)
      && words.every((word) => `${row.id} ${row.identity} ${row.text}`.toLowerCase().includes(word)));
    const columns = columnsFor(shown);
    if (first && ranked) table.order = { key: ranked, direction: "descending" };
    first = false;
    table.setColumns(columns);
    table.show(shown, rows.length);
  };
  for (const name of ["dataset", "method", "identity", "all"]) byId(`clips-${name}`).addEventListener("change", draw);
  byId("clips-search").addEventListener("input", draw);
  draw();
  const cut = Object.entries(data.clips.datasets).filter(([, { clips, total }]) => clips.length < total);
  for (const [dataset, { clips, total }] of cut) {
    byId("clips-count").after(element("p", { className: "note", textContent: `${dataset}: the worst ${clips.length} of ${total} clips are in this page.` }));
  }
  if (player) {
    player.onLoad = (id) => {
      for (const line of byId("clips-table").querySelectorAll("tr.plays")) line.classList.toggle("chosen", line.dataset.clip === id);
    };
    player.load(data.examples[0].clip_id);
  }
}

/** A table of rows that selects and, where there is one, a search field narrow down. */
const filtered = (name, rows, columns, selects, searched, order) => {
  if (!byId(`${name}-table`)) return;
  const table = new DataTable(name, columns, { order });
  for (const [key, match] of Object.entries(selects)) {
    const values = new Set(rows.flatMap((row) => match.values(row)));
    fillSelect(byId(`${name}-${key}`), "all", [...values]);
    if (match.initial && values.has(match.initial)) byId(`${name}-${key}`).value = match.initial;
  }
  const search = byId(`${name}-search`);
  const draw = () => {
    const words = (search ? search.value : "").toLowerCase().split(/\s+/).filter(Boolean);
    table.show(rows.filter((row) =>
      Object.entries(selects).every(([key, match]) => {
        const chosen = byId(`${name}-${key}`).value;
        return !chosen || match.values(row).includes(chosen);
      }) && words.every((word) => searched.some((key) => row[key].toLowerCase().includes(word)))), rows.length);
  };
  for (const key of Object.keys(selects)) byId(`${name}-${key}`).addEventListener("change", draw);
  search?.addEventListener("input", draw);
  draw();
};
const plain = (key, label, kind) => ({ key, label, kind, value: (row) => row[key], cell: (row) => row[key] });
const count = (key, label, decimals) => ({ key, label, numeric: true, value: (row) => row[key], cell: (row) => printed(row[key], decimals) });
const of = (...keys) => ({ values: (row) => keys.map((key) => row[key]) });

filtered("quarantine", data.quarantine,
  [plain("clip_id", "Clip", "id"), plain("dataset", "Data set"), plain("stage", "Stage"), plain("reason", "Reason", "reason"), plain("message", "Message", "message"), count("attempts", "Attempts", 0)],
  { stage: of("stage"), reason: of("reason") }, ["clip_id", "message"]);

filtered("paired", data.paired.rows.map((row) => Object.fromEntries(row.map((value, place) => [data.paired.columns[place], value]))),
  [plain("dataset", "Data set"), plain("metric", "Metric"), plain("first", "First"), plain("second", "Second"), count("n", "n", 0), count("dropped", "Dropped", 0),
    {
      key: "difference", label: "Difference", numeric: true, value: (row) => row.difference,
      cell: (row) => {
        const cell = document.createDocumentFragment();
        cell.append(row.shown, element("small", { className: "over-clips", textContent: row.clips }), element("small", { className: "over-identities", textContent: row.identities }));
        return cell;
      },
    },
    count("p", "p (Holm)", 4), count("p_identities", "p, identities", 4), plain("verdict", "Better")],
  { dataset: of("dataset"), metric: { ...of("metric"), initial: "M-LMD" }, method: of("first", "second") }, []);

// Graph: to point at a stage shows all that it came from.
{
  const graph = document.querySelector(".graph svg");
  if (graph) {
    const edges = [...graph.querySelectorAll(".edge")];
    const nodes = [...graph.querySelectorAll(".node")];
    const trace = (name) => {
      const found = new Set([name]);
      for (const one of found) for (const edge of edges) if (edge.dataset.end === one) found.add(edge.dataset.start);
      graph.classList.add("tracing");
      for (const node of nodes) node.classList.toggle("on", found.has(node.dataset.name));
      for (const edge of edges) edge.classList.toggle("on", found.has(edge.dataset.end));
    };
    const clear = () => graph.classList.remove("tracing");
    for (const node of nodes) {
      for (const event of ["pointerenter", "focus"]) node.addEventListener(event, () => trace(node.dataset.name));
      for (const event of ["pointerleave", "blur"]) node.addEventListener(event, clear);
    }
  }
}
