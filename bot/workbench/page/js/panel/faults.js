/** The faults, each a switch. */

import { h, reconcile } from "../dom.js";

export function faults(app) {
  const node = h("div", { class: "faults" });

  function row(fault) {
    const toggle = h("button", {
      type: "button", class: "fault", role: "switch", title: fault.description, "aria-checked": String(fault.on), dataset: { fault: fault.id, focus: `fault/${fault.id}` },
      on: {
        click: async () => {
          if (toggle.getAttribute("aria-busy") === "true") return;
          toggle.setAttribute("aria-busy", "true");
          await app.fault(fault.id, !fault.on);
          toggle.removeAttribute("aria-busy");
        },
      },
    }, h("span", { class: "fault-text" }, h("strong", {}, fault.title), h("small", {}, fault.description)), h("span", { class: "switch", "aria-hidden": "true" }));
    return h("div", { class: `fault-row${fault.on ? " fault-on" : ""}` }, toggle);
  }

  return {
    node,
    draw: (panel) => reconcile(node, panel.faults.map((fault) => ({ key: fault.id, sig: JSON.stringify(fault), make: () => row(fault) }))),
  };
}
