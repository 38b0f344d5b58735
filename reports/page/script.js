// The page's only script: values under the pointer, series switched on and
// off, percentiles of a chosen stretch of time. Everything it needs is in the
// file. Texts go in by textContent only.
"use strict";
(() => {
const make = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };
const svgNS = "http://www.w3.org/2000/svg";

// ---- histograms -------------------------------------------------------------
// The shape of every histogram: see hlog.Value in the sources of the reports.
const unitBits = 7, halfBits = 10, half = 1024;
const highest = i => {
  let b = (i >> halfBits) - 1, sub = (i & (half - 1)) + half;
  if (b < 0) { sub -= half; b = 0; }
  const size = 2 ** (b + unitBits);
  return sub * size + size - 1;
};
const inflate = async text => {
  const raw = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};
// windows reads the varints of one group into a list of {at, failed, i, n}.
const windows = bytes => {
  let p = 0;
  const next = () => { let v = 0, m = 1, b; do { b = bytes[p++]; v += (b & 127) * m; m *= 128; } while (b > 127); return v; };
  const out = [];
  while (p < bytes.length) {
    const at = next(), failed = next(), len = next();
    const i = new Int32Array(len), n = new Float64Array(len);
    for (let k = 0, last = -1; k < len; k++) { last += next(); i[k] = last; n[k] = next(); }
    out.push({ at, failed, i, n });
  }
  return out;
};
// add sums the windows that lie in [from, to) seconds.
const add = (list, step, from, to) => {
  const sum = new Map();
  let total = 0, failed = 0;
  for (const w of list) {
    const t = w.at * step;
    if (t < from || t >= to) continue;
    failed += w.failed;
    for (let k = 0; k < w.i.length; k++) { sum.set(w.i[k], (sum.get(w.i[k]) || 0) + w.n[k]); total += w.n[k]; }
  }
  const index = [...sum.keys()].sort((a, b) => a - b);
  return { index, count: index.map(i => sum.get(i)), total, failed };
};
// quantile is what the reports themselves compute: the latency below which a
// share p of all operations lies, failed ones being infinite.
const quantile = (h, p) => {
  const n = h.total + h.failed;
  if (!n) return NaN;
  const rank = Math.max(Math.ceil(p * n), 1);
  if (rank > h.total) return Infinity;
  let cum = 0;
  for (let k = 0; k < h.index.length; k++) if ((cum += h.count[k]) >= rank) return highest(h.index[k]);
  return Infinity;
};
const supported = (p, n) => n >= 6.6349 * p / (1 - p);
const digits = v => v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0);
const micros = ns => {
  if (ns === Infinity) return "∞";
  if (isNaN(ns)) return "nothing completed";
  const us = ns / 1000;
  return us < 999.5 ? digits(us) + " µs" : us < 999.5e3 ? digits(us / 1e3) + " ms" : digits(us / 1e6) + " s";
};
const whole = n => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

// ---- figures ------------------------------------------------------------------
const timeCharts = [...document.querySelectorAll("svg.chart[data-frame]")].map(svg => {
  const [left, right, top, bottom, from, to] = svg.dataset.frame.split(" ").map(Number);
  return { svg, left, right, top, bottom, from, to, fig: svg.closest("figure") };
});
const rect = (c, cls) => {
  const r = document.createElementNS(svgNS, "rect");
  r.setAttribute("class", cls); r.setAttribute("y", c.top); r.setAttribute("height", c.bottom - c.top); r.setAttribute("width", 0);
  c.svg.append(r);
  return r;
};
const place = (c, r, from, to) => {
  const x = t => c.left + (Math.min(Math.max(t, c.from), c.to) - c.from) / (c.to - c.from) * (c.right - c.left);
  r.setAttribute("x", x(from)); r.setAttribute("width", Math.max(x(to) - x(from), 0));
};
const timeAt = (c, event) => {
  const box = c.svg.getBoundingClientRect(), scale = c.svg.viewBox.baseVal.width / box.width;
  const x = (event.clientX - box.left) * scale;
  return c.from + Math.min(Math.max((x - c.left) / (c.right - c.left), 0), 1) * (c.to - c.from);
};

// Values under the pointer, and the buttons that switch series off.
for (const fig of document.querySelectorAll("figure")) {
  const data = fig.querySelector("script.hover");
  if (!data) continue;
  const h = JSON.parse(data.textContent);
  const bar = make("div", "readout"), when = make("span", "when", "");
  bar.append(when);
  const values = h.names.map((name, i) => {
    const b = make("button", "series", ""), v = make("span", "value", "");
    b.type = "button"; b.setAttribute("aria-pressed", "true");
    b.append(make("span", "", name), v);
    b.addEventListener("click", () => {
      const on = b.getAttribute("aria-pressed") !== "true";
      b.setAttribute("aria-pressed", on);
      for (const g of fig.querySelectorAll(`g[data-s="${i}"]`)) g.style.display = on ? "" : "none";
    });
    bar.append(b);
    return v;
  });
  fig.querySelector("figcaption").after(bar);
  for (const c of timeCharts.filter(c => c.fig === fig)) {
    const hair = rect(c, "hair");
    c.svg.addEventListener("pointermove", e => {
      const t = timeAt(c, e);
      let best = 0;
      for (let k = 1; k < h.x.length; k++) if (Math.abs(h.x[k] - t) < Math.abs(h.x[best] - t)) best = k;
      when.textContent = h.labels[best];
      values.forEach((v, i) => { v.textContent = h.values[i][best]; });
      place(c, hair, h.x[best], h.x[best]); hair.setAttribute("width", 1);
    });
    c.svg.addEventListener("pointerleave", () => { hair.setAttribute("width", 0); });
  }
}

// A stretch of time.
const store = document.getElementById("windows"), chooser = document.querySelector(".chooser");
if (!store || !chooser || typeof DecompressionStream === "undefined") return;
const groups = JSON.parse(store.textContent).groups;
const step = groups[0].step, charts = timeCharts.filter(c => c.fig.closest("section").contains(chooser));
let range = null, loaded = null;
const load = () => loaded ||= Promise.all(groups.map(async g => ({ name: g.name, step: g.step, list: windows(await inflate(g.data)) })));
for (const c of charts) { c.brush = rect(c, "brush"); c.svg.classList.add("brushable"); }
const columns = [["p50", .5], ["p90", .9], ["p99", .99], ["p99.9", .999], ["max", 1]];
const answer = async () => {
  const [from, to] = range, at = range;
  const all = await load();
  if (range !== at) return;
  const table = make("table", "many"), head = make("tr"), body = make("tbody");
  for (const name of ["Operation", "count", "failed", ...columns.map(c => c[0])]) { const th = make("th", name === "Operation" ? "word" : "", name); th.scope = "col"; head.append(th); }
  table.append(make("thead"), body); table.tHead.append(head);
  for (const g of all) {
    const lo = Math.floor(from / g.step) * g.step, hi = Math.ceil(to / g.step) * g.step;
    const h = add(g.list, g.step, lo, hi), row = make("tr"), th = make("th", "", g.name);
    th.scope = "row";
    if (lo !== from || hi !== to) th.append(make("small", "", ` ${lo} to ${hi} s`));
    row.append(th);
    const cell = (name, text) => { const td = make("td", "", text); td.dataset.label = name; row.append(td); };
    cell("count", whole(h.total + h.failed)); cell("failed", whole(h.failed));
    for (const [name, p] of columns) {
      const v = quantile(h, p), few = p < 1 && h.total + h.failed > 0 && !supported(p, h.total + h.failed);
      cell(name, few ? "not enough samples" : micros(v));
    }
    body.append(row);
  }
  chooser.querySelector(".answer").replaceChildren(table);
  chooser.querySelector(".choice").textContent = `Response time from ${from} s to ${to} s of the measured phase:`;
  chooser.hidden = false;
};
const choose = (a, b) => {
  const end = charts[0].to;
  let from = Math.floor(Math.max(Math.min(a, b), 0) / step) * step, to = Math.ceil(Math.min(Math.max(a, b), end) / step) * step;
  if (to <= from) to = from + step;
  range = [from, to];
  for (const c of charts) place(c, c.brush, from, to);
  answer();
};
for (const c of charts) {
  let start = null;
  c.svg.addEventListener("pointerdown", e => { if (e.button) return; start = timeAt(c, e); c.svg.setPointerCapture(e.pointerId); e.preventDefault(); choose(start, start); });
  c.svg.addEventListener("pointermove", e => { if (start !== null) choose(start, timeAt(c, e)); });
  for (const end of ["pointerup", "pointercancel"]) c.svg.addEventListener(end, () => { start = null; });
}
chooser.parentNode.tabIndex = 0;
chooser.parentNode.addEventListener("keydown", e => {
  const d = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
  if (!d || e.target !== chooser.parentNode) return;
  e.preventDefault();
  if (!range) return choose(0, step);
  choose(range[0] + (e.shiftKey ? 0 : d * step), range[1] + d * step - 1e-9);
});
window.headroom = { choose }; // for tests, and for whoever opens the console
})();
