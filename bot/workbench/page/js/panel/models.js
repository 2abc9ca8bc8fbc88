/** One tile per model: what its users feel, and what serves them. */

import { h, reconcile, replaceChildren } from "../dom.js";

const STATES = { ok: "Serving", degraded: "Degraded", down: "Down", cache: "Serving from cache" };

const percent = (ratio) => (ratio === null || ratio === undefined ? "–" : `${(ratio * 100).toFixed(ratio < 0.1 && ratio > 0 ? 1 : 0)} %`);

function seconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`;
}

/** [name, text, level, share of a full bar or null] */
function readings(model) {
  const level = (value, warn, bad) => (value >= bad ? "bad" : value >= warn ? "warn" : "fine");
  return [
    ["Errors", percent(model.error_rate), level(model.error_rate ?? 0, 0.01, 0.05), Math.min(1, (model.error_rate ?? 0) * 2)],
    ["TTFT p99", seconds(model.ttft_p99), level(model.ttft_p99 ?? 0, 1.5, 2.5), Math.min(1, (model.ttft_p99 ?? 0) / 5)],
    ["Queue", String(model.queue ?? "–"), level(model.queue ?? 0, 20, 100), Math.min(1, (model.queue ?? 0) / 200)],
    ["KV cache", percent(model.kv), level(model.kv ?? 0, 0.85, 0.95), model.kv ?? 0],
  ];
}

function tile() {
  const state = h("span", { class: "state" });
  const name = h("strong", {});
  const revision = h("span", { class: "revision" });
  const replicas = h("span", { class: "replicas" });
  const cells = ["Errors", "TTFT p99", "Queue", "KV cache"].map((title) => {
    const value = h("span", { class: "reading-value" });
    const bar = h("span", { class: "meter" }, h("span", {}));
    return { value, bar, node: h("div", { class: "reading" }, h("span", { class: "reading-name" }, title), value, bar) };
  });
  const node = h("article", { class: "tile" },
    h("header", { class: "tile-head" }, h("span", { class: "dot" }), name, revision, state), h("div", { class: "readings" }, cells.map((cell) => cell.node)), replicas);

  function update(model) {
    node.dataset.state = model.state;
    node.dataset.model = model.name;
    name.textContent = model.name;
    revision.textContent = model.revision;
    revision.title = model.previous ? `Previous revision: ${model.previous}` : "";
    state.textContent = STATES[model.state] ?? model.state;
    readings(model).forEach(([, text, level, share], at) => {
      const cell = cells[at];
      cell.value.textContent = text;
      cell.node.dataset.level = level;
      cell.bar.style.setProperty("--share", String(share));
    });
    const ready = model.ready ?? model.replicas;
    replaceChildren(replicas, `${ready} of ${model.replicas} replicas ready`, model.previous && model.previous !== model.revision ? ` · was ${model.previous}` : "");
  }

  return { node, update };
}

export function models() {
  const node = h("div", { class: "tiles" });
  const tiles = new Map();
  return {
    node,
    draw: (panel) => reconcile(node, panel.models.map((model) => ({
      key: model.name,
      sig: JSON.stringify(model),
      make: () => {
        if (!tiles.has(model.name)) tiles.set(model.name, tile());
        tiles.get(model.name).update(model);
        return tiles.get(model.name).node;
      },
    }))),
  };
}
