/** The programs that run for this workspace, with links. */

import { h, reconcile } from "../dom.js";
import { icon } from "../icons.js";
import { safeHref } from "../text/mrkdwn.js";

const STATES = { up: "up", down: "not answering", missing: "not installed" };

function row({ name, url, state, hint }) {
  const href = url && safeHref(url);
  return h("li", { class: "service", dataset: { state } },
    h("span", { class: "dot", role: "img", "aria-label": STATES[state] ?? state }),
    href && state === "up" ? h("a", { class: "link", href, target: "_blank", rel: "noopener noreferrer" }, name, icon("external", { size: 12 })) : h("span", {}, name),
    h("span", { class: "service-state" }, STATES[state] ?? state),
    hint && h("small", {}, hint));
}

export function services(app) {
  const node = h("ul", { class: "services" });

  function list(panel) {
    const bot = panel.bot ?? {};
    const own = [];
    if (bot.url) own.push({ name: "FixFirst", url: bot.pages_url ?? bot.url, state: bot.state });
    if (bot.pages_url) own.push({ name: "Postmortems", url: `${bot.pages_url.replace(/\/$/, "")}/postmortems`, state: bot.state });
    const named = new Set(panel.services.map((service) => service.name));
    return [...own.filter((service) => !named.has(service.name)), ...panel.services];
  }

  const help = h("button", { type: "button", class: "link-btn", on: { click: () => app.store.emit("tour") } }, "Show the first steps");
  return {
    node: h("div", {}, node, help),
    draw: (panel) => reconcile(node, list(panel).map((service) => ({ key: service.name, sig: JSON.stringify(service), make: () => row(service) }))),
  };
}
