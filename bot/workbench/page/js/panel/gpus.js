/** One cell per GPU, by node: filled by how busy it is, marked when it is lost or cordoned. */

import { h, reconcile } from "../dom.js";

const STATES = { ok: "busy", idle: "idle", lost: "lost", cordoned: "cordoned" };

function describe(gpu) {
  const parts = [gpu.id, STATES[gpu.state] ?? gpu.state];
  if (gpu.xid) parts.push(`Xid ${gpu.xid}`);
  if (gpu.util !== null && gpu.util !== undefined) parts.push(`${gpu.util} % busy`);
  if (gpu.temp !== null && gpu.temp !== undefined) parts.push(`${gpu.temp} °C`);
  return parts.join(" · ");
}

const cell = (gpu) => h("li", {
  class: "gpu", title: describe(gpu), "aria-label": describe(gpu), tabindex: "0", dataset: { state: gpu.state, gpu: gpu.id, focus: `gpu/${gpu.id}` },
  vars: { "--share": (gpu.util ?? 0) / 100 },
}, h("span", { "aria-hidden": "true" }, gpu.state === "lost" ? "×" : gpu.id.match(/\d+$/)?.[0] ?? ""));

export function gpus(note) {
  const node = h("div", { class: "nodes" });
  const rows = new Map();

  function row(name) {
    const list = h("ul", { class: "gpu-list" });
    return { list, node: h("div", { class: "node" }, h("span", { class: "node-name" }, name), list) };
  }

  return {
    node,
    draw(panel) {
      const names = [...new Set(panel.gpus.map((gpu) => gpu.node))];
      reconcile(node, names.map((name) => ({
        key: name, sig: name,
        make: () => {
          if (!rows.has(name)) rows.set(name, row(name));
          return rows.get(name).node;
        },
      })));
      for (const name of names) {
        reconcile(rows.get(name).list, panel.gpus.filter((gpu) => gpu.node === name).map((gpu) => ({ key: gpu.id, sig: JSON.stringify(gpu), make: () => cell(gpu) })));
      }
      const lost = panel.gpus.filter((gpu) => gpu.state === "lost").length;
      note.textContent = lost ? `${lost} of ${panel.gpus.length} lost` : `${panel.gpus.length} healthy`;
      note.classList.toggle("note-bad", lost > 0);
    },
  };
}
