/** The faults, each a switch, under the names of what they are faults of. */

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
    }, h("span", { class: "fault-text" }, h("strong", {}, fault.title), h("small", {}, fault.description), fault.runbook && h("small", {}, "Runbook: ", h("code", {}, fault.runbook))), h("span", { class: "switch", "aria-hidden": "true" }));
    return h("div", { class: `fault-row${fault.on ? " fault-on" : ""}` }, toggle);
  }

  const item = (fault) => ({ key: fault.id, sig: JSON.stringify(fault), make: () => row(fault) });
  const heading = (group) => ({ key: `group/${group}`, sig: group, make: () => h("h4", {}, group) });

  return {
    node,
    draw(panel) {
      const groups = [...new Set(panel.faults.map((fault) => fault.group))];
      reconcile(node, groups.flatMap((group) => [
        ...(group ? [heading(group)] : []),
        ...panel.faults.filter((fault) => fault.group === group).map(item),
      ]));
    },
  };
}
