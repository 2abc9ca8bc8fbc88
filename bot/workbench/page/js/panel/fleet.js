/** The right side: break something, and see what the models, the GPUs and the pager make of it. */

import { faults } from "./faults.js";
import { gpus } from "./gpus.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import { models } from "./models.js";
import { pages } from "./pages.js";
import { services } from "./services.js";

const REDRAW_MS = 20_000;

function card(title, note, ...content) {
  return h("section", { class: "card", "aria-label": title }, h("header", { class: "card-head" }, h("h3", {}, title), note), content);
}

export function fleetPanel(app) {
  const pageCount = h("span", { class: "badge badge-mention", hidden: true });
  const gpuNote = h("span", { class: "card-note" });
  const parts = [faults(app), models(), gpus(gpuNote), pages(app, pageCount), services(app)];
  const waiting = h("p", { class: "fleet-wait" }, "Waiting for the fleet…");
  const content = h("div", { class: "fleet-scroll", hidden: true },
    card("Break something", h("span", { class: "card-note" }, "switch a fault on"), parts[0].node),
    card("PagerDuty", pageCount, parts[3].node),
    card("Models", h("span", { class: "card-note" }, "last 15 s"), parts[1].node),
    card("GPUs", gpuNote, parts[2].node),
    card("Services", null, parts[4].node));

  function draw() {
    const panel = app.store.panel;
    if (!panel) return;
    waiting.hidden = true;
    content.hidden = false;
    parts.forEach((part) => part.draw(panel));
  }

  app.store.on("panel ready channels", draw);
  setInterval(draw, REDRAW_MS); // "4 min ago" goes on without news
  return h("aside", { class: "fleet", "aria-label": "Fleet" },
    h("header", { class: "channel-head fleet-head" }, icon("pulse", { size: 20 }), h("div", { class: "thread-title" }, h("h2", {}, "Fleet"), h("span", {}, "a simulated GPU cluster")),
      h("button", { type: "button", class: "icon-btn", "aria-label": "Hide the fleet panel", title: "Hide", on: { click: () => app.toggleFleet() } }, icon("close"))),
    waiting, content);
}
